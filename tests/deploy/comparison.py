# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Two folders of results, compared."""

from __future__ import annotations

import json
from pathlib import Path

import pydicom

OF_THE_MOMENT = {
    "InstanceCreationDate",
    "InstanceCreationTime",
    "ContentDate",
    "ContentTime",
    "ContributingEquipmentSequence",
}


def assert_equal_results(one: Path, other: Path) -> list[pydicom.Dataset]:
    """Compare all that a run writes but times, the name of the bundle and the manifest; returns the DICOM objects."""
    names = {path.relative_to(one).as_posix() for path in one.rglob("*") if path.is_file()}
    assert names == {path.relative_to(other).as_posix() for path in other.rglob("*") if path.is_file()}
    objects = []
    for name in sorted(names):
        if name.endswith(".dcm"):
            left, right = pydicom.dcmread(one / name), pydicom.dcmread(other / name)
            differing = {element.keyword for element in left if right.get(element.tag) != element}
            assert differing <= OF_THE_MOMENT, f"{name}: {differing}"
            assert len(left) == len(right)
            objects.append(left)
        elif name.endswith("measurements.json"):
            left, right = ({**json.loads((root / name).read_text()), "bundle": ""} for root in (one, other))
            assert left == right, name
        elif not name.endswith(("manifest.json", "report.html")):
            assert (one / name).read_bytes() == (other / name).read_bytes(), name
    return objects
