# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""``pe_monai`` with an interactive model that is predictable: clicks add and remove discs. A script."""

from __future__ import annotations

import sys
import types
from dataclasses import replace
from typing import NamedTuple

import numpy as np

RADIUS = 12


class Click(NamedTuple):
    row: float
    column: float
    positive: bool


class InteractivePredictor:
    def __init__(self, bundle=None, device=None) -> None:
        from pe_monai.predictor import Predictor

        self.automatic = Predictor(device=device)

    def predict(self, frame, clicks, prior=None):
        from pe_monai.errors import FrameError

        prediction = self.automatic.predict([frame])[0]
        mask = (prediction.mask if prior is None else prior).copy()
        rows, columns = np.ogrid[: mask.shape[0], : mask.shape[1]]
        for click in clicks:
            if not (0 <= click.row < mask.shape[0] and 0 <= click.column < mask.shape[1]):
                raise FrameError(f"click {click.column:g}, {click.row:g} lies outside the frame.")
            if click.row < 4:
                raise FrameError(f"click {click.column:g}, {click.row:g} lies outside the sector.")
            mask[(rows - click.row) ** 2 + (columns - click.column) ** 2 <= RADIUS**2] = click.positive
        return replace(prediction, mask=mask)


def stand_in() -> None:
    """Put the predictable model in the place of the real one."""
    module = types.ModuleType("pe_monai.interactive")
    module.Click, module.InteractivePredictor = Click, InteractivePredictor
    sys.modules["pe_monai.interactive"] = module


if __name__ == "__main__":
    stand_in()
    from pe_monai.cli import main

    sys.exit(main(sys.argv[1:]))
