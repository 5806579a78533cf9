# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The statistics of the batch normalisations, measured anew on a training's frames."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterable, Iterator

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import update_bn

from pe_monai.training.checkpoint import BestWeights
from pe_monai.weights import load_weights, plain_network

logger = logging.getLogger(__name__)

# The same 320 frames in batches of 16, 64 and 320 gave the weights that ship a mean Dice of 0.873, 0.884 and 0.884
# (bundle/docs/README.md): a small batch's own variance leaves out that between batches.
_FRAMES = 64


def measure_statistics(network: nn.Module, inputs: Iterable[torch.Tensor]) -> None:
    """Take the statistics of a network's batch normalisations anew, on batches joined to 64 frames or more.

    They are the means of the batches' means and variances; the network is left in the mode it was in.

    Args:
        network: the network, changed in place.
        inputs: batches (B, C, H, W) on its device, small ones too; what is left over joins the last.
    """
    update_bn(_joined(inputs), network)


def _joined(batches: Iterable[torch.Tensor]) -> Iterator[torch.Tensor]:
    held: list[torch.Tensor] = []
    whole: list[torch.Tensor] = []  # held back until another is whole, since what is left over at the end goes with it
    for batch in batches:
        held.append(batch)
        if sum(map(len, held)) >= _FRAMES:
            if whole:
                yield torch.cat(whole)
            whole, held = held, []
    if whole or held:
        yield torch.cat(whole + held)


class RenewStatistics:
    """Handler of a trainer: in its last epoch, measures the best weights' batch statistics on all frames and validates.

    A training leaves running statistics behind: of the last twenty batches or so, most of them seen by weights that
    have changed since. Those of one whole epoch, seen by the weights that are kept, are what inference should use (Wu
    and Johnson, "Rethinking 'Batch' in BatchNorm", 2021). The best weights get them if the validation is better with
    them, and stay as they are otherwise. The training's own network and the validation's metrics are left as they were.

    Without a validation there are no best weights, and without a batch normalisation no statistics: then nothing
    happens. Attach it behind the validation and whatever else may end the training, and before
    :class:`TrainingState`, so that a training that is killed meanwhile is resumed before it.

    Args:
        network: network that is trained.
        best: handler of the validator that keeps the best weights.
        validator: engine of the validation.
    """

    def __init__(self, network: nn.Module, best: BestWeights, validator: Engine) -> None:
        self.network = network
        self.best = best
        self.validator = validator

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        is_last = engine.should_terminate or engine.state.epoch == engine.state.max_epochs
        has_statistics = any(isinstance(module, _BatchNorm) for module in self.network.modules())
        before = self.best.best
        if not is_last or not has_statistics or before == float("-inf"):
            return
        idist.barrier()  # the process that writes the best weights may be writing still
        if not idist.all_reduce(int(self.best.path.is_file()), "MIN"):
            logger.warning("%s is gone: its statistics are not measured", self.best.path)
            return
        network = plain_network(self.network)
        own, metrics = copy.deepcopy(network.state_dict()), dict(self.validator.state.metrics)
        load_weights(network, self.best.path)
        logger.info("measuring the best weights' statistics on all frames, up to the time of an epoch")
        measure_statistics(self.network, self._inputs(engine))
        self.validator.run(global_epoch=engine.state.epoch)
        network.load_state_dict(own)
        self.validator.state.metrics = metrics
        outcome = "better, kept" if self.best.best > before else "no better, not kept"
        logger.info("best weights with statistics of all frames: %s", outcome)

    @staticmethod
    def _inputs(engine: Engine) -> Iterable[torch.Tensor]:
        for batch in engine.data_loader:
            yield engine.prepare_batch(batch, engine.state.device, engine.non_blocking)[0]
