# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The SOP classes of ultrasound images (PS3.4, annex B.5), and those of earlier editions."""

from __future__ import annotations

from pydicom.uid import UID, UltrasoundImageStorage, UltrasoundMultiFrameImageStorage

RETIRED_MULTI_FRAME = UID("1.2.840.10008.5.1.4.1.1.3")
RETIRED_SINGLE_FRAME = UID("1.2.840.10008.5.1.4.1.1.6")
MULTI_FRAME = (UltrasoundMultiFrameImageStorage, RETIRED_MULTI_FRAME)
ULTRASOUND = (*MULTI_FRAME, UltrasoundImageStorage, RETIRED_SINGLE_FRAME)
