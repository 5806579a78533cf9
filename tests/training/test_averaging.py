# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
from monai.bundle import run

from pe_monai.errors import WeightsError
from pe_monai.networks import ImprovedUNet
from pe_monai.paths import bundle_dir, configs_dir
from pe_monai.training import average_weights
from pe_monai.weights import load_weights, read_state, save_weights, sha256_of


def network(seed: int = 0) -> ImprovedUNet:
    torch.manual_seed(seed)
    return ImprovedUNet(in_channels=1, channels=(4, 8, 16), dropout=0)


def trained(tmp_path, seed: int) -> str:
    """Weights of a start that all share, moved a little, with statistics of their own."""
    net = network()
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += 0.02 * torch.randn_like(parameter)
        net(torch.rand(2, 1, 32, 32))
    save_weights(net, tmp_path / f"{seed}.pt")
    return str(tmp_path / f"{seed}.pt")


def test_parameters_are_the_mean_and_statistics_those_of_the_inputs(tmp_path):
    files = [trained(tmp_path, seed) for seed in (1, 2, 3)]
    batches = [torch.rand(4, 1, 32, 32) for _ in range(3)]
    net = network()
    digest = average_weights(net, files, iter(batches), tmp_path / "out.pt")

    assert digest == sha256_of(tmp_path / "out.pt")
    outcome, parts = read_state(tmp_path / "out.pt"), [read_state(file) for file in files]
    for name, _ in net.named_parameters():
        mean = torch.stack([part[name] for part in parts]).double().mean(0)
        torch.testing.assert_close(outcome[name].double(), mean, rtol=0, atol=1e-6)

    name, first = next((n, m) for n, m in net.named_modules() if isinstance(m, torch.nn.BatchNorm2d))
    seen = []
    hook = first.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        net.train()(torch.cat(batches))
    hook.remove()
    torch.testing.assert_close(outcome[f"{name}.running_mean"], seen[0].mean((0, 2, 3)))


def test_one_file_is_itself_but_for_its_statistics(tmp_path):
    file = trained(tmp_path, 1)
    average_weights(network(), [file], [torch.rand(4, 1, 32, 32)], tmp_path / "out.pt")
    before, after = read_state(file), read_state(tmp_path / "out.pt")
    assert {name for name in before if not torch.equal(before[name], after[name])} == {
        name for name in before if "running" in name
    }


@pytest.mark.parametrize("weights", [[], "one.pt"])
def test_what_is_no_list_of_files_is_refused(tmp_path, weights):
    with pytest.raises(WeightsError, match="name a list of weights files"):
        average_weights(network(), weights, [], tmp_path / "out.pt")


def test_weights_of_another_network_are_named_and_nothing_is_written(tmp_path):
    other = ImprovedUNet(in_channels=1, channels=(4, 8, 24), dropout=0)
    save_weights(other, tmp_path / "other.pt")
    with pytest.raises(WeightsError, match="other.pt: these weights belong to another network"):
        average_weights(network(), [trained(tmp_path, 1), tmp_path / "other.pt"], [], tmp_path / "out.pt")
    assert not (tmp_path / "out.pt").exists()


@pytest.mark.parametrize(("run_id", "overlays"), [("training", []), ("run", ["batched"])])
def test_the_bundle_averages(tmp_path, phantom_root, monkeypatch, run_id, overlays):
    monkeypatch.setenv("PE_MONAI_DATA", str(phantom_root))
    files = [trained(tmp_path, seed) for seed in (1, 2)]
    configs = [bundle_dir() / "configs/train.json"]
    configs += [configs_dir() / f"{name}.json" for name in (*overlays, "phantom", "averaged")]
    settings = {
        "bundle_root": str(bundle_dir()),
        "output_dir": str(tmp_path / "run"),
        "ckpt_path": str(tmp_path / "averaged.pt"),
        "network_def#channels": [4, 8, 16],
        "train#weights": files,
    }
    run(run_id, config_file=[str(config) for config in configs], **settings)
    net = network()
    load_weights(net, tmp_path / "averaged.pt")
    statistics = [value for name, value in net.state_dict().items() if name.endswith("num_batches_tracked")]
    assert statistics and all(value == statistics[0] > 0 for value in statistics)
