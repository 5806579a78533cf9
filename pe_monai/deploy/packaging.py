# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""A MONAI Application Package: the real packager, its build context kept and checked, the image where it can be."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pe_monai
from pe_monai.deploy.context import check_context
from pe_monai.deploy.packager import NO_ENGINE
from pe_monai.deploy.source import write_source
from pe_monai.errors import DeployError
from pe_monai.paths import bundle_dir

REPORT = "package.json"


@dataclass(frozen=True)
class Package:
    """What was made.

    Attributes:
        context: the build context.
        image: name of the image; None if there was no engine to build it.
        missing: what is still needed for an image, a sentence each.
    """

    context: Path
    image: str | None
    missing: tuple[str, ...]


def make_package(
    output: str | Path,
    bundle: str | Path | None = None,
    variant: str = "cpu",
    tag: str | None = None,
    base_image: str | None = None,
    torch_index: str | None = None,
) -> Package:
    """Make the build context of a MONAI Application Package, check it, and build the image if there is an engine.

    Args:
        output: folder of ``source/``, ``context/`` and ``package.json``; absent, empty, or an earlier package's.
        bundle: the bundle to package; the one that ships by default.
        variant: "cpu" or "gpu".
        tag: name of the image, NAME or NAME:TAG.
        base_image: of the container.
        torch_index: URL of the package index that has this variant's PyTorch.

    Raises:
        BundleError: the bundle cannot be used.
        DeployError: the extra is missing, the packager failed, or the context is not as it should be.
        OSError: the folder is not ours to write to.
        WeightsError: the weights are missing or damaged.
    """
    output, tag = Path(output), tag or f"pe_monai-{variant}:{pe_monai.__version__}"
    if output.exists() and not (output / REPORT).is_file() and (not output.is_dir() or any(output.iterdir())):
        raise FileExistsError(17, "exists and holds no package of pe_monai; name another folder", str(output))
    for name in ("source", "context"):
        shutil.rmtree(output / name, ignore_errors=True)
    source, context = (output / "source").resolve(), (output / "context").resolve()
    digest = write_source(source, Path(bundle) if bundle else bundle_dir(), variant, base_image, torch_index)
    has_engine = find_engine()
    log = _call_packager(source, context, tag, has_engine)
    problems = check_context(context)
    if problems:
        raise DeployError(f"{context}: {' '.join(problems)} The packager said: {log[-300:]}")
    missing = []
    if not has_engine:
        missing.append(
            "a docker engine with buildx: there, run docker buildx build --build-arg UID=1000 --build-arg GID=1000 "
            f"--build-arg UNAME=holoscan -t {tag} {context}"
        )
    if variant == "cpu" and not torch_index:
        missing.append("the index of PyTorch's CPU builds: name it with --torch-index, as pip finds no +cpu without it")
    built = re.search(r"Docker Tag: +(\S+)", log)  # the packager puts the platform into the name
    image = built[1] if built else None
    _write_report(output / REPORT, {"image": image, "variant": variant, "model_sha256": digest, "missing": missing})
    return Package(context, image, tuple(missing))


def find_engine() -> bool:
    """Whether an image can be built: docker, its buildx, and an engine that answers."""
    return shutil.which("docker") is not None and all(
        subprocess.run(["docker", *command], capture_output=True, check=False).returncode == 0
        for command in (["buildx", "version"], ["info"])
    )


def _call_packager(source: Path, context: Path, tag: str, has_engine: bool) -> str:
    """Run the packager in a process of its own; returns what it said."""
    command = [sys.executable, "-m", "pe_monai.deploy.packager", str(context), "docker" if has_engine else NO_ENGINE]
    command += ["package", str(source / "app"), "--config", str(source / "app" / "app.yaml")]
    command += ["--models", str(source / "models"), "--docs", str(source / "docs")]
    command += ["--source", str(source / "artifacts.json"), "--build-cache", str(source / "cache")]
    command += ["--platform", "x86_64", "--sdk", "monai-deploy", "--tag", tag]
    root = str(Path(pe_monai.__file__).resolve().parents[1])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    log = done.stdout + done.stderr
    if "No module named 'holoscan_cli'" in log:
        raise DeployError("holoscan_cli is missing: pip install -c constraints-deploy.txt 'pe_monai[deploy]'")
    if has_engine and done.returncode:
        raise DeployError(f"the image cannot be built, its context is {context}: {' '.join(log.split())[-600:]}")
    return " ".join(log.split())


def _write_report(path: Path, content: dict[str, Any]) -> None:
    content = {"pe_monai": pe_monai.__version__, "intended_use": "research use only", **content}
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
