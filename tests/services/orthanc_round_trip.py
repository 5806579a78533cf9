# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Studies from a real Orthanc and back, the commands killed (SIGKILL) again and again; prints what came of it as JSON.

Usage, in a network namespace of its own, as Orthanc listens at all addresses: python orthanc_round_trip.py FOLDER
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pydicom
import requests
from pydicom.uid import JPEGBaseline8Bit
from pynetdicom import AE

from pe_monai.data import phantom_clip
from pe_monai.dicom.phantom import write_phantom_object
from pe_monai.dicom.segmentation_reader import read_segmentation

HTTP, DICOM, LISTEN = 18042, 14242, 11112
BASE, LOGIN = f"http://127.0.0.1:{HTTP}", ("reader", "geheim")
URL = f"{BASE}/dicom-web"
PLUGIN = "/usr/share/orthanc/plugins/libOrthancDicomWeb.so"
PATIENCE = 300


@contextlib.contextmanager
def orthanc(folder: Path) -> Iterator[None]:
    """A server with a login; an object stored once more is counted once more in its list of changes."""
    config = {
        "HttpPort": HTTP,
        "DicomPort": DICOM,
        "StorageDirectory": str(folder / "storage"),
        "RemoteAccessAllowed": True,
        "AuthenticationEnabled": True,
        "RegisteredUsers": {LOGIN[0]: LOGIN[1]},
        "OverwriteInstances": True,
        "Plugins": [PLUGIN],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }
    (folder / "orthanc.json").write_text(json.dumps(config))
    with (folder / "orthanc.log").open("w") as log:
        server = subprocess.Popen(["Orthanc", str(folder / "orthanc.json")], stdout=log, stderr=log)
    try:
        wait_for(lambda: is_up() and server.poll() is None)
        yield
    finally:
        server.terminate()
        server.wait(60)


def is_up() -> bool:
    with contextlib.suppress(requests.ConnectionError):
        return requests.get(f"{BASE}/system", auth=LOGIN, timeout=10).ok
    return False


def wait_for(happened: Callable[[], object], process: subprocess.Popen | None = None) -> None:
    """Until something happened, or a process has ended."""
    end = time.monotonic() + PATIENCE
    while not happened() and (process is None or process.poll() is None):
        if time.monotonic() > end:
            raise TimeoutError("it did not happen")
        time.sleep(0.05)


def ask(path: str):
    return requests.get(f"{BASE}{path}", auth=LOGIN, timeout=60).json()


def stored() -> Counter:
    """How often each object was stored, by its SOP Instance UID."""
    changes = [item for item in ask("/changes?limit=10000")["Changes"] if item["ChangeType"] == "NewInstance"]
    uids = {item["ID"]: ask(f"/instances/{item['ID']}/simplified-tags")["SOPInstanceUID"] for item in changes}
    return Counter(uids[item["ID"]] for item in changes)


def results_stored() -> int:
    return sum(item["ChangeType"] == "NewInstance" for item in ask("/changes?limit=10000")["Changes"])


def command(*arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "pe_monai", *arguments, "--device", "cpu"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def kill(process: subprocess.Popen) -> bool:
    """Whether it was still there to be killed."""
    alive = process.poll() is None
    if alive:
        os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    return alive


def upload(folder: Path) -> dict[str, Path]:
    """Four studies of one or two clips, and one that shows colour only; their files by SOP Instance UID."""
    paths = []
    for study in range(1, 5):
        for number in range(1 + study % 2):
            clip = phantom_clip(10 * study + number, 3, (224, 320), "black", 6.0 * study, 16.0)
            paths.append(write_phantom_object(folder / f"{study}-{number}.dcm", clip, JPEGBaseline8Bit, study=study))
    clip = phantom_clip(90, 2, (224, 320), "black", 6.0, 16.0)
    colour = pydicom.dcmread(write_phantom_object(folder / "colour.dcm", clip, study=9))
    colour.SequenceOfUltrasoundRegions[0].RegionDataType = 2
    colour.save_as(folder / "colour.dcm")
    for path in (*paths, folder / "colour.dcm"):
        requests.post(f"{BASE}/instances", data=path.read_bytes(), auth=LOGIN, timeout=60).raise_for_status()
    return {str(pydicom.dcmread(path).SOPInstanceUID): path for path in paths}


def by_dicomweb(folder: Path, sources: dict[str, Path]) -> dict:
    """Query, retrieve, infer, store: killed while it fetches, computes, and after each object that was stored."""
    queue, before, uploaded = folder / "queue", results_stored(), set(stored())
    (folder / "password").write_text(LOGIN[1])
    given = ["dicomweb", "--url", URL, "--since", "2024-01-01", "--queue", str(queue), "--store-back"]
    login = ["--user", LOGIN[0], "--password-file", str(folder / "password")]
    refused = command(*given)
    said = refused.communicate()[0]
    moments: list[Callable[[], object]] = [
        lambda: any((queue / "fetching").glob("*/objects/*")) or any((queue / "incoming").iterdir()),
        lambda: any((queue / "working").iterdir()),
        lambda: any((queue / "working").glob("*/results/*/.partial-*/*")),
        lambda: any((queue / "outgoing").iterdir()),
        *(lambda more=more: results_stored() >= before + more for more in (1, 2, 3, 6)),
    ]
    killed = []
    for moment in moments:
        run = command(*given, *login)
        wait_for(moment, run)
        killed.append(kill(run))
    last = command(*given, *login)
    output = last.communicate()[0]
    counts = stored()
    again = command(*given, *login)
    idle = again.communicate()[0]
    results = {uid: count for uid, count in counts.items() if uid not in uploaded}
    return {
        "no_login": [refused.returncode, said],
        "killed": killed,
        "last": [last.returncode, output],
        "again": [again.returncode, idle],
        "sources": len(sources),
        "stored": sorted(results.values()),
        "stored_later": results_stored() - sum(counts.values()),
        "equal": all(is_equal(path) for path in queue.glob("done/*/results/*/*/*.dcm")),
        "read_back": read_back(folder, sources),
        "done": len(list((queue / "done").iterdir())),
        "failed": [path.read_text().splitlines()[0] for path in queue.glob("failed/*/reason.txt")],
    }


def is_equal(path: Path) -> bool:
    """Whether the server gives back the very object that was computed."""
    local = pydicom.dcmread(path)
    return fetch(local.SOPInstanceUID) == local


def fetch(uid: str) -> pydicom.Dataset:
    (found,) = requests.post(f"{BASE}/tools/lookup", data=uid, auth=LOGIN, timeout=60).json()
    content = requests.get(f"{BASE}/instances/{found['ID']}/file", auth=LOGIN, timeout=60).content
    return pydicom.dcmread(pydicom.filebase.DicomBytesIO(content))


def read_back(folder: Path, sources: dict[str, Path]) -> int:
    """Number of Segmentations on the server that read as masks of their source, with effusion in them."""
    good = 0
    for instance in ask("/instances"):
        if ask(f"/instances/{instance}/simplified-tags")["Modality"] != "SEG":
            continue
        path = folder / "seg.dcm"
        path.write_bytes(requests.get(f"{BASE}/instances/{instance}/file", auth=LOGIN, timeout=60).content)
        masks, *_ = read_segmentation(path, list(sources.values()))
        good += len(masks) == 3 and masks[0].shape == (224, 320)
    return good


def by_c_store(folder: Path) -> dict:
    """A scanner sends; the receiver is killed once it has acknowledged, and later once it has sent one result."""
    queue, before = folder / "received", results_stored()
    path = write_phantom_object(folder / "sent.dcm", phantom_clip(5, 3, (224, 320), "black", 15.0, 16.0), study=5)
    given = ["listen", "--port", str(LISTEN), "--queue", str(queue), "--send-to", f"ORTHANC@127.0.0.1:{DICOM}"]
    first = command(*given)
    statuses = []
    wait_for(lambda: send(path, statuses), first)
    killed = [kill(first)]
    second = command(*given)
    wait_for(lambda: results_stored() > before, second)
    killed.append(kill(second))
    third = command(*given)
    wait_for(lambda: (queue / "done").is_dir() and any((queue / "done").iterdir()), third)
    third.terminate()
    output = third.communicate()[0]
    uids = {str(pydicom.dcmread(result).SOPInstanceUID) for result in queue.glob("done/*/results/*/*/*.dcm")}
    counts = stored()
    return {
        "statuses": statuses,
        "killed": killed,
        "code": third.returncode,
        "output": output,
        "stored": [counts[uid] for uid in uids],
        "equal": all(is_equal(result) for result in queue.glob("done/*/results/*/*/*.dcm")),
    }


def send(path: Path, statuses: list[int]) -> bool:
    dataset = pydicom.dcmread(path)
    scanner = AE("SCANNER")
    scanner.add_requested_context(dataset.SOPClassUID, dataset.file_meta.TransferSyntaxUID)
    association = scanner.associate("127.0.0.1", LISTEN, ae_title="PE_MONAI")
    if not association.is_established:
        time.sleep(0.2)
        return False
    statuses.append(int(association.send_c_store(dataset).Status))
    association.release()
    return True


if __name__ == "__main__":
    place = Path(sys.argv[1])
    with orthanc(place):
        found = {"dicomweb": by_dicomweb(place, upload(place)), "c_store": by_c_store(place)}
    (place / "found.json").write_text(json.dumps(found, indent=1))
