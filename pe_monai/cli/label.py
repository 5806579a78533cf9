# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Serve a folder of frames and clips for labelling: MONAI Label with the shipped weights, and a page to do it in."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import re
import tempfile
from pathlib import Path

from pe_monai.cli.arguments import add_bundle_argument, add_spacing_argument, positive
from pe_monai.scratch import scratch_root

EXAMPLES = """examples:
  pe_monai label --studies FOLDER
  pe_monai label --studies FOLDER --spacing 0.42 0.42 --port 8010
  pe_monai label --studies FOLDER --host 0.0.0.0 --origin http://viewer.example:3000

Then open http://127.0.0.1:8000, or point 3D Slicer or CVAT there. Labels go to FOLDER/labels/final, models that
were trained to FOLDER/.pe_monai; nothing else in FOLDER is changed."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--studies", required=True, metavar="FOLDER", help="folder of frames, clips and ultrasound DICOM"
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine alone)")
    parser.add_argument("--port", type=_port, default=8000, help="(default: 8000)")
    add_bundle_argument(parser, "to begin with")
    parser.add_argument("--device", help="such as cpu or cuda:0 (default: CUDA where there is one)")
    add_spacing_argument(parser)
    parser.add_argument(
        "--origin",
        nargs="+",
        type=_origin,
        default=[],
        metavar="URL",
        help="pages of other servers that may send requests, such as a viewer",
    )
    parser.add_argument("--max-upload-mb", type=positive, default=64, metavar="N", help="largest request (default: 64)")


def _port(text: str) -> int:
    if (port := positive(text)) > 65535:
        raise argparse.ArgumentTypeError(f"must be at most 65535, got {text!r}")
    return port


def _origin(text: str) -> str:
    if re.fullmatch(r"https?://[^/?#\s]+/?", text) is None:
        raise argparse.ArgumentTypeError(f"must be such as http://viewer.example:3000, got {text!r}")
    return text.rstrip("/")


def run(options: argparse.Namespace) -> int:
    from pe_monai import RESEARCH_USE
    from pe_monai.errors import FrameError

    if importlib.util.find_spec("monailabel") is None:
        raise FrameError(
            "MONAI Label is not installed; pip install -c constraints-label.txt 'pe_monai[label]' and then "
            "pip install --no-deps monailabel==0.8.5."
        )
    studies = Path(options.studies).resolve()
    if not studies.is_dir():
        raise FrameError(f"{options.studies}: no such folder; name a folder with frames or clips.")
    conf = {
        "bundle": str(Path(options.bundle).resolve()) if options.bundle else "",
        "device": options.device or "",
        "spacing": ",".join(map(str, options.spacing)) if options.spacing else "",
    }
    with tempfile.TemporaryDirectory(prefix="sessions-", dir=scratch_root()) as sessions:
        os.environ |= {
            "MONAI_LABEL_APP_DIR": str(Path(__file__).parents[1] / "label"),
            "MONAI_LABEL_STUDIES": str(studies),
            "MONAI_LABEL_APP_CONF": json.dumps(conf),
            "MONAI_LABEL_SERVER_PORT": str(options.port),
            "MONAI_LABEL_CORS_ORIGINS": json.dumps(options.origin),
            "MONAI_LABEL_SESSION_PATH": sessions,
            # frames are judged when the page asks; a whole folder would keep the processor busy from the start
            "MONAI_LABEL_AUTO_UPDATE_SCORING": os.environ.get("MONAI_LABEL_AUTO_UPDATE_SCORING", "false"),
            "PE_MONAI_LABEL_HOST": options.host,
            "PE_MONAI_LABEL_MAX_MB": str(options.max_upload_mb),
        }
        from pe_monai.label import shims

        shims.install()
        import uvicorn
        from monailabel.interfaces.utils.app import app_instance

        from pe_monai.label.server import build

        app_instance().models.predictor()  # here a model or device that cannot be used is a line, not a traceback
        host = f"[{options.host}]" if ":" in options.host else options.host
        print(f"http://{host}:{options.port}  {RESEARCH_USE}", flush=True)
        uvicorn.run(build(), host=options.host, port=options.port, log_level="warning")
    return 0
