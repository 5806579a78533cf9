# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The frames that a study trains on, selects on and tests on: three sets that never overlap."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from pe_monai.data import PROTOCOLS, split_items, write_datalist
from pe_monai.data.index import Item
from pe_monai.data.splits import SECTIONS, Split, hash_split
from pe_monai.errors import DatasetError


@dataclass(frozen=True)
class Datalist:
    """Frames of a protocol.

    Attributes:
        protocol: "clip", "exam" or "paper".
        path: the datalist's file.
        sha256: over the content of all it lists.
        frames: number of them by section.
        folds: folds of each section under the protocol "clip", as text.
    """

    protocol: str
    path: Path
    sha256: str
    frames: dict[str, int]
    folds: dict[str, str]


def prepare_datalist(dataset: str | Path, protocol: str, path: Path) -> Datalist:
    """Write the datalist of a protocol, or take the one that an earlier start of the study wrote.

    Under ``clip`` the published test folds may be absent. Then the fold that would validate tests, and the last one
    that is left validates: the best epoch is never chosen on the frames that are reported.

    Raises:
        DatasetError: the data set is broken or too small for the protocol, or the file is damaged.
    """
    if protocol not in PROTOCOLS:
        raise DatasetError(f"protocol {protocol!r}: name one or more of {', '.join(PROTOCOLS)}.")
    is_new = not path.is_file()
    if is_new:
        split = _with_test(split_items(dataset, protocol), dataset)
        if empty := [section for section in SECTIONS if not split[section]]:
            raise DatasetError(
                f"{dataset}: too small for the protocol {protocol}, nothing is left for {', '.join(empty)}; leave the "
                "protocol out or give more frames."
            )
        write_datalist(split, path, dataset, protocol)
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        frames = {section: len(document[section]) for section in SECTIONS}
        folds = {section: sorted({item["fold"] for item in document[section]}) for section in SECTIONS}
        digest = document["sha256"]
        listed = {section: [Item(**item) for item in document[section]] for section in SECTIONS}
    except (ValueError, KeyError, TypeError) as e:
        raise DatasetError(f"{path}: no datalist of a study ({e}); remove it to have it written anew.") from e
    if not is_new:
        _check_frames(document, protocol, path, dataset)
        if hash_split(listed, dataset) != digest:
            raise DatasetError(
                f"{path}: frames or annotations in {dataset} changed since it was written; put them back as they were, "
                "or begin a study in another folder."
            )
    text = {section: ", ".join(map(str, numbers)) for section, numbers in folds.items()}
    return Datalist(protocol, path, digest, frames, text if protocol == "clip" else {})


def _check_frames(document: dict, protocol: str, path: Path, dataset: str | Path) -> None:
    """A datalist that was written before folds came or went would leave frames out, or name frames that are gone."""
    split = split_items(dataset, protocol)
    there = {(item.fold, item.image) for section in SECTIONS for item in split[section]}
    listed = {(item["fold"], item["image"]) for section in SECTIONS for item in document[section]}
    if listed != there:
        raise DatasetError(
            f"{path}: lists other frames than {dataset} holds now; put the data set back as it was, or begin a study "
            "in another folder."
        )


def _with_test(split: Split, dataset: str | Path) -> Split:
    if split["testing"]:
        return split
    folds = sorted({item.fold for item in split["training"]})
    if len(folds) < 2:
        raise DatasetError(f"{dataset}: a study under the protocol clip needs three folds: to train, select and test.")
    return {
        "training": [item for item in split["training"] if item.fold != folds[-1]],
        "validation": [item for item in split["training"] if item.fold == folds[-1]],
        "testing": split["validation"],
    }
