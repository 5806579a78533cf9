# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Numbers on logarithmic axes: enough of them to read a value, few enough not to cover each other."""

from __future__ import annotations

import re

import pytest

from pe_monai.experiment.figures import _plain_numbers, as_svg


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ((3, 8000), ["10", "100", "1,000"]),
        ((0.16, 1.2), ["0.2", "0.5", "1"]),
        ((30, 2500), ["50", "100", "200", "500"]),
    ],
)
def test_numbers_of_a_logarithmic_axis(values, labels):
    def draw(axes, _):
        axes.plot(values, (0, 1))
        axes.set(xscale="log", yticks=[])
        _plain_numbers(axes.xaxis)

    shown = re.findall(r">([\d.,]+)</text>", as_svg("numbers", ["one"], draw).decode())
    assert set(labels) <= set(shown) and len(shown) <= 8
