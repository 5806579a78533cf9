# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Folders of exported networks: what is in them, and opening one after checking every hash."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pe_monai.errors import ExportError, one_line
from pe_monai.runtimes.session import Session, onnx_session, openvino_session, torchscript_session
from pe_monai.weights import sha256_of

MANIFEST = "export.json"
MODEL_FILES = {
    "torchscript": ("model.ts",),
    "onnx": ("model.onnx",),
    "openvino": ("model.xml", "model.bin"),
}
PRECISIONS = {
    "torchscript": ("fp32", "bf16"),
    "onnx": ("fp32", "int8"),
    "openvino": ("fp32", "bf16", "int8"),
}


def read_manifest(folder: str | Path) -> dict:
    """The manifest of an exported folder, every file that it names checked against its SHA-256.

    Raises:
        ExportError: the folder is none of ``pe_monai export``, is incomplete, or a file in it was changed.
    """
    folder = Path(folder)
    path = folder / MANIFEST
    remedy = "export the network again with 'pe_monai export'"
    if not path.is_file():
        raise ExportError(f"{folder}: no {MANIFEST} in it, so it is no exported network; {remedy}.")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        precision, files = manifest["precision"], dict(manifest["files"])
        needed = {*MODEL_FILES[manifest["format"]], "inference.json"}
        known = precision in PRECISIONS[manifest["format"]] and needed <= set(files)
        manifest["weights_sha256"]
    except (ValueError, KeyError, TypeError) as e:
        raise ExportError(f"{path}: it cannot be read ({one_line(e, 120)}); {remedy}.") from e
    if not known:
        raise ExportError(f"{path}: it names no model that can be opened here; {remedy}.")
    for name, recorded in files.items():
        file = folder / Path(name).name
        if not file.is_file():
            raise ExportError(f"{file}: it is missing; {remedy}.")
        if sha256_of(file) != recorded:
            raise ExportError(f"{file}: its SHA-256 is not the one in {MANIFEST}: it was changed or damaged; {remedy}.")
    return manifest


def open_export(folder: str | Path, weights_sha256: str | None = None, config: str | Path | None = None) -> Session:
    """Open an exported network.

    Args:
        folder: what ``pe_monai export`` wrote.
        weights_sha256: hash of the weights it must have come from; None takes any.
        config: ``inference.json`` whose network it must be; None takes any.

    Raises:
        ExportError: see :func:`read_manifest`; or it came from other weights or another network, or its runtime is not
            installed.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    if weights_sha256 is not None and manifest["weights_sha256"] != weights_sha256:
        raise ExportError(
            f"{folder}: it was exported from the weights {manifest['weights_sha256'][:12]}..., the bundle has "
            f"{weights_sha256[:12]}...; export them with 'pe_monai export'."
        )
    # the same weights fit networks of other activations or padding
    if config is not None and _network_in(folder / "inference.json") != _network_in(config):
        raise ExportError(
            f"{folder}: it was exported with another network_def than {config} has; export it with 'pe_monai export'."
        )
    start = {"torchscript": torchscript_session, "onnx": onnx_session, "openvino": openvino_session}
    kind = manifest["format"]
    try:
        session = start[kind](str(folder / MODEL_FILES[kind][0]), manifest["precision"])
        session.files = {name: manifest["files"][name] for name in MODEL_FILES[kind]}
        return session
    except ExportError:
        raise
    except Exception as e:
        raise ExportError(f"{folder}: {kind} cannot load it ({one_line(e)}).") from e


def _network_in(config: str | Path) -> Any:
    return json.loads(Path(config).read_text(encoding="utf-8")).get("network_def")
