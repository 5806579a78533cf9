# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""JPEG lossless for pydicom's decoders, by libjpeg-turbo as the package imagecodecs brings it."""

from __future__ import annotations

from importlib.util import find_spec

from pydicom.pixels import get_decoder
from pydicom.pixels.common import PhotometricInterpretation
from pydicom.pixels.decoders.base import DecodeRunner
from pydicom.uid import JPEGLossless, JPEGLosslessSV1

LABEL = "imagecodecs"
DECODER_DEPENDENCIES = {uid: ("imagecodecs",) for uid in (JPEGLossless, JPEGLosslessSV1)}


def is_available(uid: str) -> bool:
    """Whether a transfer syntax can be decoded, as pydicom asks."""
    return uid in DECODER_DEPENDENCIES and find_spec("imagecodecs") is not None


def decode_frame(data: bytes, runner: DecodeRunner) -> bytes:
    """Decode a frame, as pydicom asks; colours stay as they are stored."""
    import imagecodecs

    runner.set_option("planar_configuration", 0)
    if runner.photometric_interpretation.startswith("YBR"):
        runner.set_option("photometric_interpretation", PhotometricInterpretation.YBR_FULL)
    image = imagecodecs.jpeg8_decode(data)
    runner.set_option("bits_allocated", 8 * image.itemsize)
    return image.tobytes()


for _uid in DECODER_DEPENDENCIES:
    get_decoder(_uid).add_plugin(LABEL, (__name__, "decode_frame"))
