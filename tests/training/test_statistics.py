# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
from ignite.engine import Engine, Events
from torch import nn

from pe_monai.training import BestWeights, EarlyStop, RenewStatistics
from pe_monai.training.statistics import measure_statistics
from pe_monai.weights import read_state


class Trial:
    """A training whose validations have given values, and which spoils its network after each of them."""

    def __init__(self, tmp_path, network: nn.Module, values: list[float], patience: int = 9) -> None:
        self.network, self.path = network, tmp_path / "model.pt"
        self.batches = [{"image": torch.randn(8, 3, 4, 4) * 2 + shift} for shift in (1.0, 2.0, 3.0)]
        self.validated: list[int] = []
        remaining = iter(values)
        self.validator = Engine(lambda engine, batch: None)
        self.validator.add_event_handler(Events.STARTED, lambda e: e.state.metrics.update(score=next(remaining)))
        run = self.validator.run

        def validate(global_epoch: int) -> None:
            self.validated.append(global_epoch)
            run([0])

        self.validator.run = validate
        self.best = BestWeights(network, self.path, "score")
        self.best.attach(self.validator)
        self.trainer = Engine(lambda engine, batch: None)
        self.trainer.prepare_batch = lambda batch, device, non_blocking: (batch["image"].to(device), None)
        self.trainer.state.device, self.trainer.non_blocking = torch.device("cpu"), False
        if values:
            self.trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda e: validate(e.state.epoch))
            self.trainer.add_event_handler(Events.EPOCH_COMPLETED, self.spoil)
        EarlyStop(self.best, patience).attach(self.trainer)
        RenewStatistics(network, self.best, self.validator).attach(self.trainer)

    def spoil(self) -> None:
        nn.init.constant_(self.network[0].weight, 9)

    def train(self, epochs: int) -> None:
        self.trainer.data_loader = self.batches
        self.trainer.run(self.batches, max_epochs=epochs)


def normalised() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 1, 1))


@pytest.mark.parametrize(
    ("sizes", "measured"),
    [
        ([16] * 8, [64, 64]),
        ([16] * 9, [64, 80]),
        ([48] * 5, [96, 144]),
        ([64, 63], [127]),
        ([200, 100], [200, 100]),
        ([8, 8], [16]),
    ],
)
def test_statistics_are_measured_on_batches_of_64_frames_or_more(sizes, measured):
    network, seen = normalised(), []
    network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    frames = torch.randn(sum(sizes), 3, 4, 4) * torch.linspace(1, 3, sum(sizes))[:, None, None, None]
    measure_statistics(network.eval(), iter(frames.split(sizes)))
    assert [len(batch) for batch in seen] == measured
    torch.testing.assert_close(torch.cat(seen), frames)
    variance = torch.stack([batch.var((0, 2, 3)) for batch in frames.split(measured)]).mean(0)
    torch.testing.assert_close(network[0].running_var, variance)
    assert not network.training


@pytest.mark.parametrize(("epochs", "patience"), [(2, 9), (5, 1)], ids=["all epochs", "stopped early"])
def test_statistics_are_those_of_all_frames_and_kept_where_they_are_better(tmp_path, epochs, patience):
    trial = Trial(tmp_path, normalised(), [0.5, 0.4, 0.6], patience)
    trial.train(epochs)
    assert trial.validated == [1, 2, 2]
    state = read_state(trial.path)
    images = torch.cat([batch["image"] for batch in trial.batches])
    torch.testing.assert_close(state["0.running_mean"], images.mean((0, 2, 3)))
    torch.testing.assert_close(state["0.running_var"], images.var((0, 2, 3)))
    torch.testing.assert_close(state["0.weight"], torch.ones(3))  # the best epoch's
    assert trial.best.best == 0.6
    assert trial.validator.state.metrics == {"score": 0.4}
    # a checkpoint that is saved now is the last epoch's
    torch.testing.assert_close(trial.network[0].weight.detach(), torch.full((3,), 9.0))
    torch.testing.assert_close(trial.network[0].running_mean, torch.zeros(3))


def test_best_weights_stay_where_the_new_statistics_are_no_better(tmp_path):
    trial = Trial(tmp_path, normalised(), [0.5, 0.5])
    trial.train(1)
    assert trial.validated == [1, 1]
    torch.testing.assert_close(read_state(trial.path)["0.running_mean"], torch.zeros(3))
    assert trial.best.best == 0.5


def test_a_training_says_that_it_measures_before_it_does(tmp_path, caplog):
    trial, logger = Trial(tmp_path, normalised(), [0.5, 0.6]), "pe_monai.training.statistics"
    said: list[list[str]] = []

    def note(*_) -> None:
        said.append([record.getMessage() for record in caplog.records if record.name == logger])

    trial.network.register_forward_pre_hook(note)
    with caplog.at_level("INFO", logger):
        trial.train(1)
    assert said == [["measuring the best weights' statistics on all frames, up to the time of an epoch"]]


def test_nothing_happens_without_a_batch_normalisation(tmp_path):
    trial = Trial(tmp_path, nn.Sequential(nn.InstanceNorm2d(3, affine=True), nn.Conv2d(3, 1, 1)), [0.5])
    trial.train(1)
    assert trial.validated == [1]


def test_a_training_whose_best_weights_were_taken_away_ends_all_the_same(tmp_path, caplog):
    trial = Trial(tmp_path, normalised(), [0.5, 0.4])
    trial.trainer.add_event_handler(Events.EPOCH_STARTED(once=2), lambda: trial.path.unlink())
    trial.train(2)
    assert trial.validated == [1, 2]
    assert "model.pt is gone" in caplog.text


def test_without_a_validation_another_trainings_file_is_not_touched(tmp_path):
    trial = Trial(tmp_path, normalised(), [])
    trial.path.write_bytes(b"another training's")
    trial.train(1)
    assert trial.validated == []
    assert trial.path.read_bytes() == b"another training's"
