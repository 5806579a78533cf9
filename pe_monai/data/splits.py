# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Splits of a data set by three named protocols, as MONAI datalists.

``paper``: frames with at least 249 px of effusion (our reading of the paper's 2,541), seeded random 7:3 over frames, as
Gong et al. 2024 did it. Frames of one clip lie on both sides, so its scores are flattered.
``clip``: all frames, whole published folds; no clip lies on both sides. The default.
``exam``: all frames, whole groups of the clip name's first five characters; the best stand-in for whole patients.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Sequence
from pathlib import Path

from monai.data import load_decathlon_datalist

from pe_monai.data.counts import effusion_pixels
from pe_monai.data.index import Item, index_dataset
from pe_monai.errors import DatasetError
from pe_monai.whole import write_text_whole

PROTOCOLS = ("clip", "exam", "paper")
SECTIONS = ("training", "validation", "testing")
# the public data set's frames with at least this many effusion pixels are as many as Gong et al. 2024 used, 2,541
PAPER_MIN_PIXELS = 249
SEED = 2024

Split = dict[str, list[Item]]


def split_items(root: str | Path, protocol: str, seed: int = SEED) -> Split:
    """Split a data set by a protocol.

    Under ``clip`` folds 9 and 10 are for testing and fold 8 for validation; where fold 8 is absent, the last fold that
    is left is. Under ``exam`` and ``paper`` a tenth of what is not for testing is for validation, so that a model is
    never selected on the frames it is reported on; testing is 30 % of the frames under ``paper`` and 20 %
    under ``exam``.

    Args:
        root: folder of the data set, see :func:`pe_monai.data.index_dataset`.
        protocol: "clip", "exam" or "paper".
        seed: of the random protocols.

    Returns:
        Items under "training", "validation" and "testing"; a section may be empty.

    Raises:
        DatasetError: the data set is broken, or too small for the protocol, or has no clip table for ``exam``.
        ValueError: the protocol is unknown.
    """
    if protocol not in PROTOCOLS:
        raise ValueError(f"protocol must be one of {', '.join(PROTOCOLS)}, got {protocol!r}.")
    items = index_dataset(root)
    if protocol == "clip":
        return _by_fold(items)
    if protocol == "exam":
        if any(item.exam is None for item in items):
            raise DatasetError(
                f"{root}: without its clip table a data set has no exams; use the protocol clip or paper."
            )
        return _by_group(items, [str(item.exam) for item in items], (0.7, 0.1, 0.2), seed)
    items = [item for item in items if effusion_pixels(Path(root) / item.label) >= PAPER_MIN_PIXELS]
    return _by_group(items, [item.image for item in items], (0.63, 0.07, 0.3), seed)


def _by_fold(items: list[Item]) -> Split:
    testing = {9, 10}
    rest = sorted({item.fold for item in items} - testing)
    validation = 8 if 8 in rest else max(rest, default=None)
    return {
        "training": [item for item in items if item.fold not in testing and item.fold != validation],
        "validation": [item for item in items if item.fold == validation],
        "testing": [item for item in items if item.fold in testing],
    }


def _by_group(items: list[Item], groups: Sequence[str], shares: tuple[float, float, float], seed: int) -> Split:
    names = sorted(set(groups))
    random.Random(seed).shuffle(names)
    size = {name: 0 for name in names}
    for group in groups:
        size[group] += 1
    section_of, taken = {}, 0
    bounds = (shares[0] * len(items), (shares[0] + shares[1]) * len(items))
    for name in names:
        middle = taken + size[name] / 2
        section_of[name] = SECTIONS[sum(middle >= bound for bound in bounds)]
        taken += size[name]
    for section in ("validation", "testing"):
        # of a few large groups the middle of none may lie in a small share
        training = [name for name in names if section_of[name] == "training"]
        if section not in section_of.values() and len(training) > 1:
            section_of[training[-1]] = section
    split: Split = {section: [] for section in SECTIONS}
    for item, group in zip(items, groups, strict=True):
        split[section_of[group]].append(item)
    return split


def write_datalist(split: Split, path: str | Path, root: str | Path, protocol: str) -> str:
    """Write a split as a MONAI datalist (JSON), with :func:`hash_split` of what it lists; returns that hash."""
    digest = hash_split(split, root)
    document = {
        "protocol": protocol,
        "sha256": digest,
        "frames": {section: len(split[section]) for section in SECTIONS},
        **{section: [item.as_dict() for item in split[section]] for section in SECTIONS},
    }
    write_text_whole(path, json.dumps(document, indent=1))
    return digest


def hash_split(split: Split, root: str | Path) -> str:
    """SHA-256 over a split's sections, the paths and the content of every file.

    Two people with the same hash train and test on the same frames.

    Raises:
        OSError: a file cannot be read.
    """
    digest = hashlib.sha256()
    for section in SECTIONS:
        for item in split[section]:
            for name in (item.image, item.label):
                content = hashlib.sha256((Path(root) / name).read_bytes()).hexdigest()
                digest.update(f"{section}\t{name}\t{content}\n".encode())
    return digest.hexdigest()


def load_datalist(datalist: str | Path, section: str, dataset_dir: str | Path) -> list[dict]:
    """Items of one section, with absolute paths, as MONAI's data sets take them.

    Args:
        datalist: a JSON file that :func:`write_datalist` (or anyone who follows MONAI's datalist format) wrote, or the
            name of a protocol, which is then applied to ``dataset_dir``.
        section: "training", "validation" or "testing".
        dataset_dir: folder of the data set.

    Raises:
        DatasetError: there is no such file, it has no such section, the section is empty, or a file it names is
            missing.
    """
    if str(datalist) in PROTOCOLS:
        if section not in SECTIONS:
            raise DatasetError(f"{datalist}: no section {section!r} in it; name one of {', '.join(SECTIONS)}.")
        split = split_items(dataset_dir, str(datalist))
        items = [
            {
                **item.as_dict(),
                "image": str(Path(dataset_dir) / item.image),
                "label": str(Path(dataset_dir) / item.label),
            }
            for item in split[section]
        ]
    elif not Path(datalist).is_file():
        raise DatasetError(
            f"{datalist}: no such datalist; write one with 'pe_monai prepare' or name a protocol: "
            f"{', '.join(PROTOCOLS)}."
        )
    else:
        try:
            items = load_decathlon_datalist(str(datalist), True, section, str(dataset_dir))
        except json.JSONDecodeError as e:
            raise DatasetError(f"{datalist}: is no JSON ({e}); write one with 'pe_monai prepare'.") from e
        except (ValueError, KeyError, TypeError, AttributeError) as e:
            raise DatasetError(f"{datalist}: no section {section!r} in it ({e}).") from e
        # null stands for what is unknown, such as a clip; MONAI cannot collate None
        items = [{key: value for key, value in item.items() if value is not None} for item in items]
        _check_files(items, datalist, section)
    if not items:
        raise DatasetError(
            f"{datalist}: its section {section!r} is empty for {dataset_dir}; name another section or split, or give "
            "more folds."
        )
    return items


def _check_files(items: list[dict], datalist: str | Path, section: str) -> None:
    for number, item in enumerate(items, start=1):
        for key in ("image", "label"):
            if key not in item:
                raise DatasetError(f"{datalist}: frame {number} of {section!r} has no {key!r}; add it to the list.")
            if not isinstance(item[key], str):
                raise DatasetError(
                    f"{datalist}: {key!r} of frame {number} of {section!r} is {item[key]!r}; give the path of one file."
                )
            if not Path(item[key]).is_file():
                raise DatasetError(
                    f"{datalist}: {item[key]} is missing; name the data set that the list was written for, or correct "
                    "the list."
                )
