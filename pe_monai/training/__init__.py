# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Ignite handlers that MONAI lacks: training that survives a kill, and the best weights kept."""

from pe_monai.training.checkpoint import BestWeights, EarlyStop, StopOnNan, TrainingState, warm_start
from pe_monai.training.growth import grow_start
from pe_monai.training.reporting import CsvMetrics, loss_of, progress_bar

__all__ = [
    "BestWeights",
    "CsvMetrics",
    "EarlyStop",
    "StopOnNan",
    "TrainingState",
    "grow_start",
    "loss_of",
    "progress_bar",
    "warm_start",
]
