# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What the commands that run a bundle's configs share: options and the call of MONAI's own bundle runner."""

from __future__ import annotations

import argparse
import ast
import logging
import os
import warnings
from pathlib import Path
from typing import Any

from pe_monai.cli.arguments import add_bundle_argument


def add_bundle_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", metavar="DIR", help="data set's folder (default: the environment's PE_MONAI_DATA)")
    add_bundle_argument(parser, "whose configs to run")
    parser.add_argument(
        "--config",
        nargs="+",
        default=[],
        metavar="FILE",
        help="overlays, stacked in this order on the bundle's configs",
    )
    parser.add_argument(
        "--set",
        nargs="+",
        default=[],
        metavar="ID=VALUE",
        help="values for ids of the config, such as max_epochs=10 network_def#dropout=0.1",
    )


def find_dataset(given: str | None) -> Path:
    """The data set's folder that ``--data`` names, or PE_MONAI_DATA.

    Raises:
        DatasetError: neither is given, or there is no such folder.
    """
    from pe_monai.errors import DatasetError

    data = given or os.environ.get("PE_MONAI_DATA")
    if not data or not Path(data).is_dir():
        raise DatasetError(f"{data or 'no data set'}: no such folder; name the data set's folder with --data.")
    return Path(data)


def run_bundle(options: argparse.Namespace, configs: list[str], run_id: str, **overrides: Any) -> None:
    """Run ``run_id`` of a bundle's stacked configs with MONAI, as ``python -m monai.bundle run`` does."""
    from monai.bundle import run

    from pe_monai.errors import BundleError
    from pe_monai.experiment.rows import unknown_ids, why_unvalidated
    from pe_monai.paths import bundle_dir, configs_dir

    bundle = Path(options.bundle) if options.bundle else bundle_dir()
    files = [bundle / "configs" / name for name in configs]
    for given in options.config:
        named = Path(given)
        files.append(named if named.is_file() else configs_dir() / named.with_suffix(".json").name)
    for file in files:
        if not file.is_file():
            raise BundleError(f"{file}: no such config; name a JSON file or one of the overlays that ship.")
    if options.data:
        overrides["dataset_dir"] = str(find_dataset(options.data).resolve())
    settings = parse_settings(options.set)
    if taken := [name for name in settings if name in (*overrides, "bundle_root", "dataset_dir")]:
        raise BundleError(f"--set {taken[0]}: the command's own arguments set it; leave it out.")
    overrides.update(settings)
    # MONAI warns that a config is code, which the help of --bundle says, and that overlays lie in another folder
    warnings.filterwarnings("ignore", message="parsing config_file")
    for module in ("config_parser", "workflows"):
        logging.getLogger(f"monai.bundle.{module}").setLevel(logging.ERROR)
    if unknown := unknown_ids(files, overrides):
        raise BundleError(f"{unknown[0]}: no such id in {', '.join(file.name for file in files)}; check its spelling.")
    if run_id == "training" and (reason := why_unvalidated(files, overrides)):
        raise BundleError(reason)
    logging_file = bundle / "configs" / "logging.conf"
    run(
        run_id=run_id,
        config_file=[str(file) for file in files],
        meta_file=str(bundle / "configs" / "metadata.json"),
        logging_file=str(logging_file) if logging_file.is_file() else None,
        bundle_root=str(bundle),
        **overrides,
    )


def parse_settings(settings: list[str]) -> dict[str, Any]:
    """ID=VALUE pairs, with the value read as a Python literal where it is one.

    Raises:
        BundleError: one of them has no equals sign.
    """
    from pe_monai.errors import BundleError

    values: dict[str, Any] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals or not name:
            raise BundleError(f"--set {setting}: write it as ID=VALUE.")
        try:
            values[name] = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            values[name] = text
    return values
