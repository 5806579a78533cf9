# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Checks of a build context: is everything in it that the image needs, and nothing else?"""

from __future__ import annotations

import json
import re
from pathlib import Path

import yaml

from pe_monai.deploy.packager import EXIT
from pe_monai.weights import sha256_of

APP, MODELS = "/opt/holoscan/app", "/opt/holoscan/models"
FILES = (
    "Dockerfile",
    "app.config",
    "app/__main__.py",
    "app/app.yaml",
    "app/pe_monai/deploy/__main__.py",
    "map/app.json",
    "map/pkg.json",
    "models/pe/model.ts",
    "pip/requirements.txt",
    "tools",
)
PINNED = ("torch", "monai", "monai-deploy-app-sdk", "holoscan-cu13", "holoscan-cli", "nvidia-cuda-runtime", "highdicom")
_INSTRUCTIONS = (
    f"COPY ./app {APP}",
    f"COPY ./models {MODELS}",
    "COPY ./map/app.json /etc/holoscan/app.json",
    "COPY ./map/pkg.json /etc/holoscan/pkg.json",
    "COPY ./pip/requirements.txt /tmp/requirements.txt",
    "ENV HOLOSCAN_INPUT_PATH=/var/holoscan/input",
    "ENV HOLOSCAN_OUTPUT_PATH=/var/holoscan/output",
    f"ENV HOLOSCAN_MODEL_PATH={MODELS}",
    'ENTRYPOINT ["/var/holoscan/tools"]',
)


def check_context(context: str | Path) -> list[str]:
    """What is wrong with a build context, a sentence each; empty if nothing is.

    Args:
        context: folder with the Dockerfile.
    """
    context = Path(context)
    problems = [f"{name} is missing." for name in FILES if not (context / name).is_file()]
    if problems:
        return problems
    problems += _check_manifests(context)
    problems += _check_requirements((context / "pip" / "requirements.txt").read_text(encoding="utf-8"))
    text = (context / "Dockerfile").read_text(encoding="utf-8")
    lines = [" ".join(line.split()).rstrip("/") for line in text.splitlines()]
    problems += [f"Dockerfile: lacks {wanted!r}." for wanted in _INSTRUCTIONS if wanted not in lines]
    if EXIT not in (context / "tools").read_text(encoding="utf-8").splitlines():
        problems.append("tools: the application's exit code is lost.")
    expected = yaml.safe_load((context / "app.config").read_text(encoding="utf-8"))["model"]["sha256"]
    if sha256_of(context / "models" / "pe" / "model.ts") != expected:
        problems.append("models/pe/model.ts: its SHA-256 is not the one in app.config.")
    stray = [path for path in context.rglob("*") if path.name == "__pycache__" or path.suffix.lower() == ".dcm"]
    return problems + [f"{path.relative_to(context)}: does not belong into an image." for path in stray]


def _check_manifests(context: Path) -> list[str]:
    app, package = (json.loads((context / "map" / f"{name}.json").read_text()) for name in ("app", "pkg"))
    problems = []
    if json.loads(app["command"]) != ["python3", APP]:
        problems.append(f"app.json: its command is {app['command']}, it should start {APP}.")
    for name in ("INPUT", "OUTPUT", "MODEL"):
        if not app["environment"].get(f"HOLOSCAN_{name}_PATH"):
            problems.append(f"app.json: lacks HOLOSCAN_{name}_PATH.")
    if package["models"] != {"pe": f"{MODELS}/pe"}:
        problems.append(f"pkg.json: its models are {package['models']}.")
    if app["sdk"] != "monai-deploy" or not app["version"]:
        problems.append(f"app.json: names the SDK {app['sdk']!r} and the version {app['version']!r}.")
    return problems


def _check_requirements(text: str) -> list[str]:
    lines = [line for line in text.splitlines() if line and not line.startswith(("#", "--extra-index-url "))]
    loose = [line for line in lines if not re.match(r"[\w.-]+==[\w.+!-]+(\s*;.*)?$", line)]
    names = {re.split("==", line)[0].lower().replace("_", "-") for line in lines}
    missing = [name for name in PINNED if name not in names]
    return [f"requirements.txt: {line!r} is not pinned." for line in loose] + [
        f"requirements.txt: {name} is missing." for name in missing
    ]
