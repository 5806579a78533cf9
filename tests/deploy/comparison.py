# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Two folders of results, compared."""

from __future__ import annotations

import json
from collections.abc import Iterator
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
        elif name.endswith("clips.csv"):  # the application calls files by numbers
            left, right = ([line for line in (root / name).open() if ",error," not in line] for root in (one, other))
            assert left == right and len(left) > 1
        elif not name.endswith(("manifest.json", "report.html")):
            assert (one / name).read_bytes() == (other / name).read_bytes(), name
    return objects


def assert_equal_values(one: Path, other: Path) -> None:
    """Compare the pixels of the Segmentations and the numbers of the reports of two runs with unlike UIDs."""
    names = sorted(path.relative_to(one) for path in one.rglob("*.dcm"))
    assert names and names == sorted(path.relative_to(other) for path in other.rglob("*.dcm"))
    for name in names:
        left, right = pydicom.dcmread(one / name), pydicom.dcmread(other / name)
        if left.Modality == "SEG":
            assert left.PixelData == right.PixelData and left.NumberOfFrames == right.NumberOfFrames
        else:
            assert list(_numbers(left)) == list(_numbers(right)), name


def _numbers(dataset: pydicom.Dataset) -> Iterator[tuple[str, str]]:
    """Name and value of each measurement, wherever it lies in the content tree."""
    for item in dataset.get("ContentSequence", ()):
        if item.ValueType == "NUM" and item.get("MeasuredValueSequence"):
            yield item.ConceptNameCodeSequence[0].CodeMeaning, str(item.MeasuredValueSequence[0].NumericValue)
        yield from _numbers(item)
