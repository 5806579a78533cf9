# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Errors that a user can act on: one line that names the file, what was wrong and what to do."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

_ITK = re.compile(r"^\S+:\d+: (?:itk::ERROR|ITK ERROR): \w+\(0x[0-9a-f]+\): ")  # where ITK was built, and an address
TRACEBACK_VARIABLE = "PE_MONAI_TRACEBACK"  # set, an unforeseen error shows where it came from


class FrameError(ValueError):
    """A file is no frame that can be read."""


class FileError(FrameError):
    """The same, with the file apart from the reason: its name may be the patient's.

    Args:
        path: the file.
        reason: what is wrong with it; must not name it.
    """

    def __init__(self, path: object, reason: str) -> None:
        super().__init__(path, reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.args[0]}: {self.reason}"


class DatasetError(ValueError):
    """A data set is incomplete or contradicts itself."""


class BundleError(ValueError):
    """A folder is no bundle, or a bundle that cannot be used."""


class WeightsError(ValueError):
    """A file of weights is missing, damaged, or belongs to another network."""


class DeviceError(ValueError):
    """A device is unknown, or absent on this machine."""


class ExportError(ValueError):
    """A network cannot be exported as asked, or an exported one cannot be used here."""


class DeployError(ValueError):
    """The MONAI Deploy application cannot run, or be packaged, as asked."""


def list_some(names: Sequence[str], separator: str = ", ", most: int = 5) -> str:
    """The first of many names or reasons, and how many more there are."""
    shown = separator.join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def one_line(error: BaseException | None, limit: int = 160, path: Path | None = None) -> str:
    """What an error says, in one line of at most ``limit`` characters; the name of its kind where it says nothing.

    Of ``path`` only the name stays, as a line that is cut within a path would show part of its folders.
    """
    text = str(error) if path is None else str(error).replace(str(path), path.name)
    text = _ITK.sub("", " ".join(text.split())) or type(error).__name__
    return text if len(text) <= limit else text[: limit - 3] + "..."


def find_user_error(error: BaseException | None) -> BaseException | None:
    """The error that a user can act on behind another one: MONAI wraps what a config's parts raise in its own errors.

    Args:
        error: what was caught.

    Returns:
        The first error of this module, ``FloatingPointError`` or ``OSError`` among it and its causes, or None.
    """
    ours = (FrameError, DatasetError, BundleError, WeightsError, DeviceError, ExportError, DeployError)
    kinds = (*ours, FloatingPointError, OSError)
    while error is not None and not isinstance(error, kinds):
        error = error.__cause__
    return error


def explain(error: BaseException) -> str | None:
    """What a user can act on behind an error, in one line; None if there is nothing of that kind."""
    known = find_user_error(error)
    if isinstance(known, OSError) and known.strerror:
        place = f"{known.filename}: " if known.filename else ""
        return f"{place}{known.strerror}; check the path, its rights and the free space."
    return None if known is None else " ".join(str(known).split())


def find_frame_error(error: BaseException | None) -> FrameError | None:
    """The frame error that caused another one: ``Compose`` wraps what its transforms raise in a ``RuntimeError``.

    Args:
        error: what was caught.

    Returns:
        The first ``FrameError`` among it and its causes, or None.
    """
    seen = set()
    while error is not None and not isinstance(error, FrameError):
        if id(error) in seen:  # causes and contexts can form a circle
            return None
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return error
