# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What every variant of the network promises, then what the network and its blocks promise by themselves."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from pe_monai.networks import ImprovedUNet, Upsample

SMALL = {"channels": (8, 16, 32)}
STANDARD = {
    "padding_mode": "zeros",
    "act": "relu",
    "downsample": "maxpool",
    "upsample": "deconv",
    "multi_scale": False,
    "dropout": 0,
}
VARIANTS = {
    "shipped": {},
    "paper": SMALL,
    "standard": {**SMALL, **STANDARD},
    "standard of 2015": {**SMALL, **STANDARD, "norm": None},
    "zero padding": {**SMALL, "padding_mode": "zeros"},
    "replicate padding": {**SMALL, "padding_mode": "replicate"},
    "circular padding": {**SMALL, "padding_mode": "circular"},
    "relu": {**SMALL, "act": "relu"},
    "max pooling": {**SMALL, "downsample": "maxpool"},
    "nearest": {**SMALL, "upsample": "nearest"},
    "transposed convolution": {**SMALL, "upsample": "deconv"},
    "no multi-scale block": {**SMALL, "multi_scale": False},
    "no dropout": {**SMALL, "dropout": 0.0},
    "instance norm": {**SMALL, "norm": "instance"},
    "group norm": {**SMALL, "norm": ["group", {"num_groups": 4}]},
    "no norm": {**SMALL, "norm": None},
    "backbone": {"channels": (4, 4, 8, 8, 8), "backbone": "efficientnet_lite0"},
    "RGB in and out": {**SMALL, "in_channels": 3, "out_channels": 3},
}
SIZES = [(16, 16), (17, 31), (31, 17), (57, 80)]


@torch.no_grad()
def fill_by_formula(net: torch.nn.Module) -> None:
    """Weights that depend on no random generator: a sine over each tensor, scaled by its fan-in."""
    for number, (name, value) in enumerate(net.state_dict().items()):
        wave = torch.sin(torch.arange(value.numel(), dtype=torch.float64) * 0.7 + number).reshape(value.shape)
        if name.endswith("running_var"):
            value.copy_(1.5 + wave)
        elif value.dim() > 1:
            value.copy_(wave * (2 / value[0].numel()) ** 0.5)
        elif value.is_floating_point():
            value.copy_(0.1 * wave + name.endswith("N.weight"))


def build(**kwargs) -> ImprovedUNet:
    net = ImprovedUNet(**kwargs)
    fill_by_formula(net)
    return net


def frames(kwargs: dict, height: int, width: int, count: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(height * 1000 + width)
    return torch.rand(count, kwargs.get("in_channels", 1), height, width, generator=generator)


@pytest.fixture(scope="module", params=VARIANTS)
def variant(request):
    kwargs = VARIANTS[request.param]
    return kwargs, build(**kwargs).eval()


class TestContract:
    @pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
    @torch.no_grad()
    def test_one_logit_for_every_pixel_of_any_size_alike_each_time(self, variant, size):
        kwargs, net = variant
        x = frames(kwargs, *size)
        before = x.clone()
        logits = net(x)
        assert logits.shape == (2, kwargs.get("out_channels", 1), *size)
        assert logits.isfinite().all() and logits.std() > 0.02
        assert torch.equal(net(x), logits)
        assert torch.equal(x, before)
        assert torch.allclose(net(x[1:]), logits[1:], atol=1e-4)

    @torch.no_grad()
    def test_filling_is_with_zeros_below_and_to_the_right(self, variant):
        kwargs, net = variant
        x = frames(kwargs, 57, 75)
        filled = F.pad(x, [0, -75 % net.factor, 0, -57 % net.factor])
        assert torch.allclose(net(filled)[:, :, :57, :75], net(x), atol=1e-4)

    @torch.no_grad()
    def test_torchscript_equals_eager(self, variant):
        kwargs, net = variant
        script = torch.jit.script(net)
        for size in SIZES:
            x = frames(kwargs, *size)
            assert torch.allclose(script(x), net(x), atol=1e-4)

    @torch.no_grad()
    def test_copies_and_pickles_work_alike(self, variant):
        kwargs, net = variant
        x = frames(kwargs, 17, 31)
        for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
            assert torch.equal(twin(x), net(x))
        fresh = ImprovedUNet(**kwargs).eval()
        fresh.load_state_dict(net.state_dict())
        assert torch.equal(fresh(x), net(x))

    def test_every_parameter_learns(self, variant):
        kwargs, net = variant
        net = copy.deepcopy(net).train()
        net(frames(kwargs, 32, 48)).sigmoid().mean().backward()
        for name, parameter in net.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name

    @torch.no_grad()
    def test_bfloat16_comes_close(self, variant):
        kwargs, net = variant
        x = frames(kwargs, 48, 64)
        logits = net(x)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            coarse = net(x)
        assert (coarse.float() - logits).abs().max() < 0.05 * max(1.0, float(logits.abs().max()))


@torch.no_grad()
def test_the_published_size():
    assert build()(torch.rand(1, 1, 224, 320)).shape == (1, 1, 224, 320)


def test_compiles():
    kwargs = VARIANTS["paper"]
    net = build(**kwargs).eval()
    compiled = torch.compile(net, backend="eager", dynamic=True)
    with torch.no_grad():
        for size in ((57, 80), (17, 31)):
            x = frames(kwargs, *size)
            assert torch.allclose(compiled(x), net(x), atol=1e-5)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["paper", "standard"])
def test_onnx_of_any_size_equals_eager(name, tmp_path):
    for module in ("onnx", "onnxscript"):
        pytest.importorskip(module)
    ort = pytest.importorskip("onnxruntime")
    kwargs = {**VARIANTS[name], "channels": (8, 16)}  # a third level is like the second, and costs the exporter seconds
    net = build(**kwargs).eval()
    free = torch.export.Dim.DYNAMIC
    torch.onnx.export(
        net,
        (frames(kwargs, 64, 96),),
        tmp_path / "net.onnx",
        dynamo=True,
        dynamic_shapes=({0: free, 2: free, 3: free},),
        input_names=["image"],
        output_names=["logits"],
        verbose=False,
    )
    session = ort.InferenceSession(tmp_path / "net.onnx", providers=["CPUExecutionProvider"])
    for count, height, width in [(1, 16, 16), (2, 17, 31), (3, 57, 80), (1, 64, 96), (1, 16, 97)]:
        x = frames(kwargs, height, width, count)
        (logits,) = session.run(["logits"], {"image": x.numpy()})
        with torch.no_grad():
            expected = net(x).numpy()
        assert logits.shape == expected.shape
        assert np.abs(logits - expected).max() <= 1e-4


@torch.no_grad()
def test_golden_logits_of_the_shipped_architecture():
    net = build().eval()
    y, x = torch.meshgrid(torch.linspace(0, 3, 57), torch.linspace(0, 4, 80), indexing="ij")
    logits = net((0.5 + 0.5 * torch.sin(3 * y + x * x))[None, None])[0, 0]
    found = [float(logits[row, column]) for row, column in ((0, 0), (10, 70), (28, 40), (56, 79))]
    assert found == pytest.approx([-0.033219, 0.046035, 0.036933, 0.069880], abs=1e-4)


def test_shipped_architecture_keeps_the_names_and_shapes_that_weights_are_stored_by():
    state = ImprovedUNet().state_dict()
    assert len(state) == 156
    assert sum(value.numel() for name, value in state.items()) == 2_537_064
    assert state["stem.0.weight"].shape == (16, 1, 3, 3)
    assert state["head.weight"].shape == (1, 16, 1, 1)


@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
@torch.no_grad()
def test_projecting_before_interpolating_is_the_papers_order_at_a_quarter_of_the_cost(mode):
    torch.manual_seed(0)
    block = Upsample(8, 4, mode)
    x = torch.randn(2, 8, 7, 5)
    large = F.interpolate(x, scale_factor=2.0, mode=mode, **({"align_corners": False} if mode == "bilinear" else {}))
    assert block(x).shape == (2, 4, 14, 10)
    assert torch.allclose(block(x), block.project(large), atol=1e-6)


@torch.no_grad()
def test_dropout_acts_in_training_alone():
    net = build(**SMALL, dropout=0.5).train()
    x = frames(SMALL, 32, 32)
    assert not torch.equal(net(x), net(x))
    net = build(**SMALL, dropout=0.0).train()
    assert torch.equal(net(x), net(x))


def test_switches_change_the_network():
    counts = {name: sum(p.numel() for p in build(**kwargs).parameters()) for name, kwargs in VARIANTS.items()}
    assert counts["no multi-scale block"] < counts["paper"]
    assert counts["max pooling"] < counts["paper"] < counts["transposed convolution"]
    kinds = [type(module).__name__ for module in build(**VARIANTS["standard"]).modules()]
    assert "MaxPool2d" in kinds and "ConvTranspose2d" in kinds and "ReLU" in kinds
    assert not {"Dropout2d", "LeakyReLU", "SimpleASPP"} & set(kinds)


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("spatial_dims", 3),
        ("in_channels", 0),
        ("in_channels", 1.0),
        ("out_channels", -1),
        ("out_channels", True),
        ("channels", (16,)),
        ("channels", 16),
        ("channels", (16, 0)),
        ("channels", (8, 16.0)),
        ("channels", (8, 18)),
        ("dropout", 1.0),
        ("dropout", -0.1),
        ("dropout", True),
        ("dropout", "0.1"),
        ("padding_mode", "mirror"),
        ("downsample", "stride"),
        ("upsample", "bicubic"),
        ("norm", "bach"),
        ("norm", ("group", {"num_groups": 5})),
        ("norm", ("batch", {"groups": 5})),
        ("norm", 3),
        ("act", "leakyrelo"),
        ("act", None),
        ("act", ("relu", {"slope": 1})),
    ],
)
def test_arguments_without_meaning_are_named(argument, value):
    with pytest.raises(ValueError, match=argument):
        ImprovedUNet(**{argument: value})
