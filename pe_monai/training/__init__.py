# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What MONAI's engines lack: training that survives a kill, the best weights kept, batches augmented on the device."""

from pe_monai.training.averaging import average_weights
from pe_monai.training.batches import AugmentBatch
from pe_monai.training.checkpoint import BestWeights, EarlyStop, StopOnNan, TrainingState, warm_start
from pe_monai.training.growth import grow_start
from pe_monai.training.reporting import CsvMetrics, loss_of, progress_bar
from pe_monai.training.settings import check_settings
from pe_monai.training.statistics import RenewStatistics

__all__ = [
    "AugmentBatch",
    "BestWeights",
    "CsvMetrics",
    "EarlyStop",
    "RenewStatistics",
    "StopOnNan",
    "TrainingState",
    "average_weights",
    "check_settings",
    "grow_start",
    "loss_of",
    "progress_bar",
    "warm_start",
]
