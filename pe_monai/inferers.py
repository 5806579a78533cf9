# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The inferer of the bundle: a plain forward pass in the precision the processor is fastest at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from monai.inferers import SimpleInferer


def has_fast_bf16() -> bool:
    """Whether this CPU is faster in bfloat16 than in float32: with AMX, or with AVX-512 BF16 that is not Intel's.

    Intel's with AVX-512 BF16 alone are slower in it, as the README's measurement of runtimes shows.
    """
    if _ask("_is_amx_tile_supported"):
        return True
    name = (_ask("get_capabilities") or {}).get("cpu_name", "")
    return bool(_ask("_is_avx512_bf16_supported")) and "Intel" not in name


def _ask(function: str) -> Any:
    """What a function of `torch.cpu` says of this CPU; None where this version of PyTorch lacks it."""
    return getattr(torch.cpu, function, lambda: None)()


class FrameInferer(SimpleInferer):
    """Run a network on a batch of frames, in channels-last layout and, on a CPU that has it, bfloat16.

    MONAI's engines know automatic mixed precision on CUDA alone, so the CPU's has to come in here. On CUDA the engine's
    ``amp`` decides and this is a plain forward pass. The logits come back as float32 in either case.

    Args:
        amp: whether to compute in bfloat16 where the CPU is fast at it.
        flip: whether to average the logits with those of the mirrored frame, at twice the cost; not for training.
        temperature: what the logits are divided by, so that probabilities are calibrated (Guo et al., ICML 2017); above
            1 makes them less sure; not for training.
        channel: the only channel of the logits that is kept, such as the green one of a network that paints RGB masks;
            None keeps all; not for training.

    Raises:
        ValueError: the temperature is not above 0.
    """

    def __init__(
        self, amp: bool = True, flip: bool = False, temperature: float = 1.0, channel: int | None = None
    ) -> None:
        super().__init__()
        if not temperature > 0:
            raise ValueError(f"temperature must be above 0, got {temperature}.")
        self.temperature = temperature
        self.cpu_amp = amp and has_fast_bf16()
        self.flip = flip
        self.channel = channel

    def __call__(
        self, inputs: torch.Tensor, network: Callable[..., torch.Tensor], *args: Any, **kwargs: Any
    ) -> torch.Tensor:
        """(B, C, H, W) to logits (B, K, H, W), float32; K is 1 where a channel was chosen.

        MONAI Deploy's operator passes on every tensor that the preprocessing made, the sector among them: the network
        takes none of them.
        """
        kwargs.pop("sector", None)
        if self.flip:
            both = self._forward(torch.cat([inputs, inputs.flip(-1)]), network, *args, **kwargs)
            plain, mirrored = both.chunk(2)
            logits = (plain + mirrored.flip(-1)) / 2
        else:
            logits = self._forward(inputs, network, *args, **kwargs)
        if self.channel is not None:
            logits = logits[:, self.channel : self.channel + 1]
        return logits if self.temperature == 1 else logits / self.temperature

    def _forward(
        self, inputs: torch.Tensor, network: Callable[..., torch.Tensor], *args: Any, **kwargs: Any
    ) -> torch.Tensor:
        if inputs.device.type != "cpu":
            return network(inputs, *args, **kwargs).float()
        inputs = inputs.contiguous(memory_format=torch.channels_last)
        # who builds network_def alone, as MONAI Label does, has it in another layout, which rounds otherwise
        if isinstance(network, torch.nn.Module):
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in torch's stubs
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.cpu_amp):
            return network(inputs, *args, **kwargs).float()
