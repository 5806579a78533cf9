# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""A seeded generator of synthetic echo frames and clips, and of a whole data set in the published layout."""

from pe_monai.data.phantom.dataset import write_phantom_dataset
from pe_monai.data.phantom.frames import PhantomFrame, phantom_clip, phantom_frame

__all__ = ["PhantomFrame", "phantom_clip", "phantom_frame", "write_phantom_dataset"]
