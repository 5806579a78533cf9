# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Stands in for pydicom-seg, which MONAI Label imports and uses only to write DICOM Segmentations of volumes."""


def __getattr__(name: str):
    raise AttributeError(f"pydicom_seg.{name} is absent here; 'pe_monai segment' writes DICOM Segmentations.")
