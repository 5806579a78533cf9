# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The best weights are kept, a killed training goes on to the same end, and a broken one stops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ignite.engine import Engine, Events
from monai.engines import SupervisedTrainer
from monai.transforms import Compose, RandGaussianNoised
from torch import nn
from torch.utils.data import DataLoader, Dataset

from pe_monai.errors import WeightsError
from pe_monai.training import BestWeights, EarlyStop, StopOnNan, TrainingState, warm_start
from pe_monai.weights import load_weights, save_weights


def validate(best: BestWeights, values: list[float]) -> None:
    """One run of a validator for each value of the metric."""
    for value in values:
        engine = Engine(lambda engine, batch: None)
        engine.add_event_handler(Events.STARTED, lambda started, v=value: started.state.metrics.update(val_dice=v))
        best.attach(engine)
        engine.run([0])


def test_the_best_weights_are_kept_and_worse_ones_are_not(tmp_path):
    net = nn.Linear(2, 1)
    best = BestWeights(net, tmp_path / "model.pt", "val_dice")
    for value, weight in ((0.5, 1.0), (0.7, 2.0), (0.6, 3.0), (0.7, 4.0), (float("nan"), 5.0)):
        nn.init.constant_(net.weight, weight)
        validate(best, [value])
    kept = nn.Linear(2, 1)
    load_weights(kept, tmp_path / "model.pt")
    assert kept.weight.tolist() == [[2.0, 2.0]]
    assert (best.best, best.stale) == (0.7, 3)
    again = BestWeights(net, tmp_path / "model.pt", "val_dice")
    again.load_state_dict(best.state_dict())
    assert (again.best, again.stale) == (0.7, 3)


def test_one_process_writes(tmp_path):
    best = BestWeights(nn.Linear(2, 1), tmp_path / "model.pt", "val_dice", is_writer=False)
    validate(best, [0.5])
    assert best.best == 0.5 and list(tmp_path.iterdir()) == []


def test_a_metric_that_nothing_computes_is_an_error(tmp_path):
    with pytest.raises(KeyError, match="val_iou"):
        validate(BestWeights(nn.Linear(2, 1), tmp_path / "model.pt", "val_iou"), [0.5])


@pytest.mark.parametrize(("patience", "epochs"), [(1, 3), (2, 4), (9, 6)])
def test_training_ends_when_the_best_grows_old(tmp_path, patience, epochs):
    best = BestWeights(nn.Linear(2, 1), tmp_path / "model.pt", "val_dice")
    trainer = Engine(lambda engine, batch: None)
    values = [0.1, 0.5, 0.4, 0.4, 0.4, 0.4]
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda e: validate(best, [values[e.state.epoch - 1]]))
    EarlyStop(best, patience).attach(trainer)
    trainer.run([0], max_epochs=6)
    assert trainer.state.epoch == epochs


class Samples(Dataset):
    def __init__(self, transform):
        generator = torch.Generator().manual_seed(0)
        self.images = torch.rand(8, 3, generator=generator)
        self.transform = transform

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.transform({"image": self.images[index], "label": self.images[index].sum()[None]})


class Killed(Exception):
    pass


def train(path, epochs=4, resume=False, killed_in=None, seed=7, steps=16, rate=0.05, decay=0.01):
    """A real trainer with dropout, momentum, a schedule and augmentation; returns its weights and epochs seen."""
    torch.manual_seed(3 if resume else 0)
    np.random.seed(5)
    net = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.3), nn.Linear(4, 1))
    if not resume:
        for parameter in net.parameters():
            nn.init.constant_(parameter, 0.1)
    optimizer = torch.optim.AdamW(net.parameters(), 0.01, weight_decay=decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    best = BestWeights(net, path.with_name("best.pt"), "val_dice")
    transform = Compose([RandGaussianNoised("image", prob=0.5, std=0.2)])
    objects = {"network": net, "optimizer": optimizer, "lr_scheduler": schedule, "best": best}
    state = TrainingState(path, objects, seed, transform)
    trainer = SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=epochs,
        train_data_loader=DataLoader(Samples(transform), batch_size=2, shuffle=True),
        network=net,
        optimizer=optimizer,
        loss_function=nn.MSELoss(),
        decollate=False,
    )
    seen = []
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda e: schedule.step())
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda e: validate(best, [0.1 * e.state.epoch]))
    state.attach(trainer)
    trainer.add_event_handler(Events.EPOCH_STARTED, lambda e: seen.append(e.state.epoch))

    @trainer.on(Events.ITERATION_COMPLETED)
    def kill(engine):
        if engine.state.epoch == killed_in:
            raise Killed

    if resume:
        state.resume(trainer)
    trainer.run()
    return [parameter.detach().clone() for parameter in net.parameters()], seen, best


def test_a_killed_training_resumes_to_the_very_same_weights(tmp_path):
    whole, seen, _ = train(tmp_path / "whole.pt")
    assert seen == [1, 2, 3, 4]
    with pytest.raises(Killed):
        train(tmp_path / "last.pt", killed_in=3)
    resumed, seen, best = train(tmp_path / "last.pt", resume=True)
    assert seen == [3, 4]
    ends = [torch.load(tmp_path / name, weights_only=True) for name in ("whole.pt", "last.pt")]
    assert [(end["epoch"], end["iteration"]) for end in ends] == [(4, 16)] * 2
    assert all(torch.equal(a, b) for a, b in zip(whole, resumed, strict=True))
    assert best.best == pytest.approx(0.4)
    other, _, _ = train(tmp_path / "other.pt", seed=8)
    assert not all(torch.equal(a, b) for a, b in zip(whole, other, strict=True))


def test_a_finished_training_is_not_done_again(tmp_path):
    whole, _, _ = train(tmp_path / "last.pt")
    resumed, seen, best = train(tmp_path / "last.pt", resume=True)
    assert seen == [] and best.best == pytest.approx(0.4)
    assert all(torch.equal(a, b) for a, b in zip(whole, resumed, strict=True))


def test_resuming_from_nothing_starts_at_the_beginning(tmp_path, caplog):
    _, seen, _ = train(tmp_path / "last.pt", epochs=1, resume=True)
    assert seen == [1]
    assert "nothing to resume" in caplog.text


def test_a_checkpoint_of_another_configuration_is_refused(tmp_path):
    train(tmp_path / "last.pt", epochs=1)
    state = TrainingState(tmp_path / "last.pt", {"network": nn.Linear(3, 1), "ema": nn.Linear(3, 1)}, 0)
    with pytest.raises(ValueError, match="last.pt: no ema in it"):
        state.resume(Engine(lambda engine, batch: None))


@pytest.mark.parametrize("kept", [0, 900])
def test_a_damaged_checkpoint_is_named(tmp_path, kept):
    train(tmp_path / "last.pt", epochs=1)
    (tmp_path / "last.pt").write_bytes((tmp_path / "last.pt").read_bytes()[:kept])
    with pytest.raises(WeightsError, match=r"last.pt: this is no file of weights .* initial_weights"):
        train(tmp_path / "last.pt", resume=True)


def test_a_checkpoint_of_another_network_is_named(tmp_path):
    train(tmp_path / "last.pt", epochs=1)
    state = TrainingState(tmp_path / "last.pt", {"network": nn.Linear(3, 1)}, 0)
    with pytest.raises(WeightsError, match=r"last.pt: its network belongs to another configuration"):
        state.resume(Engine(lambda engine, batch: None))


def test_a_schedule_of_another_length_is_refused_before_a_step_is_done(tmp_path):
    train(tmp_path / "last.pt", epochs=2)
    before = (tmp_path / "last.pt").read_bytes()
    with pytest.raises(WeightsError, match="planned for 16 steps, now there are 24"):
        train(tmp_path / "last.pt", epochs=6, resume=True, steps=24)
    assert (tmp_path / "last.pt").read_bytes() == before
    assert train(tmp_path / "last.pt", epochs=2, resume=True, steps=8)[1] == []


@pytest.mark.parametrize(("name", "setting"), [("max_lr", {"rate": 0.001}), ("weight_decay", {"decay": 0.5})])
def test_another_learning_rate_is_refused_not_ignored(tmp_path, name, setting):
    train(tmp_path / "last.pt", epochs=2)
    with pytest.raises(WeightsError, match=f"last.pt: its optimizer has {name} .* now it is {[*setting.values()][0]}"):
        train(tmp_path / "last.pt", resume=True, **setting)
    assert train(tmp_path / "last.pt", resume=True)[1] == [3, 4]


def test_the_checkpoint_is_one_whole_file_and_one_process_writes_it(tmp_path):
    train(tmp_path / "run/last.pt", epochs=2)
    names = sorted(file.name for file in (tmp_path / "run").iterdir())
    assert names == ["best.pt", "best.pt.sha256", "last.pt"]
    content = torch.load(tmp_path / "run/last.pt", weights_only=True)
    assert (content["epoch"], content["iteration"]) == (2, 8)
    engine = Engine(lambda engine, batch: None)
    TrainingState(tmp_path / "silent.pt", {}, 0, is_writer=False).attach(engine)
    engine.run([0])
    assert not (tmp_path / "silent.pt").exists()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_ends_the_training(bad):
    losses = iter([1.0, bad, 1.0])
    engine = Engine(lambda engine, batch: {"loss": torch.tensor(next(losses))})
    StopOnNan().attach(engine)
    with pytest.raises(FloatingPointError, match="iteration 2.*learning_rate"):
        engine.run(range(3))
    assert next(losses) == 1.0


def test_a_warm_start_loads_weights_or_does_nothing(tmp_path):
    source, target = nn.Linear(3, 1), nn.Linear(3, 1)
    save_weights(source, tmp_path / "model.pt")
    before = target.weight.clone()
    warm_start(target, None)
    assert torch.equal(target.weight, before)
    warm_start(target, tmp_path / "model.pt")
    assert torch.equal(target.weight, source.weight)
    with pytest.raises(WeightsError, match="absent.pt"):
        warm_start(target, tmp_path / "absent.pt")
