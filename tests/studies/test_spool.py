# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Planes come back from the disk as they went."""

from __future__ import annotations

import numpy as np

from pe_monai.studies.spool import Spool


def test_masks_and_shares_of_odd_sizes_in_any_order(tmp_path):
    rng = np.random.default_rng(0)
    planes = [rng.random((7, 5)) > 0.5, rng.integers(0, 256, (7, 5), dtype=np.uint8), np.zeros((1, 3), bool)]
    spool = Spool(tmp_path)
    for plane in planes:
        spool.append(plane)
    assert list(tmp_path.iterdir()) == []  # a nameless file
    for place in (2, 0, 1, 0):
        assert spool[place].dtype == planes[place].dtype
        np.testing.assert_array_equal(spool[place], planes[place])
    assert len(list(spool)) == len(spool) == 3
