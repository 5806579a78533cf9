# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What the packager is given: the application's folder, the model and the list of base images."""

from __future__ import annotations

import json
import shutil
from importlib import resources
from pathlib import Path

import yaml

import pe_monai
from pe_monai.deploy.models import MODEL
from pe_monai.errors import BundleError, one_line
from pe_monai.predictor import Predictor
from pe_monai.weights import sha256_of

HOLOSCAN = "4.2.0"
VARIANTS = ("cpu", "gpu")
BASE_IMAGES = {"cpu": "nvidia/cuda:13.0.0-base-ubuntu24.04", "gpu": "nvidia/cuda:13.0.0-runtime-ubuntu24.04"}
_LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.py[cod]", ".*", "bundle", "configs")  # a wheel holds the last two


def write_source(
    folder: Path, bundle: Path, variant: str, base_image: str | None = None, torch_index: str | None = None
) -> str:
    """Write ``app/``, ``models/pe/model.ts``, ``docs/`` and ``artifacts.json``.

    Args:
        folder: where to; made.
        bundle: the bundle whose model is packaged.
        variant: "cpu" or "gpu": which PyTorch, and whether a GPU is asked for.
        base_image: of the container; CUDA's by default, which CPU images use, too, as Holoscan's packager wants it.
        torch_index: URL of the package index that has this PyTorch; for pip's --extra-index-url.

    Returns:
        SHA-256 of the model.

    Raises:
        BundleError: the bundle cannot be used, or its network cannot be exported.
        WeightsError: its weights are missing or damaged.
    """
    app = folder / "app"
    shutil.copytree(Path(pe_monai.__file__).parent, app / "pe_monai", ignore=_LEFT_OUT)
    (app / "__main__.py").write_bytes(_image_file("main.py"))
    digest = export_model(bundle, folder / "models" / "pe" / MODEL)
    config = yaml.safe_load(_image_file("app.yaml"))
    config["application"]["version"] = pe_monai.__version__
    config["model"]["sha256"] = digest
    if variant == "gpu":
        config["resources"] |= {"gpu": 1, "gpuMemory": "2Gi"}
    (app / "app.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    lines = [f"--extra-index-url {torch_index}"] if torch_index else []
    lines += read_requirements(variant)
    (app / "requirements.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    docs = folder / "docs"
    docs.mkdir()
    for file in (bundle / "LICENSE", bundle / "docs" / "README.md"):
        if file.is_file():
            shutil.copy(file, docs)
    artifacts = folder / "artifacts.json"
    artifacts.write_text(json.dumps(_artifacts(base_image or BASE_IMAGES[variant]), indent=1), encoding="utf-8")
    return digest


def export_model(bundle: Path, path: Path) -> str:
    """Export a network with MONAI's ``ckpt_export``, metadata and inference config inside; returns its SHA-256.

    Raises:
        BundleError: the bundle cannot be used, or its network cannot be exported.
        WeightsError: its weights are missing or damaged.
    """
    from monai.bundle import ckpt_export

    weights = Predictor(bundle, device="cpu").weights_path  # checks the bundle and its weights' hash
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        ckpt_export(
            net_id="network_def",
            filepath=str(path),
            ckpt_file=str(weights),
            meta_file=str(bundle / "configs" / "metadata.json"),
            config_file=str(bundle / "configs" / "inference.json"),
        )
    except Exception as e:  # MONAI and torch raise what they like
        raise BundleError(f"{bundle}: its network cannot be exported as TorchScript ({one_line(e)}).") from e
    return sha256_of(path)


def read_requirements(variant: str) -> list[str]:
    """The pinned packages of an image, one a line, for "cpu" or "gpu"."""

    def read(name: str) -> list[str]:
        lines = _image_file(name).decode().splitlines()
        parts = (read(line[3:].strip()) if line.startswith("-r ") else [line] for line in lines if line.strip())
        return [line for part in parts for line in part if not line.startswith("#")]

    return read(f"requirements-{variant}.txt")


def _image_file(name: str) -> bytes:
    return (resources.files("pe_monai.deploy") / "image" / name).read_bytes()


def _artifacts(base_image: str) -> dict:
    """The release list that the packager would fetch: only what an application in Python needs of it."""
    holoscan = {
        "debian-version": HOLOSCAN,
        "wheel-version": HOLOSCAN,
        "base-images": {"dgpu": base_image},
        "build-images": {"dgpu": {}, "igpu": {}, "cpu": {}},
    }
    return {HOLOSCAN: {"holoscan": holoscan, "health-probes": {}}}
