# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What a container engine would do with a build context, by mounts in a namespace of its own."""

from __future__ import annotations

import functools
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

# CUDA's libraries disappear; nothing of it is seen outside of the process
_HIDE = 'for d in /usr/local/cuda*; do if [ -d "$d" ] && [ ! -L "$d" ]; then mount -t tmpfs none "$d"; fi; done; '
_OVERLAY = (
    'for d in opt var etc; do mkdir -p "$R/up/$d" "$R/work/$d"; '
    'mount -t overlay overlay -o "lowerdir=/$d,upperdir=$R/up/$d,workdir=$R/work/$d" "/$d"; done; '
    'mount --bind "$IN" /var/holoscan/input; mount --bind "$OUT" /var/holoscan/output; '
)


@functools.cache
def can_mount() -> bool:
    """Whether this user may have a mount namespace, as root has where containers do not forbid it."""
    probe = ["unshare", "-m", "sh", "-c", "mount -t tmpfs none /mnt"]
    return shutil.which("unshare") is not None and subprocess.run(probe, capture_output=True).returncode == 0


def without_cuda(command: Sequence[str]) -> list[str]:
    """The command with the system's CUDA libraries hidden."""
    return ["unshare", "-m", "sh", "-ec", f'{_HIDE} exec "$@"', "sh", *command]


@dataclass(frozen=True)
class Image:
    """What the Dockerfile says about running: variables, working folder, entry point, and the files it copies."""

    environment: Mapping[str, str]
    workdir: str
    entrypoint: tuple[str, ...]
    copies: tuple[tuple[str, str], ...]


def read_dockerfile(path: Path) -> Image:
    lines = [line.strip() for line in path.read_text().splitlines()]
    instructions = [line.split(maxsplit=1) for line in lines if re.match("(ENV|WORKDIR|ENTRYPOINT|COPY) ", line)]
    environment, workdir, entrypoint, copies = {}, "/", (), []
    for kind, rest in instructions:
        if kind == "ENV":
            name, _, value = rest.partition("=")
            environment[name] = value
        elif kind == "WORKDIR":
            workdir = rest
        elif kind == "ENTRYPOINT":
            entrypoint = tuple(json.loads(rest))
        else:
            source, target = rest.split()
            copies.append((source, target.replace("//", "/")))
    return Image(environment, workdir, entrypoint, tuple(copies))


def run_container(
    context: Path, root: Path, source: Path, output: Path, *arguments: str
) -> subprocess.CompletedProcess[str]:
    """Run an image's entry point with its files at their places, its variables and no others, in its working folder.

    Args:
        context: the build context.
        root: an empty folder, for what the image holds.
        source: folder mounted as the input, as by ``docker run -v``.
        output: folder mounted as the output.
        arguments: of the container.
    """
    image = read_dockerfile(context / "Dockerfile")
    for name, target in image.copies:
        place = root / "up" / target.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        if (context / name).is_dir():
            shutil.copytree(context / name, place)
        else:
            shutil.copy(context / name, place)
    for kind in ("input", "output"):
        (root / "up" / "var" / "holoscan" / kind).mkdir()
    (root / "up" / image.entrypoint[0].lstrip("/")).chmod(0o755)
    python = root / "up" / "opt" / "holoscan" / "bin"  # stands for the image's python3, with the packages it installs
    python.mkdir()
    (python / "python3").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (python / "python3").chmod(0o755)
    environment = {name: value for name, value in image.environment.items() if name.startswith("HOLOSCAN_")}
    environment |= {"PATH": "/opt/holoscan/bin:/usr/bin:/bin", "HOME": "/var/holoscan", "OMP_NUM_THREADS": "1"}
    variables = [f"{name}={value}" for name, value in environment.items()]
    script = f'{_HIDE}{_OVERLAY} cd "$DIR"; exec env -i "$@"'
    return subprocess.run(
        ["unshare", "-m", "sh", "-ec", script, "sh", *variables, *image.entrypoint, *arguments],
        env={"R": str(root), "IN": str(source), "OUT": str(output), "DIR": image.workdir, "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
