# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Synthetic echo frames and clips with an effusion of known thickness in mm."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from pe_monai.data.phantom.echo import EchoMap
from pe_monai.data.phantom.heart import VIEWS, Outline, Pocket, Surroundings, random_outline, random_pockets
from pe_monai.data.phantom.scan import Sector, random_machine, random_sector, speckle_grey
from pe_monai.data.phantom.screen import BACKGROUNDS, black_screen, empty_screen

THICKNESS_RANGE_MM = (2.0, 40.0)
DEPTH_RANGE_CM = (8.0, 30.0)
EMPTY_SHARE = 0.38
MAX_DEPTH_SHARE = 0.3
_ATTEMPTS = 60


@dataclass(frozen=True)
class PhantomFrame:
    """One synthetic frame with its truth; rows first, as displayed.

    Attributes:
        image: (H, W, 3) uint8, as a machine or the published data set shows it.
        coverage: (H, W) uint8, the mask with a soft edge, 0 to 254 as in the published masks.
        mask: (H, W) bool, the effusion: `coverage > 127`.
        sector: (H, W) bool, the ultrasound picture without its surroundings.
        spacing: (row, column) distance of neighbouring pixels in mm.
        thickness_mm: diameter of the largest circle inside the effusion, 0 where there is none.
        depth_cm: depth of the picture.
        view: name of the standard view.
        seed: what the clip was made from.
        index: place of the frame in its clip.
    """

    image: np.ndarray
    coverage: np.ndarray
    mask: np.ndarray
    sector: np.ndarray
    spacing: tuple[float, float]
    thickness_mm: float
    depth_cm: float
    view: str
    seed: int
    index: int


def phantom_frame(
    seed: int,
    size: tuple[int, int] = (224, 320),
    background: str = "green",
    thickness_mm: float | None = None,
    depth_cm: float | None = None,
    pixel_aspect: float = 1.0,
    view: str | None = None,
) -> PhantomFrame:
    """Make one frame: the only frame of `phantom_clip(seed, 1, ...)`, which documents the arguments."""
    return phantom_clip(seed, 1, size, background, thickness_mm, depth_cm, pixel_aspect, view)[0]


def phantom_clip(
    seed: int,
    frames: int,
    size: tuple[int, int] = (224, 320),
    background: str = "green",
    thickness_mm: float | None = None,
    depth_cm: float | None = None,
    pixel_aspect: float = 1.0,
    view: str | None = None,
) -> list[PhantomFrame]:
    """Make a clip: one heart through one beat, seen from one place.

    Equal arguments give equal frames. The background changes nothing inside the sector.

    Args:
        seed: source of all chance, not negative.
        frames: number of frames, spread over one beat.
        size: (rows, columns) in pixels, at least 48 each.
        background: "green" paints (0, 255, 0) outside the sector as the published data set does, "black" puts a
            machine's text, logo, depth ruler and ECG there.
        thickness_mm: thickness of the effusion in the frame where it is thickest: 0 for none, or 2 to 40 and at most
            30 % of the depth. None draws it.
        depth_cm: depth of the picture, 8 to 30. None draws it.
        pixel_aspect: row spacing divided by column spacing, 0.25 to 4.
        view: a key of `VIEWS`. None draws it.

    Returns:
        The frames in order.

    Raises:
        ValueError: for an argument out of its range, or an effusion too thick for the depth.
    """
    _check(seed, frames, size, background, thickness_mm, depth_cm, pixel_aspect, view)
    rng = np.random.default_rng([seed, 0])
    if thickness_mm is None:
        drawn = float(np.exp(rng.uniform(*np.log(THICKNESS_RANGE_MM))))
        if depth_cm is not None:
            drawn = min(drawn, MAX_DEPTH_SHARE * 10 * depth_cm)
        thickness_mm = 0.0 if rng.random() < EMPTY_SHARE else drawn
    if depth_cm is None:
        depth_cm = float(rng.uniform(max(11.5, 9 + thickness_mm / 4), 20.5))
    if view is None:
        view = str(rng.choice(list(VIEWS)))
    sector, outline, pockets = _place(rng, size, 10 * depth_cm, pixel_aspect, view, thickness_mm)
    around = Surroundings(outline, pockets, sector)
    echoes = EchoMap(rng, VIEWS[view], outline, around, sector)
    machine = random_machine(rng)

    x, y = sector.pixels(size)
    inside = sector.clearance(x, y) > 0
    distance, profile, _ = around.at(x[inside], y[inside])
    polar_index = sector.to_polar_index(x[inside], y[inside])
    pixel_mm = np.sqrt(sector.spacing[0] * sector.spacing[1])

    phases = (rng.random() + np.arange(frames) / frames) % 1.0
    contractions = (1 - np.cos(2 * np.pi * phases)) / 2
    # The thickest of the stored frames has the nominal thickness: the heart's stroke is counted back from there.
    stroke_mm = min(5.0, rng.uniform(0.1, 0.3) * thickness_mm, 0.3 * outline.curvature_radius.min())
    inward = stroke_mm * (contractions - contractions.max())
    clip = []
    for index, (phase, contraction) in enumerate(zip(phases, contractions, strict=True)):
        thickness = thickness_mm + inward[index]
        # With no fluid between them, heart and pericardium move as one, which the eye hardly sees: 1.5 mm.
        moved = stroke_mm * contraction if thickness_mm else 1.5 * contraction
        coverage = np.zeros(size, dtype=np.uint8)
        if thickness_mm:
            deep = np.minimum(distance + moved, thickness * profile - distance - moved)
            coverage[inside] = np.round(254 * np.clip(deep / pixel_mm + 0.5, 0, 1))
        chance = np.random.default_rng([seed, 1, index])
        grey = speckle_grey(chance, echoes.at(contraction, moved, thickness), machine)
        shown = ndimage.map_coordinates(grey, polar_index, order=1, mode="nearest")
        image = empty_screen(background, size)
        if background == "black":
            image = black_screen(seed, size, sector, phase)
            image[ndimage.binary_dilation(inside, iterations=2)] = 0
        image[inside] = np.round(255 * shown)[:, None].astype(np.uint8)
        clip.append(
            PhantomFrame(
                image=image,
                coverage=coverage,
                mask=coverage > 127,
                sector=inside,
                spacing=sector.spacing,
                thickness_mm=float(thickness),
                depth_cm=float(depth_cm),
                view=view,
                seed=seed,
                index=index,
            )
        )
    return clip


def _place(
    rng: np.random.Generator,
    size: tuple[int, int],
    depth_mm: float,
    pixel_aspect: float,
    view: str,
    thickness_mm: float,
) -> tuple[Sector, Outline, tuple[Pocket, ...]]:
    """Draw sectors and hearts, ever smaller ones, until the effusion fits into the picture."""
    shrink = 1 - 0.4 * thickness_mm / depth_mm
    for attempt in range(_ATTEMPTS):
        sector = random_sector(rng, size, depth_mm, pixel_aspect)
        outline = random_outline(rng, VIEWS[view], sector, shrink * 0.99**attempt)
        pockets = random_pockets(rng, outline, sector, thickness_mm) if thickness_mm else ()
        if pockets is not None:
            return sector, outline, pockets
    raise ValueError(
        f"An effusion of thickness_mm={thickness_mm:g} does not fit into a picture of depth_cm={depth_mm / 10:g}; "
        "take a thinner effusion or a greater depth."
    )


def _check(
    seed: int,
    frames: int,
    size: tuple[int, int],
    background: str,
    thickness_mm: float | None,
    depth_cm: float | None,
    pixel_aspect: float,
    view: str | None,
) -> None:
    """Refuse arguments out of their range."""
    low, high = THICKNESS_RANGE_MM
    if seed < 0:
        raise ValueError(f"seed must not be negative, got {seed}.")
    if frames < 1:
        raise ValueError(f"frames must be at least 1, got {frames}.")
    if len(size) != 2 or min(size) < 48:
        raise ValueError(f"size must be (rows, columns) of at least 48 pixels each, got {size}.")
    if background not in BACKGROUNDS:
        raise ValueError(f"background must be one of {BACKGROUNDS}, got {background!r}.")
    if thickness_mm is not None and thickness_mm != 0 and not low <= thickness_mm <= high:
        raise ValueError(f"thickness_mm must be 0 (no effusion) or {low:g} to {high:g}, got {thickness_mm}.")
    if depth_cm is not None and not DEPTH_RANGE_CM[0] <= depth_cm <= DEPTH_RANGE_CM[1]:
        raise ValueError(f"depth_cm must be {DEPTH_RANGE_CM[0]:g} to {DEPTH_RANGE_CM[1]:g}, got {depth_cm}.")
    if thickness_mm and depth_cm is not None and thickness_mm > MAX_DEPTH_SHARE * 10 * depth_cm:
        raise ValueError(
            f"thickness_mm={thickness_mm:g} does not fit into a picture of depth_cm={depth_cm:g}: "
            f"it may be {100 * MAX_DEPTH_SHARE:g} % of the depth; take a thinner effusion or a greater depth."
        )
    if not 0.25 <= pixel_aspect <= 4:
        raise ValueError(f"pixel_aspect (row spacing / column spacing) must be 0.25 to 4, got {pixel_aspect}.")
    if view is not None and view not in VIEWS:
        raise ValueError(f"view must be one of {sorted(VIEWS)}, got {view!r}.")
