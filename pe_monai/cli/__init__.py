# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The command line: ``pe_monai COMMAND``. Commands import what they need when they run, so that help is quick."""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import select
import sys
from collections.abc import Sequence

from pe_monai import RESEARCH_USE, __version__
from pe_monai.errors import TRACEBACK_VARIABLE, explain, one_line
from pe_monai.quick_start import quiet_absent_decoder

COMMANDS = {
    "segment": "outline effusion in frames, clips and DICOM",
    "dicomweb": "process studies of a DICOMweb server",
    "listen": "receive ultrasound by C-STORE and process it",
    "measure": "measure effusion in masks",
    "label": "serve frames for labelling, in a browser or MONAI Label's clients",
    "demo": "see it work on synthetic frames",
    "phantom": "write a synthetic data set",
    "prepare": "index a data set and write its splits",
    "train": "train the bundle",
    "evaluate": "score a bundle on a data set",
    "study": "train and compare recipes, as the paper does",
    "export": "write the network for other runtimes",
    "deploy": "package the MONAI Deploy application",
    "labelme": "take annotations from LabelMe, or give it masks to correct",
    "doctor": "say what works on this machine",
}


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="pe_monai",
        description=f"Pericardial effusion in echocardiography: found and outlined with MONAI. {RESEARCH_USE}",
        epilog="Exit codes: 0 all done; 1 some inputs could not be used, the rest is done; 2 nothing could be done.",
    )
    parser.add_argument("--version", action="version", version=f"pe_monai {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, summary in COMMANDS.items():
        module = importlib.import_module(f"pe_monai.cli.{name}")
        command = commands.add_parser(
            name,
            help=summary,
            description=f"{module.__doc__} {RESEARCH_USE}",
            epilog=module.EXAMPLES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    for name in ("stdout", "stderr"):
        # a stream that was closed: the next file opened would get its number, and what libraries print
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
    options = build_parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    quiet_absent_decoder()
    try:
        code = options.run(options)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        print(f"pe_monai {options.command}: interrupted", file=sys.stderr)
        return 130
    except Exception as e:
        if isinstance(e, BrokenPipeError) and _is_output_closed():  # the reader, such as head, is done
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else flushing at exit fails again
            return 141  # 128 + SIGPIPE, as shells have it
        if os.environ.get(TRACEBACK_VARIABLE):
            raise
        print(f"pe_monai {options.command}: error: {_describe(e)}", file=sys.stderr)
        return 2


def _is_output_closed() -> bool:
    if not hasattr(select, "poll"):  # Windows, where a closed pipe is another error
        return True
    watch = select.poll()
    watch.register(sys.stdout.fileno(), 0)  # poll reports errors without being asked for them
    return bool(watch.poll(0))


def _describe(error: Exception) -> str:
    """One line for an error: what the user can do about it, or how to see where it came from."""
    if known := explain(error):
        return known
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    return f"{type(cause).__name__}: {one_line(cause, 300)} (set {TRACEBACK_VARIABLE}=1 to see where)"


__all__ = ["COMMANDS", "build_parser", "main"]
