# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints that survive a kill, and a training that goes on from them to the same end."""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.transforms import Compose
from torch import nn

from pe_monai.errors import WeightsError
from pe_monai.training.reporting import loss_of
from pe_monai.weights import load_weights, plain_network, read_state, save_weights, save_whole

logger = logging.getLogger(__name__)


class BestWeights:
    """Handler of a validator: keeps the weights with the highest value of a metric, as ``path``.

    Args:
        network: network whose state_dict is saved.
        path: file of the best weights.
        metric: name of the metric in ``engine.state.metrics``; higher is better.
        is_writer: whether this process writes; of several processes only one should.

    Attributes:
        best: highest value so far.
        stale: validations since then.
    """

    def __init__(self, network: nn.Module, path: str | Path, metric: str, is_writer: bool = True) -> None:
        self.network = network
        self.is_writer = is_writer
        self.path = Path(path)
        self.metric = metric
        self.best = float("-inf")
        self.stale = 0

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        value = float(engine.state.metrics[self.metric])
        self.stale += 1
        if value > self.best:
            self.best = value
            self.stale = 0
            if self.is_writer:
                save_weights(self.network, self.path)
            logger.info("best %s so far: %.4f, weights in %s", self.metric, value, self.path)

    def state_dict(self) -> dict[str, float]:
        return {"best": self.best, "stale": self.stale}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        self.best = state["best"]
        self.stale = int(state["stale"])


class EarlyStop:
    """Handler of a trainer, behind its validation: ends the training when the best weights grow old.

    Args:
        best: handler of the validator that keeps the best weights.
        patience: validations without improvement after which the training ends.
    """

    def __init__(self, best: BestWeights, patience: int) -> None:
        self.best = best
        self.patience = patience

    def attach(self, engine: Engine) -> None:
        # at the start, too: a training that had ended here and is resumed must not go on
        engine.add_event_handler(Events.STARTED, self)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        if self.best.stale >= self.patience:
            logger.info("no better validation in %d, training ends after epoch %d", self.patience, engine.state.epoch)
            engine.terminate()


class TrainingState:
    """Handler of a trainer: saves all of the training's state after each epoch and restores it.

    Every epoch draws its random numbers from (seed, epoch) alone, so a training that was killed and resumed sees the
    same batches and augmentations as one that was not, and ends with the same weights. Attach it behind the validation,
    so that what the validation decides is saved with the epoch it belongs to.

    Args:
        path: file of the checkpoint; one file, replaced whole after each epoch.
        objects: what to save beside the trainer: anything with state_dict and load_state_dict, by name.
        seed: seed of the training.
        transform: random transforms of the training data; reseeded with each epoch.
        is_writer: whether this process writes; of several processes only one should.
    """

    def __init__(
        self,
        path: str | Path,
        objects: Mapping[str, Any],
        seed: int,
        transform: Compose | None = None,
        is_writer: bool = True,
    ) -> None:
        self.path = Path(path)
        self.objects = {
            name: plain_network(thing) if isinstance(thing, nn.Module) else thing for name, thing in objects.items()
        }
        self.seed = seed
        self.transform = transform
        self.is_writer = is_writer

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.EPOCH_STARTED, self.start_epoch)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.save)

    def start_epoch(self, engine: Engine) -> None:
        seed = self.seed * 100_003 + engine.state.epoch
        random.seed(seed)
        np.random.seed(seed % 2**32)
        torch.manual_seed(seed)
        if self.transform is not None:
            self.transform.set_random_state(seed % 2**32)

    def save(self, engine: Engine) -> None:
        if not self.is_writer:
            return
        content = {name: thing.state_dict() for name, thing in self.objects.items()}
        scaler = getattr(engine, "scaler", None)
        if scaler is not None:
            content["scaler"] = scaler.state_dict()
        content["epoch"] = engine.state.epoch
        content["iteration"] = engine.state.iteration
        save_whole(content, self.path)

    def resume(self, engine: Engine) -> None:
        """Restore the state from ``path``; where there is no such file yet, the training starts from its beginning.

        A training that had reached its last epoch ends at once.

        Raises:
            WeightsError: the file is damaged or belongs to another configuration, its schedule is for another number
                of steps, of which it would run out before the end, or its learning rate or weight decay is another.
        """
        if not self.path.is_file():
            logger.warning("%s is absent: nothing to resume, training starts from the beginning", self.path)
            return
        try:
            content: dict[str, Any] = read_state(self.path)
        except WeightsError as e:
            raise WeightsError(f"{e} Delete it and start anew, with initial_weights naming the best weights.") from e
        missing = sorted({*self.objects, "epoch", "iteration"} - set(content))
        if missing:
            raise WeightsError(
                f"{self.path}: no {', '.join(missing)} in it; it belongs to another configuration; resume with that."
            )
        is_done = engine.state.max_epochs is not None and content["epoch"] >= engine.state.max_epochs
        if not is_done:
            self._check_schedule(content)
            self._check_settings(content)
        for name, thing in self.objects.items():
            try:
                thing.load_state_dict(content[name])
            except (RuntimeError, ValueError, KeyError, TypeError) as e:
                reason = " ".join(str(e).split())[:200]
                raise WeightsError(
                    f"{self.path}: its {name} belongs to another configuration ({reason}); resume with that, or start "
                    "anew in another folder."
                ) from e
        if getattr(engine, "scaler", None) is not None and "scaler" in content:
            engine.scaler.load_state_dict(content["scaler"])
        if is_done:
            # Ignite takes an engine that is done for a new one and would train all over again
            logger.info("%s: all %d epochs are done, nothing to resume", self.path, engine.state.max_epochs)
            engine.add_event_handler(Events.STARTED, lambda started: started.terminate())
            return
        engine.state.epoch = content["epoch"]
        engine.state.iteration = content["iteration"]
        logger.info("resumed after epoch %d from %s", content["epoch"], self.path)

    def _check_schedule(self, content: Mapping[str, Any]) -> None:
        for name, thing in self.objects.items():
            steps, planned = content[name].get("total_steps"), getattr(thing, "total_steps", None)
            if steps != planned:
                raise WeightsError(
                    f"{self.path}: its learning rate is planned for {steps} steps, now there are {planned}: resume "
                    "with the max_epochs, batch_size, data and processes of before, or start anew with initial_weights."
                )

    def _check_settings(self, content: Mapping[str, Any]) -> None:
        """Refuse an optimizer with other settings, which those in the checkpoint would replace unseen."""
        for name, thing in self.objects.items():
            groups = zip(getattr(thing, "param_groups", ()), content[name].get("param_groups", ()), strict=False)
            for now, before in groups:
                # a schedule changes "lr" and "betas" in each step, not these
                for key in ("max_lr", "initial_lr", "weight_decay"):
                    if now.get(key) != before.get(key):
                        raise WeightsError(
                            f"{self.path}: its {name} has {key} {before.get(key)}, now it is {now.get(key)}: resume "
                            "with the learning_rate and weight_decay of before, or start anew with initial_weights."
                        )


class StopOnNan:
    """Handler of a trainer: ends the training with an error as soon as the loss is no number.

    The checkpoint of the last whole epoch and the best weights stay as they are.

    Raises:
        FloatingPointError: the loss is NaN or infinite.
    """

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        loss = loss_of(engine.state.output)
        if not math.isfinite(loss):
            raise FloatingPointError(
                f"the loss is {loss} in iteration {engine.state.iteration}: lower "
                "learning_rate, or set amp to false; the last whole epoch is kept and can be resumed."
            )


def warm_start(
    network: nn.Module, weights: str | Path | None = None, backbone_weights: str | Path | None = None
) -> None:
    """Load weights into a network before a training starts; None leaves it as it is.

    Args:
        network: the network.
        weights: a state_dict of the whole network.
        backbone_weights: a classifier's state_dict for its backbone, trained on ImageNet; see
            :meth:`pe_monai.networks.LiteBackbone.take_imagenet`.

    Raises:
        WeightsError: a file cannot be used; see :func:`pe_monai.weights.load_weights`.
    """
    if backbone_weights is not None:
        backbone = getattr(plain_network(network), "backbone", None)
        if backbone is None:
            raise WeightsError(f"{backbone_weights}: the network has no backbone for it; set network_def#backbone.")
        try:
            backbone.take_imagenet(read_state(backbone_weights))
        except ValueError as e:
            raise WeightsError(f"{backbone_weights}: these are not the weights of this backbone ({e})") from e
        logger.info("starting from the backbone in %s", backbone_weights)
    if weights is not None:
        load_weights(network, weights)
        logger.info("starting from the weights in %s", weights)
