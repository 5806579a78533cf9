# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What surrounds the sector: the flat green of the published frames, or a machine's black screen with its furniture."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pe_monai.data.phantom.scan import Sector

BACKGROUNDS = ("green", "black")
GREEN = (0, 255, 0)


def empty_screen(background: str, size: tuple[int, int]) -> np.ndarray:
    """A (rows, columns, 3) uint8 screen without furniture."""
    return np.full((*size, 3), GREEN if background == "green" else (0, 0, 0), dtype=np.uint8)


def black_screen(seed: int, size: tuple[int, int], sector: Sector, progress: float) -> np.ndarray:
    """A black screen with text, logo, depth ruler and ECG trace, drawn without regard to the sector.

    Args:
        seed: the clip's number; what is written and where depends on nothing else.
        size: (rows, columns).
        sector: gives the ruler its scale, one tick a cm.
        progress: phase of the beat in [0, 1), which places the cursor on the ECG.

    Returns:
        (rows, columns, 3) uint8.
    """
    rng = np.random.default_rng([seed, 7])
    rows, columns = size
    image = Image.fromarray(empty_screen("black", size))
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default()
    ink = tuple(int(c) for c in rng.choice([(230, 230, 230), (250, 220, 90), (120, 220, 250)]))

    left = [
        "PHANTOM",
        f"{rng.integers(25, 90)} Hz",
        f"{sector.depth_mm / 10:.0f} cm",
        "2D",
        f"G {rng.integers(30, 80)}%",
    ]
    for line, text in enumerate(left[: rng.integers(3, 6)]):
        draw.text((3, 2 + 11 * line), text, fill=ink, font=font)
    for line, text in enumerate([f"MI 1.{rng.integers(0, 5)}", f"TIS 0.{rng.integers(2, 9)}"]):
        draw.text((columns - 42, 2 + 11 * line), text, fill=ink, font=font)
    logo = (columns - 24, 30, columns - 8, 46)
    draw.ellipse(logo, outline=(60, 140, 250), width=2)
    draw.text((logo[0] + 5, logo[1] + 2), "P", fill=(60, 140, 250), font=font)

    ruler = columns - 4 if rng.random() < 0.7 else 3
    inward = -1 if ruler > columns / 2 else 1
    for centimetre in range(int(sector.depth_mm // 10) + 1):
        row = sector.apex[0] + (sector.face_mm + 10 * centimetre) / sector.spacing[0]
        length = 6 if centimetre % 5 == 0 else 3
        draw.line([(ruler, row), (ruler + inward * length, row)], fill=(200, 200, 200))
    draw.text((columns - 60, rows - 12), f"{rng.integers(50, 120)} bpm", fill=(90, 240, 120), font=font)

    beats = np.linspace(0, rng.uniform(1.5, 4), columns)
    wave = np.exp(-(((beats % 1 - 0.3) / 0.02) ** 2)) - 0.2 * np.exp(-(((beats % 1 - 0.35) / 0.02) ** 2))
    wave += 0.25 * np.exp(-(((beats % 1 - 0.6) / 0.06) ** 2)) + 0.12 * np.exp(-(((beats % 1 - 0.15) / 0.04) ** 2))
    base, height = rows * 0.97, rows * 0.09
    draw.line([(c, base - height * float(w)) for c, w in enumerate(wave)], fill=(90, 240, 120))
    cursor = int((0.2 + 0.6 * progress) * columns)
    draw.line([(cursor, base - height), (cursor, rows - 1)], fill=(240, 60, 60))
    return np.array(image)
