# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Named scales that grade an effusion by its thickness."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """Grades by thickness.

    Attributes:
        name: as it stands beside a grade.
        source: where the limits come from.
        grades: from thin to thick.
        limits_mm: between neighbouring grades, one fewer than grades.
        upper: which grade a thickness has that is a limit: the upper one (True) or the lower one, for each limit.
    """

    name: str
    source: str
    grades: tuple[str, ...]
    limits_mm: tuple[float, ...]
    upper: tuple[bool, ...]

    def __post_init__(self) -> None:
        if not len(self.grades) - 1 == len(self.limits_mm) == len(self.upper):
            raise ValueError(f"limits_mm and upper must be one fewer than grades, got {self}.")
        if list(self.limits_mm) != sorted(set(self.limits_mm)):
            raise ValueError(f"limits_mm must rise, got {self.limits_mm}.")

    def grade(self, thickness_mm: float) -> str:
        """The grade of the greatest width of an effusion, such as "moderate"; "none" for 0.

        Both scales are meant for end-diastole. On another frame, or where the phase is unknown, say so beside the
        grade.

        Raises:
            ValueError: the thickness is negative or no number.
        """
        if not 0 <= thickness_mm < math.inf:
            raise ValueError(f"thickness_mm must be 0 or more, got {thickness_mm}.")
        if thickness_mm == 0:
            return "none"
        passed = sum(
            thickness_mm > limit or (thickness_mm == limit and upper)
            for limit, upper in zip(self.limits_mm, self.upper, strict=True)
        )
        return self.grades[passed]


SCALES = {
    "esc2015": Scale(
        name="ESC 2015",
        source=(
            "Adler et al., 2015 ESC Guidelines for the diagnosis and management of pericardial diseases, Eur Heart J "
            "36:2921-2964 (10.1093/eurheartj/ehv318): small < 10 mm, moderate 10-20 mm, large > 20 mm, largest "
            "end-diastolic width of the echo-free space"
        ),
        grades=("small", "moderate", "large"),
        limits_mm=(10.0, 20.0),
        upper=(True, False),
    ),
    "acep": Scale(
        name="ACEP",
        source=(
            "American College of Emergency Physicians, Emergency Ultrasound Imaging Criteria Compendium: small < 10 mm "
            "in diastole, often not all around; moderate: all around, nowhere above 10 mm; large 10-20 mm; very large "
            "> 20 mm or signs of tamponade. Thickness alone cannot tell small from moderate, nor see tamponade"
        ),
        grades=("small or moderate", "large", "very large"),
        limits_mm=(10.0, 20.0),
        upper=(True, False),
    ),
}


def find_scale(name: str) -> Scale:
    """The scale of that name.

    Raises:
        ValueError: there is none.
    """
    if name not in SCALES:
        raise ValueError(f"scale must be one of {', '.join(SCALES)}, got {name!r}.")
    return SCALES[name]
