# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The model of a MONAI Application Package, a TorchScript with configs inside, as a bundle to predict with."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from monai.bundle import ConfigParser

from pe_monai.errors import BundleError, WeightsError, one_line
from pe_monai.weights import hash_file, save_weights, sha256_of

MODEL, CONFIG = "model.ts", "inference.json"
_EXTRA = (CONFIG, "metadata.json")


def find_model(models: str | Path) -> Path:
    """The model behind what ``-m`` or ``HOLOSCAN_MODEL_PATH`` names.

    Args:
        models: a TorchScript; a folder with ``model.ts`` or, as in packages, ``NAME/model.ts``; or a bundle's folder.

    Returns:
        The TorchScript, or the bundle's folder.

    Raises:
        BundleError: there is none, or more than one.
    """
    models = Path(models)
    if models.is_file() or (models / "configs" / CONFIG).is_file():
        return models
    found = [models / MODEL] if (models / MODEL).is_file() else sorted(models.glob(f"*/{MODEL}"))
    if len(found) != 1:
        names = ", ".join(path.parent.name for path in found)
        problem = f"holds several models ({names})" if found else f"holds neither {MODEL} nor NAME/{MODEL}"
        raise BundleError(f"{models}: {problem}; name the one to use by -m or HOLOSCAN_MODEL_PATH.")
    return found[0]


def unpack_model(model: str | Path, folder: str | Path) -> Path:
    """Make a bundle of a TorchScript that ``monai.bundle ckpt_export`` wrote.

    Its weights go into the network that its own config declares, so that results are those of the bundle it came from,
    to the bit; the weights' hash is that of the bundle's own, too, where PyTorch writes files as it did then.

    Args:
        model: the file. Its configs are code: use it only if you trust its source.
        folder: of the bundle; made.

    Returns:
        The folder.

    Raises:
        BundleError: there is no config in it, or one that cannot be used.
        WeightsError: it differs from the hash beside it, is no TorchScript, or its weights do not fit its config.
    """
    model, folder = Path(model), Path(folder)
    check_hash(model)
    content = dict.fromkeys(_EXTRA, "")
    try:
        weights = torch.jit.load(model, map_location="cpu", _extra_files=content).state_dict()
    except (RuntimeError, ValueError, OSError) as e:
        raise WeightsError(f"{model}: is no TorchScript that can be loaded; export it again by ckpt_export.") from e
    if not content[CONFIG]:
        raise BundleError(f"{model}: has no {CONFIG} in it; export it by ckpt_export with --config_file.")
    configs = folder / "configs"
    configs.mkdir(parents=True)
    for name, text in content.items():
        (configs / name).write_bytes(text.encode() if isinstance(text, str) else text)
    try:
        parser = ConfigParser(json.loads(content[CONFIG]))
        parser["device"] = "$torch.device('cpu')"
        network = parser.get_parsed_content("network")
    except Exception as e:
        raise BundleError(f"{model}: its {CONFIG} cannot be used ({one_line(e.__cause__ or e)}).") from e
    try:
        network.load_state_dict(weights)
    except RuntimeError as e:
        raise WeightsError(f"{model}: its weights are not those of its own network_def; export it again.") from e
    (folder / "models").mkdir()
    save_weights(network, folder / "models" / "model.pt")
    return folder


def check_hash(model: Path, expected: str | None = None) -> str:
    """SHA-256 of a model's file, compared with the one beside it and the one that is expected, where there are any.

    Raises:
        WeightsError: it is another.
    """
    digest, recorded = sha256_of(model), hash_file(model)
    wanted = {recorded.name: recorded.read_text(encoding="utf-8").split()[0]} if recorded.is_file() else {}
    if expected:
        wanted["the package's configuration"] = expected
    for source, value in wanted.items():
        if value != digest:
            raise WeightsError(
                f"{model}: its SHA-256 is {digest[:12]}..., {source} says {value[:12]}...; do not use it."
            )
    return digest
