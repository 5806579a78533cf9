# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Holoscan's packager with its build context kept: ``python -m pe_monai.deploy.packager CONTEXT ENGINE package ...``.

To be run as a process of its own. The packager fills a temporary folder, builds the image out of it and deletes it;
here that folder is CONTEXT and stays. Where ENGINE is "none" it stops before the build.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

NO_ENGINE = "none"
EXIT = 'exit "${exit_code:-0}"'  # the variable that the entry point sets when the application has ended


def main(arguments: list[str]) -> None:
    context, engine, *command = arguments
    from holoscan_cli.__main__ import main as run
    from holoscan_cli.packager import container_builder, packager

    packager.tempfile = _Kept(Path(context))
    container_builder.BuilderBase._copy_script = _with_exit_code(container_builder.BuilderBase._copy_script)
    if engine == NO_ENGINE:
        container_builder.create_and_get_builder = _stop
    run(["holoscan", *command])


class _Kept:
    """Stands in for the module ``tempfile``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def gettempdir(self) -> str:
        return str(self.folder)

    @contextlib.contextmanager
    def TemporaryDirectory(self, **_: Any) -> Iterator[str]:  # noqa: N802  # its name there
        self.folder.mkdir(parents=True, exist_ok=True)
        yield str(self.folder)


def _with_exit_code(copy_script: Callable[[Any], str]) -> Callable[[Any], str]:
    """The packager's step that copies the container's entry point, which would always end with 0, whatever happened."""

    def copy(builder: Any) -> str:
        path = copy_script(builder)
        with open(path, "a", encoding="utf-8") as file:
            file.write(f"\n{EXIT}\n")
        return path

    return copy


def _stop(name: str) -> None:
    raise RuntimeError("there is no docker engine to build with")


if __name__ == "__main__":
    main(sys.argv[1:])
