# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Runtimes other than PyTorch: conversion, export to files, and sessions that compute a network."""

from pe_monai.runtimes.exported import open_export, read_manifest
from pe_monai.runtimes.fold import fold_batch_norm
from pe_monai.runtimes.session import RUNTIMES, Session, start_session

__all__ = ["RUNTIMES", "Session", "fold_batch_norm", "open_export", "read_manifest", "start_session"]
