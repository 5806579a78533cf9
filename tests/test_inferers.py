# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The inferer: precision, layout, mirrored frames."""

from __future__ import annotations

import pytest
import torch

from pe_monai.inferers import FrameInferer, has_fast_bf16


def left_half(x: torch.Tensor) -> torch.Tensor:
    """A network that is not symmetric: it sees the left half alone."""
    out = x.clone()
    out[..., x.shape[-1] // 2 :] = 0
    return out


def test_plain_inference_is_the_network():
    frames = torch.rand(2, 1, 16, 20)
    assert torch.equal(FrameInferer(amp=False)(frames, left_half), left_half(frames))


def test_flip_averages_the_mirrored_logits():
    frames = torch.ones(1, 1, 16, 20)
    assert torch.equal(FrameInferer(amp=False, flip=True)(frames, left_half), torch.full_like(frames, 0.5))


def test_flip_makes_mirrored_frames_give_mirrored_logits():
    torch.manual_seed(0)
    network = torch.nn.Conv2d(1, 1, 3, padding=1)
    frames = torch.rand(2, 1, 16, 20)
    inferer = FrameInferer(amp=False, flip=True)
    assert torch.allclose(inferer(frames, network).flip(-1), inferer(frames.flip(-1), network), atol=1e-6)


def test_logits_are_float32_whatever_the_network_computes_in():
    frames = torch.rand(1, 1, 16, 16)
    network = torch.nn.Conv2d(1, 1, 1)
    assert FrameInferer(amp=True)(frames, network).dtype == torch.float32
    assert FrameInferer(amp=True)(frames, lambda x: x.bfloat16()).dtype == torch.float32


def test_the_network_gets_channels_last():
    seen = []
    FrameInferer(amp=False)(torch.rand(2, 3, 16, 16), lambda x: seen.append(x) or x)
    assert seen[0].is_contiguous(memory_format=torch.channels_last)


def test_temperature_divides_the_logits():
    frames = torch.ones(1, 1, 16, 20)
    plain = FrameInferer(amp=False, flip=True)(frames, left_half)
    assert torch.equal(FrameInferer(amp=False, flip=True, temperature=2.0)(frames, left_half), plain / 2)


def test_temperature_zero_is_refused():
    with pytest.raises(ValueError, match="temperature must be above 0, got 0"):
        FrameInferer(temperature=0)


@pytest.mark.parametrize(
    ("amx", "avx512_bf16", "name", "fast"),
    [
        (True, True, "Intel Xeon", True),
        (False, True, "Intel Xeon", False),
        (False, True, "AMD EPYC", True),
        (False, False, "AMD EPYC", False),
    ],
)
def test_bfloat16_is_for_processors_that_gain_by_it(monkeypatch, amx, avx512_bf16, name, fast):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512_bf16)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"cpu_name": name}, raising=False)
    assert has_fast_bf16() is fast
    assert FrameInferer(amp=True).cpu_amp is fast


def test_bfloat16_is_left_out_where_pytorch_cannot_tell(monkeypatch):
    for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported", "get_capabilities"):
        monkeypatch.delattr(torch.cpu, name, raising=False)
    assert has_fast_bf16() is False
