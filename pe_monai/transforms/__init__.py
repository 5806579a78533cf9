# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""MONAI transforms for echo frames: array versions and dictionary versions (with a trailing ``d``)."""

from pe_monai.transforms.augment import (
    RandAcousticShadow,
    RandAcousticShadowd,
    RandGain,
    RandGaind,
    RandTimeGain,
    RandTimeGaind,
)
from pe_monai.transforms.clicks import CorrectErrord, add_click, error_centre, put_click
from pe_monai.transforms.framing import FrameSector, FrameSectord
from pe_monai.transforms.mask import DecodeMask, DecodeMaskd
from pe_monai.transforms.mistakes import RandCorrectiond, RandMistakes
from pe_monai.transforms.regions import EffusionRegions, EffusionRegionsd, dice_threshold
from pe_monai.transforms.saving import SqueezeForSaveImaged
from pe_monai.transforms.sector import IsolateSector, IsolateSectord, SectorNotFoundError, find_sector
from pe_monai.transforms.sector_affine import RandSectorAffined

__all__ = [
    "CorrectErrord",
    "DecodeMask",
    "DecodeMaskd",
    "EffusionRegions",
    "EffusionRegionsd",
    "FrameSector",
    "FrameSectord",
    "IsolateSector",
    "IsolateSectord",
    "RandAcousticShadow",
    "RandAcousticShadowd",
    "RandCorrectiond",
    "RandGain",
    "RandGaind",
    "RandMistakes",
    "RandSectorAffined",
    "RandTimeGain",
    "RandTimeGaind",
    "SectorNotFoundError",
    "SqueezeForSaveImaged",
    "add_click",
    "dice_threshold",
    "error_centre",
    "find_sector",
    "put_click",
]
