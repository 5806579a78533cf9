# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What a probability map or a mask says about a frame."""

from pe_monai.measure.score import frame_score

__all__ = ["frame_score"]
