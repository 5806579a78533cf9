# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What the commands that work with archives and scanners have in common."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pe_monai import RESEARCH_USE
from pe_monai.cli.arguments import (
    add_model_arguments,
    add_scale_argument,
    overrides_of,
    positive,
    silence_dicom_libraries,
)

if TYPE_CHECKING:
    from pe_monai.services.dicomweb import DICOMwebServer
    from pe_monai.services.work import Process
    from pe_monai.studies.options import StudyResult


def add_queue_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--queue",
        required=True,
        metavar="DIR",
        help="folder of studies that wait, are done (results) or failed (reason); it holds patients' pictures",
    )
    parser.add_argument(
        "--retry-failed", action="store_true", help="process studies again that failed in this queue before"
    )


def add_result_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("model and results")
    add_model_arguments(group)
    add_scale_argument(group)
    group.add_argument(
        "--fractional", action="store_true", help="probabilities in the DICOM Segmentation instead of masks"
    )


def add_server_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("login and TLS of the DICOMweb server")
    group.add_argument("--user", help="name for basic login")
    group.add_argument(
        "--password-file", metavar="FILE", help="its password (default: from PE_MONAI_DICOMWEB_PASSWORD)"
    )
    group.add_argument("--token-file", metavar="FILE", help="bearer token (default: from PE_MONAI_DICOMWEB_TOKEN)")
    group.add_argument("--ca-file", metavar="FILE", help="PEM file of the authorities that may vouch for the server")
    group.add_argument("--insecure", action="store_true", help="do not verify the server's certificate")
    group.add_argument(
        "--timeout", type=positive, default=60, metavar="S", help="seconds a server may be silent (default: 60)"
    )
    group.add_argument(
        "--max-object-mb", type=positive, default=2048, metavar="N", help="refuse larger objects (default: 2048)"
    )


def open_server(url: str, options: argparse.Namespace) -> DICOMwebServer:
    """The DICOMweb server that the options name; warns where its link is not safe."""
    from pe_monai.services.dicomweb import DICOMwebServer
    from pe_monai.services.login import is_exposed, open_session, read_login

    login = read_login(options.user, options.password_file, options.token_file)
    session = open_session(login, options.ca_file, verify=not options.insecure)
    server = DICOMwebServer(url, session, options.timeout, options.max_object_mb << 20)
    if is_exposed(url, options.insecure):
        logging.getLogger("pe_monai.services").warning(
            "%s: pictures%s can be read or changed on the way; use https and a certificate that is verified.",
            server.name,
            " and the login" if login else "",
        )
    return server


def make_process(options: argparse.Namespace, load: bool = False) -> Process:
    """What makes results of a study; the bundle is loaded now, or when the first study comes."""
    from functools import cache

    from pe_monai.studies.options import StudyOptions

    study_options = StudyOptions(fractional=options.fractional, scale=options.scale)

    @cache
    def predictor():
        from pe_monai.predictor import Predictor

        return Predictor(options.bundle, options.device, options.batch_size, overrides_of(options), options.runtime)

    def process(inputs: Sequence[Path], output: Path) -> StudyResult:
        from pe_monai.studies import process_study

        return process_study(inputs, output, predictor(), study_options)

    if load:
        predictor()
    return process


def start_log() -> None:
    """Say what happens, by names of the queue's entries; nothing that identifies a patient or a study."""
    print(RESEARCH_USE, flush=True)
    logging.getLogger("pe_monai.services").setLevel(logging.INFO)
    silence_dicom_libraries()
