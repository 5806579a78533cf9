# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Take ultrasound studies from a DICOMweb server, outline and measure effusion, and store the results back."""

from __future__ import annotations

import argparse
import re
import sys
from datetime import datetime
from typing import TYPE_CHECKING

from pe_monai.cli.service_arguments import add_queue_arguments, add_result_arguments, add_server_arguments

if TYPE_CHECKING:
    from pe_monai.services.dicomweb import DICOMwebServer
    from pe_monai.services.queue import StudyQueue
    from pe_monai.services.work import Process, Tally

EXAMPLES = """examples:
  pe_monai dicomweb --url https://pacs.example/dicom-web --since 2026-01-31 --queue queue \\
      --user reader --password-file password --store-back
  pe_monai dicomweb --url http://localhost:8042/dicom-web --study 1.2.840.1 --queue queue
  pe_monai dicomweb --url https://pacs.example/dicom-web --query StudyDescription="*echo*" --queue queue

Killed or cut off, the same command goes on where it was. Studies that were done are not done again unless they have
new pictures. Logs name studies by their folder in the queue."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--url", required=True, help="of the server's DICOMweb services")
    parser.add_argument("--study", action="append", default=[], metavar="UID", type=_uid, help="a study; repeatable")
    parser.add_argument(
        "--query",
        action="append",
        default=[],
        metavar="KEYWORD=VALUE",
        type=_filter,
        help="ultrasound studies in which a DICOM attribute matches; repeatable, all must match",
    )
    parser.add_argument("--since", metavar="DATE", type=_date, help="ultrasound studies of this day or later")
    parser.add_argument(
        "--store-back", action="store_true", help="store Segmentation and report on the server, too, not only in DIR"
    )
    add_queue_arguments(parser)
    add_server_arguments(parser)
    add_result_arguments(parser)


def run(options: argparse.Namespace) -> int:
    from pe_monai.cli.service_arguments import make_process, open_server, start_log
    from pe_monai.services.queue import StudyQueue
    from pe_monai.services.retry import ServerError
    from pe_monai.services.work import Tally

    if not (options.study or options.query or options.since):
        print("pe_monai dicomweb: error: give --study, --query or --since.", file=sys.stderr)
        return 2
    start_log()
    server, process, tally = open_server(options.url, options), make_process(options), Tally()
    with StudyQueue(options.queue) as queue:
        if options.retry_failed:
            queue.retry_failed()
        try:
            _work(queue, process, server, options, tally)
        except ServerError as e:
            if not tally.done:
                raise
            tally.failed += 1
            print(f"pe_monai dicomweb: {e}", file=sys.stderr)
    print(
        f"{tally.done} studies done, {tally.failed} failed or incomplete, {tally.waiting} wait to be sent; "
        f"results in {options.queue}"
    )
    return tally.exit_code


def _work(
    queue: StudyQueue, process: Process, server: DICOMwebServer, options: argparse.Namespace, tally: Tally
) -> None:
    """What an earlier run left, then the studies asked for, each processed and sent before the next comes."""
    from pe_monai.services.fetch import fetch_studies
    from pe_monai.services.retry import ATTEMPTS, with_retries
    from pe_monai.services.work import process_next, send_waiting

    destination = server if options.store_back else None

    def advance() -> bool:
        while process_next(queue, process, tally):
            pass
        return send_waiting(queue, destination, ATTEMPTS, tally)

    answers = advance()
    studies = list(options.study)
    if options.query or options.since:
        filters = dict(options.query) | ({"StudyDate": f"{options.since}-"} if options.since else {})
        studies += with_retries(lambda: server.find_studies(filters))
    for _ in fetch_studies(server, queue, list(dict.fromkeys(studies)), tally):
        if answers:
            answers = advance()
    advance()


def _uid(text: str) -> str:
    if not re.fullmatch(r"[0-9.]{1,64}", text):
        raise argparse.ArgumentTypeError(f"must be a UID of digits and dots, got {text!r}")
    return text


def _filter(text: str) -> tuple[str, str]:
    keyword, separator, value = text.partition("=")
    if not separator or not re.fullmatch(r"[A-Za-z0-9]+", keyword) or not value:
        raise argparse.ArgumentTypeError(f"must be like PatientID=123, got {text!r}")
    return keyword, value


def _date(text: str) -> str:
    digits = text.replace("-", "")
    try:
        datetime.strptime(digits, "%Y%m%d")
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a date like 2026-01-31, got {text!r}") from None
    return digits
