# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Outlines corrected by clicks."""

from pe_monai.interactive.predictor import Click, InteractivePredictor

__all__ = ["Click", "InteractivePredictor"]
