# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Receive ultrasound by DICOM C-STORE, outline and measure effusion, and send the results on; runs until stopped."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING

from pe_monai.cli.service_arguments import add_queue_arguments, add_result_arguments, add_server_arguments

if TYPE_CHECKING:
    from pe_monai.services.work import Destination

EXAMPLES = """examples:
  pe_monai listen --port 11112 --queue queue --send-to ARCHIVE@127.0.0.1:4242
  pe_monai listen --host 0.0.0.0 --port 11112 --aet PE_MONAI --caller ECHO1 --queue queue \\
      --dicomweb https://pacs.example/dicom-web --token-file token

SIGTERM and Ctrl-C end it; it goes on where it was when it is started again. C-STORE is neither encrypted nor does it
prove who calls: let only your own network reach the port."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--port", type=_port, default=11112, metavar="N", help="TCP port to listen at (default: 11112; 0: a free one)"
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at (default: 127.0.0.1, this machine)")
    parser.add_argument(
        "--aet", type=_title, default="PE_MONAI", help="our application entity title (default: PE_MONAI)"
    )
    parser.add_argument(
        "--caller", action="append", default=[], type=_title, metavar="AET", help="title that may send; repeatable"
    )
    destination = parser.add_mutually_exclusive_group()
    destination.add_argument(
        "--send-to", type=_node, metavar="AET@HOST:PORT", help="DICOM node that gets the results by C-STORE"
    )
    destination.add_argument("--dicomweb", metavar="URL", help="DICOMweb server that gets the results by STOW-RS")
    add_queue_arguments(parser)
    add_server_arguments(parser)
    add_result_arguments(parser)


def run(options: argparse.Namespace) -> int:
    from pe_monai.cli.service_arguments import make_process, start_log
    from pe_monai.services.listen import Receiver
    from pe_monai.services.queue import StudyQueue
    from pe_monai.services.serve import serve
    from pe_monai.services.stop import Stop

    start_log()
    stop, destination, process = Stop(), _destination(options), make_process(options, load=True)
    with StudyQueue(options.queue) as queue, stop.on_signals():
        if options.retry_failed:
            queue.retry_failed()
        address, limit = (options.host, options.port), options.max_object_mb << 20
        with Receiver(queue, options.aet, address, options.caller, limit, stop.wake.set) as receiver:
            print(f"{options.aet} listens at {options.host}:{receiver.port}, queue in {options.queue}", flush=True)
            serve(queue, receiver, process, destination, stop)
    print("stopped")
    return 0


def _destination(options: argparse.Namespace) -> Destination | None:
    from pe_monai.cli.service_arguments import open_server
    from pe_monai.services.cstore import StoreNode

    if options.dicomweb:
        return open_server(options.dicomweb, options)
    if options.send_to:
        aet, host, port = options.send_to
        return StoreNode(aet, host, port, calling_aet=options.aet, timeout=options.timeout)
    return None


def _title(text: str) -> str:
    if not re.fullmatch(r"(?=.*\S)[ -\[\]-~]{1,16}", text):
        raise argparse.ArgumentTypeError(f"must be 1 to 16 ASCII characters without backslash, got {text!r}")
    return text


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"must be a port from 0 to 65535, got {text!r}")
    return int(text)


def _node(text: str) -> tuple[str, str, int]:
    title, at, address = text.rpartition("@")
    host, colon, port = address.rpartition(":")
    if not (at and colon and host):
        raise argparse.ArgumentTypeError(f"must be like ARCHIVE@127.0.0.1:4242, got {text!r}")
    return _title(title), host, _port(port)
