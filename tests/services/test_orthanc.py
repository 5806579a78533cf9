# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""A round trip with a real Orthanc, its DICOMweb plugin and a login, and SIGKILL at any moment."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("dicomweb_client", reason="needs the extra 'dicom'")

from pe_monai.paths import bundle_dir  # noqa: E402

HERE = Path(__file__).parent
PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
pytestmark = pytest.mark.slow


def namespace() -> list[str]:
    """What starts a command in a network of its own, in which nobody else can reach it."""
    for start in (["unshare", "-n"], ["unshare", "-rn"]):
        if subprocess.run([*start, "ip", "link", "set", "lo", "up"], capture_output=True).returncode == 0:
            return start
    pytest.skip("no network namespace can be made here (unshare -n), and Orthanc listens at all addresses")


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> dict:
    if shutil.which("Orthanc") is None or not PLUGIN.is_file():
        pytest.skip("needs Orthanc and its DICOMweb plugin (Debian: orthanc, orthanc-dicomweb)")
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        pytest.skip("needs unshare and ip (Debian: util-linux, iproute2)")
    if not (bundle_dir() / "models" / "model.pt").is_file():
        pytest.skip("the bundle has no weights: train with 'pe_monai train' first")
    folder = tmp_path_factory.mktemp("orthanc")
    script = 'ip link set lo up && exec "$0" "$1" "$2"'
    command = [*namespace(), "sh", "-c", script, sys.executable, str(HERE / "orthanc_round_trip.py"), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads((folder / "found.json").read_text())


def test_dicomweb_with_kills_loses_no_study_and_sends_none_twice(found):
    seen = found["dicomweb"]
    assert seen["no_login"][0] == 2 and "refused the login (401)" in seen["no_login"][1]
    assert sum(seen["killed"]) >= 5
    assert seen["last"][0] in (1, 2) and "Traceback" not in seen["last"][1]  # the study of colour Doppler is set aside
    assert seen["done"] == 4 and len(seen["failed"]) == 1 and "colour Doppler" in seen["failed"][0]
    assert seen["stored"] == [1] * (2 * seen["sources"])  # a Segmentation and a report for each, once
    assert seen["equal"] and seen["read_back"] == seen["sources"]
    assert seen["stored_later"] == 0 and seen["again"][1].count("is here already") == 5
    assert "Phantom^" not in seen["last"][1] + seen["again"][1]


def test_what_a_scanner_sent_survives_kills(found):
    seen = found["c_store"]
    assert seen["statuses"] == [0] and seen["killed"] == [True, True]
    assert seen["code"] == 0 and "Traceback" not in seen["output"]
    assert seen["stored"] == [1, 1] and seen["equal"]
