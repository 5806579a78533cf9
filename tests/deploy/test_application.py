# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The graph as a user starts it, in a process of its own and with the system's CUDA out of sight."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from comparison import assert_equal_results
from container import can_mount, without_cuda
from small_bundle import python_environment

from pe_monai.cli import main
from pe_monai.deploy import __main__ as application
from pe_monai.weights import sha256_of

pytestmark = pytest.mark.holoscan


def run_application(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pe_monai.deploy", *map(str, arguments)]
    values = python_environment()
    values.pop("LD_LIBRARY_PATH", None)
    if can_mount():
        command = without_cuda(command)
    return subprocess.run(command, env=values, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture(scope="module")
def done(study, models, tmp_path_factory):
    """The smoke test's run: the whole study, by arguments."""
    output = tmp_path_factory.mktemp("application") / "out"
    return output, run_application("-i", study, "-o", output, "-m", models, "--capture", "--device", "cpu")


def test_results_are_those_of_the_command_line(done, small_bundle, study, tmp_path):
    output, process = done
    assert process.returncode == 1, process.stderr[-3000:]
    assert main(["segment", str(study), "-o", str(tmp_path), "--bundle", str(small_bundle), "--capture"]) == 1
    objects = assert_equal_results(output, tmp_path)
    assert sorted(str(item.Modality) for item in objects) == ["OT"] * 3 + ["SEG"] * 3 + ["SR"] * 3
    pixels = [item.pixel_array for item in objects if item.Modality == "SEG"]
    assert any(plane.any() for plane in pixels)


def test_log_and_results_do_not_name_the_patient(done, study):
    output, process = done
    texts = [process.stdout, process.stderr]
    texts += [path.read_text() for path in output.rglob("*") if path.suffix in (".json", ".csv", ".html")]
    for text in texts:
        assert study.name not in text and "Phantom^" not in text and "PHANTOM" not in text
    assert "file 3 of 8" in process.stderr and "CT Image Storage" in process.stderr
    assert "1.2.826.0.1.3680043" not in process.stderr  # the root of the study's UIDs


def test_manifest(done, models):
    manifest = json.loads((done[0] / "manifest.json").read_text())
    assert manifest["counts"] == {"studies": 2, "clips": 3, "errors": 3}
    assert manifest["model"] == {"file": "model.ts", "sha256": sha256_of(models / "pe" / "model.ts")}
    assert manifest["versions"]["holoscan-cu13"] and manifest["versions"]["monai-deploy-app-sdk"]
    seconds = manifest["seconds"]
    steps = sum(seconds[name] for name in ("start", "loader", "clip", "inference", "writer"))
    assert 0 < steps <= seconds["total"] + 0.01
    assert "research use only" in manifest["intended_use"]


@pytest.fixture
def run_here(monkeypatch, caplog):
    """The application in this process, where it starts sooner; returns its exit code and its log."""
    monkeypatch.setattr(application, "start_log", lambda level: None)

    def run(*arguments: object) -> tuple[int, str]:
        with caplog.at_level("INFO", "pe_monai.deploy"):
            return application.main([*map(str, arguments), "--device", "cpu"]), caplog.text

    return run


def test_environment_of_a_package_and_the_same_uids_again(run_here, monkeypatch, done, study, models, tmp_path):
    for name, path in (("INPUT", study), ("OUTPUT", tmp_path / "again"), ("MODEL", models)):
        monkeypatch.setenv(f"HOLOSCAN_{name}_PATH", str(path))
    monkeypatch.setenv("HOLOSCAN_WORKDIR", str(tmp_path))
    code, log = run_here("--capture")
    assert code == 1, log
    assert_equal_results(done[0], tmp_path / "again")
    assert (done[0] / "clips.csv").read_text() == (tmp_path / "again" / "clips.csv").read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["again"]  # nothing is left in the working folder


def test_nothing_to_do(run_here, study, models, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    code, log = run_here("-i", folder, "-o", tmp_path / "empty", "-m", models)
    assert code == 2 and "there is no DICOM in the input folder" in log
    (folder / "ct.dcm").write_bytes((study / "ct.dcm").read_bytes())
    code, log = run_here("-i", folder, "-o", tmp_path / "out", "-m", models)
    assert code == 2 and "file 1 of 1: is no ultrasound" in log and "0 clips of 0 frames done, 1 errors" in log
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["counts"]["clips"] == 0


def test_files_whose_names_are_words_of_a_message(run_here, monkeypatch, study, models, tmp_path):
    for name in ("1", "2"):
        (tmp_path / "in" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "in" / name).write_bytes((study / "ct.dcm").read_bytes()[: -int(name)])
    monkeypatch.chdir(tmp_path / "in")
    _, log = run_here("-i", ".", "-o", tmp_path / "out", "-m", models)
    assert "file 1 of 2: is no ultrasound" in log


def test_results_that_cannot_be_written(run_here, study, models, tmp_path):
    (tmp_path / "file").touch()
    code, log = run_here("-i", study, "-o", tmp_path / "file" / "out", "-m", models)
    assert code == 2 and "Not a directory; check the path" in log.splitlines()[-1]


def test_inputs_that_are_missing(run_here, study, models, tmp_path):
    code, log = run_here("-i", study, "-o", tmp_path / "out", "-m", tmp_path)
    assert code == 2 and "holds neither model.ts nor NAME/model.ts" in log
    code, log = run_here("-i", tmp_path / "absent", "-o", tmp_path / "out", "-m", models)
    assert code == 2 and "is no folder; give the folder of DICOM" in log


def test_model_of_another_package(run_here, monkeypatch, study, models, tmp_path):
    (tmp_path / "app.yaml").write_text(f"model:\n  sha256: '{'0' * 64}'\n")
    monkeypatch.setenv("HOLOSCAN_CONFIG_PATH", str(tmp_path / "app.yaml"))
    code, log = run_here("-i", study, "-o", tmp_path / "out", "-m", models)
    assert code == 2 and "the package's configuration says 000000000000" in log
