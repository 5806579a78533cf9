# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What the page of a study says about one clip."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from pe_monai.measure import ClipMeasurement, FrameMeasurement, RegionMeasurement, find_scale
from pe_monai.report.curve import thickness_curve
from pe_monai.report.drawing import sector_box
from pe_monai.report.page import ClipSection, data_uri, picture_uri
from pe_monai.report.sheet import choose_frames
from pe_monai.studies.words import area, caption, length, share

if TYPE_CHECKING:
    from pe_monai.studies.segmented import SegmentedClip

_KEY_WIDTH, _STRIP_WIDTH = 960, 420
_STRIP_FRAMES, _MOST_ROWS = 8, 300
_COLUMNS = ("Frame", "Time, s", "Thickness", "Area", "Share of the sector", "Regions", "Judged")
_REGION_COLUMNS = ("Region", "Thickness", "Mean thickness", "Area", "Share of the sector", "Depth", "From the middle")


def describe_clip(seen: SegmentedClip, title: str) -> ClipSection:
    """Put a clip's measurements into words and pictures.

    Args:
        seen: the clip.
        title: what to call it.
    """
    clip, key = seen.measurement, seen.key_frame
    number = clip.largest_frame
    outlined = sum(bool(frame.regions) for frame in clip.frames)
    chosen = [place + 1 for place in choose_frames(len(seen), _STRIP_FRAMES, key - 1)]
    box = sector_box(seen.sectors[shown - 1] for shown in {key, *chosen})
    strip = [(picture_uri(seen.draw(n, width=_STRIP_WIDTH, box=box), 82), caption(clip, n)) for n in chosen]
    return ClipSection(
        title=title,
        finding=_finding(clip, outlined),
        largest=length(clip.largest_mm, clip.largest_px) if number else "–",
        robust=length(clip.robust_mm, clip.robust_px) if number else "–",
        grade=clip.grade or "–",
        frames=len(seen),
        unreliable=len(clip.unreliable),
        headline=_headline(clip),
        picture=picture_uri(seen.draw(key, width=_KEY_WIDTH, box=box)),
        picture_caption=caption(clip, key) + (f": {clip.phase}" if key == number else ""),
        results=_results(seen, outlined),
        notes=_notes(seen, outlined),
        number=key,
        region_columns=_REGION_COLUMNS,
        regions=[_region_row(place, region) for place, region in enumerate(clip.frames[key - 1].regions, start=1)],
        curve=data_uri(draw_curve(seen), "image/svg+xml") if len(seen) > 1 and outlined else "",
        strip=strip if len(seen) > 1 else (),
        columns=_COLUMNS,
        rows=[_frame_row(clip, n, frame) for n, frame in enumerate(clip.frames[:_MOST_ROWS], start=1)],
    )


def draw_curve(seen: SegmentedClip, kind: str = "svg") -> bytes:
    """Thickness against time as the content of a figure's file."""
    clip, scale = seen.measurement, find_scale(seen.measurement.scale)
    in_mm = clip.thickness_mm is not None
    thickness = np.array(clip.thickness_mm if in_mm else clip.thickness_px)
    thickness[[number - 1 for number in seen.bad_frames]] = np.nan
    limits = {
        f"{name} from {limit:g} mm ({scale.name})": limit
        for name, limit in zip(scale.grades[1:], scale.limits_mm, strict=True)
    }
    return thickness_curve(
        np.array(clip.times_ms) / 1000 if clip.times_ms else np.arange(1, len(clip.frames) + 1),
        thickness,
        [frame.reliable for frame in clip.frames],
        unit="mm" if in_mm else "px",
        time_label="time, s" if clip.times_ms else "frame",
        robust=(clip.robust_mm if in_mm else clip.robust_px) if clip.largest_frame else None,
        largest=clip.largest_frame - 1 if clip.largest_frame else None,
        limits=limits if in_mm else None,
        kind=kind,
    )


def _finding(clip: ClipMeasurement, outlined: int) -> str:
    if clip.robust_px is None:
        return "no reliable frame"
    if clip.largest_frame is None:
        return "none outlined" if not outlined else "only in unreliable frames"
    return f"outlined in {outlined} of {len(clip.frames)} frames"


def _headline(clip: ClipMeasurement) -> str:
    if clip.robust_px is None:
        return "No frame is reliable: nothing can be said about this clip."
    if clip.largest_frame is None:
        return "No effusion outlined in any reliable frame. This does not exclude one."
    where = " at the R peak" if clip.is_graded_at_r_peak else ""
    graded = f" Graded {clip.grade}{where}." if clip.grade else ""
    return f"Effusion outlined, up to {length(clip.largest_mm, clip.largest_px)} thick.{graded}"


def _results(seen: SegmentedClip, outlined: int) -> list[tuple[str, str]]:
    clip = seen.measurement
    rows = []
    if clip.largest_frame is not None:
        frame = clip.frames[clip.largest_frame - 1]
        ungraded = "none: pixel size unknown" if clip.robust_mm is None else "none: the thickness to grade is 0 mm"
        rows += [
            ("Largest thickness", f"{length(clip.largest_mm, clip.largest_px)} (frame {clip.largest_frame})"),
            ("Robust maximum", length(clip.robust_mm, clip.robust_px)),
            ("Grade", clip.grade or ungraded),
            ("Heart's phase", clip.phase),
            (f"Area in frame {clip.largest_frame}", area(frame.area_cm2, frame.area_px)),
            ("Share of the sector there", share(frame.sector_share)),
        ]
    rows.append(("Frames with effusion outlined", f"{outlined} of {len(seen)}"))
    rows.append(("Frames judged unreliable", f"{len(clip.unreliable)} of {len(seen)}"))
    if clip.times_ms and len(seen) > 1:
        rows.append(("Duration", f"{(clip.times_ms[-1] - clip.times_ms[0]) / 1000:.2f} s"))
    size = "unknown"
    if seen.spacing:
        origin = " (given by the user)" if seen.spacing_from == "given" else ""
        size = f"{seen.spacing[0]:.3f} x {seen.spacing[1]:.3f} mm{origin}"
    rows.append(("Pixel size, row x column", size))
    return rows


def _notes(seen: SegmentedClip, outlined: int) -> list[str]:
    clip, total = seen.measurement, len(seen)
    notes = list(seen.clip.notes)
    if outlined == 0:
        notes.append(f"No pericardial effusion was outlined in any of {total} frames; this does not exclude one.")
    if clip.grade and clip.is_graded_at_r_peak:
        notes.append("Grading scales are meant for end-diastole: the frame of the R peak is graded, not the thickest.")
    elif clip.grade:
        notes.append(
            "Grading scales are meant for end-diastole. The robust maximum is the 95th percentile after a median over "
            "neighbouring frames, so that no single bad frame makes a grade."
        )
    if seen.spacing_ignored:
        notes.append(
            f"A pixel size of {seen.spacing_ignored[0]:g} x {seen.spacing_ignored[1]:g} mm was given and not used, "
            "as the file has its own."
        )
    if seen.unclear and not seen.show_unclear:
        shown = "only the outlines" if seen.moving is None else "only what moves in the clip"
        notes.append(
            f"{len(seen.unclear)} of {total} frames show no sector that stands out from what the machine may have "
            f"written around it: {shown} can be seen here. --include-identifiers shows all of it."
        )
    if seen.spacing is None:
        notes.append("The pixel size is not known: sizes are in pixels, none is in millimetres, and there is no grade.")
    if seen.bad_frames:
        first, why = next(iter(seen.bad_frames.items()))
        notes.append(
            f"{len(seen.bad_frames)} of {total} frames could not be used, the first of them frame {first}: {why}"
        )
    doubtful = [number for number in clip.unreliable if number not in seen.bad_frames]
    if doubtful:
        reasons = Counter(clip.frames[n - 1].reason.partition(" (")[0] for n in doubtful).most_common(3)
        said = "; ".join(f"{reason} ({count})" for reason, count in reasons)
        notes.append(f"{len(doubtful)} of {total} frames are judged unreliable and do not count: {said}.")
    if clip.largest_frame is not None and clip.frames[clip.largest_frame - 1].regions[0].cut_off:
        notes.append("The calliper ends at the edge of the sector: the effusion may be thicker than measured.")
    if total > _MOST_ROWS:
        notes.append(f"The table below holds the first {_MOST_ROWS} frames; frames.csv has all of them.")
    return notes


def _region_row(place: int, region: RegionMeasurement) -> list[str]:
    where = ["–", "–"]
    if region.position is not None:
        side = "left" if region.position.lateral < 0 else "right"
        where = [f"{100 * region.position.depth:.0f} %", f"{100 * abs(region.position.lateral):.0f} % to the {side}"]
    return [
        str(place),
        length(region.thickness_mm, region.thickness_px),
        length(region.mean_thickness_mm, region.mean_thickness_px),
        area(region.area_cm2, region.area_px),
        share(region.sector_share),
        *where,
    ]


def _frame_row(clip: ClipMeasurement, number: int, frame: FrameMeasurement) -> list[str]:
    return [
        str(number),
        "–" if clip.times_ms is None else f"{clip.times_ms[number - 1] / 1000:.3f}",
        length(frame.thickness_mm, frame.thickness_px) if frame.regions else "–",
        area(frame.area_cm2, frame.area_px) if frame.regions else "–",
        share(frame.sector_share) if frame.regions else "–",
        str(len(frame.regions)),
        "reliable" if frame.reliable else frame.reason,
    ]
