# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Whole clips and studies through the predictor: outlined, measured, and written for viewers and for people."""

from pe_monai.studies.options import ClipResult, StudyOptions, StudyResult
from pe_monai.studies.process import process_clips, process_study, write_table_of_clips

__all__ = ["ClipResult", "StudyOptions", "StudyResult", "process_clips", "process_study", "write_table_of_clips"]
