# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What to write for a study, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pe_monai.errors import FrameError

if TYPE_CHECKING:
    from pe_monai.measure import ClipMeasurement


@dataclass(frozen=True)
class StudyOptions:
    """What to write beside masks and measurements.

    Attributes:
        fractional: write probabilities into the Segmentation instead of masks.
        capture: also write the pictures as a DICOM secondary capture.
        nifti: also write the masks as NIfTI.
        video: also write the pictures as "gif" or "mp4".
        spacing: (row, column) pixel spacing in mm for clips that have none of their own.
        scale: name of the scale that grades the thickness.
        include_identifiers: show patient, dates and file names to people; otherwise only the DICOM objects carry them.
    """

    fractional: bool = False
    capture: bool = False
    nifti: bool = False
    video: str | None = None
    spacing: tuple[float, float] | None = None
    scale: str = "esc2015"
    include_identifiers: bool = False


@dataclass(frozen=True)
class ClipResult:
    """One clip's results.

    Attributes:
        name: of the clip and its folder; tells nothing of the patient unless asked to.
        folder: where the results are.
        objects: the DICOM objects among them.
        measurement: what was measured.
        row: the clip's row of a table.
    """

    name: str
    folder: Path
    objects: tuple[Path, ...]
    measurement: ClipMeasurement
    row: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class StudyResult:
    """What came of the objects given.

    Attributes:
        clips: results of each clip.
        errors: why objects could not be used, or frames of a clip.
        pages: the HTML page of each study.
    """

    clips: list[ClipResult] = field(default_factory=list)
    errors: list[FrameError] = field(default_factory=list)
    pages: list[Path] = field(default_factory=list)

    def __iadd__(self, other: StudyResult) -> StudyResult:
        self.clips += other.clips
        self.errors += other.errors
        self.pages += other.pages
        return self

    @property
    def objects(self) -> list[Path]:
        """The DICOM objects to send: Segmentation, report, capture."""
        return [path for clip in self.clips for path in clip.objects]
