# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Weights as files: written whole with their SHA-256 beside them, checked and never unpickled when read."""

from __future__ import annotations

import glob
import hashlib
import logging
import os
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pe_monai.errors import WeightsError, one_line
from pe_monai.whole import drop_partial, write_text_whole, write_whole

logger = logging.getLogger(__name__)


def save_whole(content: Any, path: str | Path) -> None:
    """Write a file by torch.save so that it is there whole or not at all, whenever the process dies.

    What killed ones left of it goes: each is as large as a checkpoint, and hidden.
    """
    path = Path(path)
    drop_partial(path.parent.glob(f".partial-*-{glob.escape(path.name[-50:])}"))

    def save(partial: Path) -> None:
        with partial.open("wb") as file:
            try:
                torch.save(content, file)
            except RuntimeError as e:  # which says nothing of a full disk
                if isinstance(e.__context__, OSError):
                    raise e.__context__ from None
                raise
            file.flush()
            os.fsync(file.fileno())

    write_whole(path, save)


def sha256_of(path: str | Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else _digest(file)


def _digest(file: Any) -> str:  # Python 3.10 has no hashlib.file_digest
    digest = hashlib.sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def hash_file(path: str | Path) -> Path:
    """The file beside a weights file that records its SHA-256, in the format of the command sha256sum."""
    return Path(f"{path}.sha256")


def record_hash(path: str | Path) -> str:
    """Write the SHA-256 of a weights file beside it and return it."""
    path = Path(path)
    digest = sha256_of(path)
    write_text_whole(hash_file(path), f"{digest}  {path.name}\n")
    return digest


def save_weights(network: nn.Module, path: str | Path) -> str:
    """Write a network's state_dict and its SHA-256; returns the hash. A DistributedDataParallel wrapper is left out."""
    hash_file(path).unlink(missing_ok=True)  # a kill leaves weights without a hash, never with that of others
    save_whole(plain_network(network).state_dict(), path)
    return record_hash(path)


def load_weights(network: nn.Module, path: str | Path) -> str:
    """Load weights into a network.

    The file's hash is compared with the one recorded beside it, where there is one, before a byte of it is read as
    weights, and it is never unpickled into anything but tensors.

    Args:
        network: network of the architecture the weights belong to.
        path: file with a state_dict, as :func:`save_weights` writes it.

    Returns:
        SHA-256 of the file.

    Raises:
        WeightsError: the file is missing, differs from its recorded hash, is no file of weights, or belongs to another
            network.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"{path}: no such weights file; train with 'pe_monai train', or name another bundle.")
    digest = sha256_of(path)
    recorded = hash_file(path)
    if recorded.is_file():
        if recorded.read_text(encoding="utf-8").split()[:1] != [digest]:
            raise WeightsError(
                f"{path}: its SHA-256 is {digest[:12]}..., {recorded.name} says otherwise: the file was changed or "
                "damaged; restore both from the same release."
            )
    else:
        logger.warning("%s: no recorded hash beside it, the weights are used unchecked", path)
    state = read_state(path)
    try:
        plain_network(network).load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as e:
        raise WeightsError(
            f"{path}: these weights belong to another network than the bundle's network_def ({one_line(e, 200)})."
        ) from e
    return digest


def read_state(path: str | Path) -> dict[str, torch.Tensor]:
    """The state_dict in a file, on the CPU, never unpickled into anything but tensors.

    Raises:
        WeightsError: the file is missing or no file of weights.
    """
    if not Path(path).is_file():
        raise WeightsError(f"{path}: no such weights file.")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as e:  # torch raises whatever it likes on bad bytes, some of it without a message
        raise WeightsError(f"{path}: this is no file of weights ({one_line(e, 120)}).") from e


def plain_network(network: nn.Module) -> nn.Module:
    """The network inside a DistributedDataParallel wrapper, or the network itself."""
    return network.module if isinstance(network, nn.parallel.DistributedDataParallel) else network
