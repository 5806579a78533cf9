# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Index of the data set, its splits, the phantom, the one reader of frames and the writers of results."""

from pe_monai.data.checks import check_frames
from pe_monai.data.counts import effusion_pixels
from pe_monai.data.files import FrameFile, collect_frames, list_frames
from pe_monai.data.index import Item, index_dataset
from pe_monai.data.phantom import PhantomFrame, phantom_clip, phantom_frame, write_phantom_dataset
from pe_monai.data.reader import FrameReader, MaskReader
from pe_monai.data.splits import PROTOCOLS, load_datalist, split_items, write_datalist
from pe_monai.data.writer import MaskSaver, write_map, write_picture, write_whole

__all__ = [
    "PROTOCOLS",
    "FrameFile",
    "FrameReader",
    "Item",
    "MaskReader",
    "MaskSaver",
    "check_frames",
    "PhantomFrame",
    "collect_frames",
    "effusion_pixels",
    "index_dataset",
    "list_frames",
    "load_datalist",
    "phantom_clip",
    "phantom_frame",
    "split_items",
    "write_datalist",
    "write_map",
    "write_phantom_dataset",
    "write_picture",
    "write_whole",
]
