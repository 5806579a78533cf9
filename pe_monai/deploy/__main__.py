# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The MONAI Deploy application: a folder of ultrasound DICOM in, Segmentation, report and measurements out."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from pe_monai import RESEARCH_USE, __version__
from pe_monai.cli.arguments import add_scale_argument, positive
from pe_monai.deploy.log import LEVELS, Aliases, logger, start_log
from pe_monai.errors import TRACEBACK_VARIABLE, DeployError, explain

DONE, SOME, NONE = 0, 1, 2


def build_parser() -> argparse.ArgumentParser:
    """Arguments; those of MONAI Deploy have its names, and take their defaults from its environment variables."""
    parser = argparse.ArgumentParser(
        prog="python -m pe_monai.deploy",
        description=f"{__doc__} {RESEARCH_USE}",
        epilog="Exit codes: 0 all done; 1 some inputs could not be used, the rest is done; 2 nothing could be done.",
    )
    for short, name, variable, default, text in (
        ("-i", "--input", "HOLOSCAN_INPUT_PATH", "input", "folder of DICOM"),
        ("-o", "--output", "HOLOSCAN_OUTPUT_PATH", "output", "folder of the results; made if absent"),
        ("-m", "--model", "HOLOSCAN_MODEL_PATH", "models", "model.ts, the folder with NAME/model.ts, or a bundle"),
        ("-w", "--workdir", "HOLOSCAN_WORKDIR", "", "folder for temporary files"),
    ):
        value = Path(os.environ.get(variable) or default) if default or os.environ.get(variable) else None
        parser.add_argument(short, name, type=Path, default=value, help=f"{text} (default: ${variable}, {value})")
    parser.add_argument("-l", "--log-level", type=str.upper, choices=LEVELS, default="INFO", help="(default: INFO)")
    parser.add_argument("--device", help="such as cpu or cuda:0 (default: CUDA where there is one)")
    parser.add_argument("--batch-size", type=positive, default=8, metavar="N", help="frames at a time (default: 8)")
    add_scale_argument(parser)
    parser.add_argument("--fractional", action="store_true", help="probabilities in the Segmentation instead of masks")
    parser.add_argument("--capture", action="store_true", help="also write a capture with the outlines burned in")
    parser.add_argument("--version", action="version", version=f"pe_monai {__version__}")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the application and return its exit code."""
    options = build_parser().parse_args(arguments)
    options.input = options.input.absolute()  # a name alone, such as 1, may be a word of a message
    start_log(options.log_level)
    logger.info("pe_monai %s. %s", __version__, RESEARCH_USE)
    aliases = Aliases(options.input)
    try:
        if not options.input.is_dir():
            raise DeployError(
                f"-i {options.input}: is no folder; give the folder of DICOM, or set HOLOSCAN_INPUT_PATH."
            )
        return run_application(options, aliases)
    except Exception as e:
        if os.environ.get(TRACEBACK_VARIABLE):
            raise
        logger.error("%s", _describe(e, aliases))
        return NONE


def run_application(options: argparse.Namespace, aliases: Aliases) -> int:
    """The graph over a folder, then pages, tables and the manifest; returns the exit code.

    Raises:
        DeployError: the CUDA runtime or the extra ``deploy`` is missing.
        Exception: what the graph's steps raise that ends a run: see :class:`pe_monai.deploy.run.Run`.
    """
    from pe_monai.deploy.cuda_runtime import load_cuda_runtime

    started = time.monotonic()
    if find_spec("holoscan") is None:
        raise DeployError("the extra is missing: pip install -c constraints-deploy.txt 'pe_monai[deploy]'")
    load_cuda_runtime()
    try:
        from pe_monai.deploy.app import PericardialEffusionApp
    except ModuleNotFoundError as e:
        raise DeployError(f"{e.name} is missing: pip install -c constraints-deploy.txt 'pe_monai[deploy]'") from e
    from pe_monai.deploy.manifest import write_manifest
    from pe_monai.deploy.run import Run
    from pe_monai.studies import StudyOptions

    workdir = options.workdir if options.workdir and os.access(options.workdir, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="pe_monai-", dir=workdir) as scratch:
        predictor, model = _open_model(options, Path(scratch))
        wanted = StudyOptions(fractional=options.fractional, capture=options.capture, scale=options.scale)
        run = Run(predictor, options.output, wanted, Path(scratch), aliases.hide)
        loaded = time.monotonic() - started
        try:
            app = PericardialEffusionApp(run, options.input)
            app.run()
            if app.failure.error is not None:
                raise app.failure.error
            result = run.finish()
        finally:
            run.close()
    counts = {"studies": len(run.studies), "clips": len(result.clips), "errors": len(result.errors)}
    seconds = {"start": loaded, **run.seconds, "total": time.monotonic() - started}
    write_manifest(options.output, predictor, model, counts, seconds)
    for error in result.errors:
        logger.error("%s", error)
    if not (result.clips or result.errors):
        logger.error("there is no DICOM in the input folder.")
    frames = sum(len(clip.measurement.frames) for clip in result.clips)
    logger.info(
        "%d clips of %d frames done, %d errors, %.1f s", len(result.clips), frames, len(result.errors), seconds["total"]
    )
    if not result.clips:
        return NONE
    return SOME if result.errors else DONE


def _open_model(options: argparse.Namespace, scratch: Path):
    from pe_monai.deploy.models import check_hash, find_model, unpack_model
    from pe_monai.deploy.package_config import expected_hash
    from pe_monai.predictor import Predictor

    path = find_model(options.model)
    if path.is_dir():
        predictor = Predictor(path, options.device, options.batch_size)
        return predictor, {"file": predictor.weights_path.name, "sha256": predictor.weights_sha256}
    digest = check_hash(path, expected_hash(os.environ.get("HOLOSCAN_CONFIG_PATH")))
    bundle = unpack_model(path, scratch / "pe")
    return Predictor(bundle, options.device, options.batch_size), {"file": path.name, "sha256": digest}


def _describe(error: BaseException, aliases: Aliases) -> str:
    """One line for an error that ended the run, without the names of the input's files."""
    if known := explain(error):
        return aliases.hide(known)
    return f"{type(error).__name__}: {aliases.hide(error)[:300]} (set {TRACEBACK_VARIABLE}=1 to see where)"


if __name__ == "__main__":
    sys.exit(main())
