# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Whether a device can be used on this machine."""

from __future__ import annotations

import torch

from pe_monai.errors import DeviceError


def usable_device(name: str | torch.device) -> torch.device:
    """A device that this machine has.

    Args:
        name: such as "cpu" or "cuda:0".

    Raises:
        DeviceError: there is no such device here.
    """
    try:
        return torch.empty(0, device=torch.device(name)).device
    except (RuntimeError, AssertionError) as e:  # a torch without CUDA asserts
        reason = str(e).splitlines()[0][:120]
        raise DeviceError(f"device {str(name)!r} cannot be used here ({reason}); give cpu, or cuda:0 on a GPU.") from e
