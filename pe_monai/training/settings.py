# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Settings of a training that cannot be meant, refused by name before anything is read or trained."""

from __future__ import annotations

import math
from typing import Any

import torch

from pe_monai.devices import usable_device
from pe_monai.errors import BundleError


def check_settings(
    device: str | torch.device,
    seed: Any,
    max_epochs: Any,
    batch_size: Any,
    val_interval: Any,
    patience: Any,
    learning_rate: Any,
    weight_decay: Any,
) -> None:
    """Refuse a training that could not begin, or would end at once; see ``train.json`` for the settings.

    Raises:
        BundleError: a number is none or out of its range; names the setting.
        DeviceError: there is no such device here.
    """
    usable_device(device)
    if not isinstance(seed, int):
        raise BundleError(f"seed is {seed!r}; give a whole number.")
    counts = {"max_epochs": max_epochs, "batch_size": batch_size, "val_interval": val_interval, "patience": patience}
    for name, value in counts.items():
        if not isinstance(value, int) or value < 1:
            raise BundleError(f"{name} is {value!r}; give a whole number of 1 or more.")
    if not _is_number(learning_rate) or learning_rate <= 0:
        raise BundleError(f"learning_rate is {learning_rate!r}; give a number above 0, such as 0.002.")
    if not _is_number(weight_decay) or weight_decay < 0:
        raise BundleError(f"weight_decay is {weight_decay!r}; give 0 or a number above it.")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)
