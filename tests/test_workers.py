# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Several processes, and a run that goes on from another, leave the results that one run leaves."""

from __future__ import annotations

import csv
import functools
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pe_monai.cli import main
from pe_monai.data import FrameFile, phantom_frame, write_picture
from pe_monai.errors import BundleError
from pe_monai.predictor import Predictor
from pe_monai.resume import find_done
from pe_monai.workers import unfinished_parts


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    folder = tmp_path_factory.mktemp("frames")
    for seed in range(5):
        write_picture(phantom_frame(seed, thickness_mm=12).image, folder / f"{seed}.png")
    (folder / "1x.png").write_text("no picture")
    return folder


@pytest.fixture(scope="module")
def single(frames, tmp_path_factory):
    output = tmp_path_factory.mktemp("single")
    assert segment(frames, output) == 1
    return output


def segment(frames, output, *more):
    return main(["segment", str(frames), "-o", str(output), "--batch-size", "4", "--device", "cpu", *more])


def contents(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "manifest.json")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_processes_leave_what_one_leaves(frames, single, tmp_path, capfd):
    assert segment(frames, tmp_path, "--workers", "2") == 1
    assert capfd.readouterr().err.count("\n") == 1, "the line about the bad file alone"
    assert len(contents(single)) == 11
    assert contents(tmp_path) == contents(single)


def test_a_cut_run_goes_on(frames, single, tmp_path, monkeypatch):
    assert segment(frames, tmp_path) == 1
    table = tmp_path / "frames.csv"
    # as a kill leaves it: two frames done, half a row of a third, which has its mask already
    rows = [line for line in table.read_bytes().splitlines(keepends=True) if b"no picture" not in line]
    table.write_bytes(b"".join([*rows[:3], rows[4][:-9]]))
    (tmp_path / "masks" / "3.png").unlink()
    written = []
    from pe_monai import results

    original = results.write_results
    monkeypatch.setattr(
        results,
        "write_results",
        lambda folder, frame, *rest: written.append(frame.stem) or original(folder, frame, *rest),
    )
    assert segment(frames, tmp_path, "--resume") == 1
    assert contents(tmp_path) == contents(single)
    assert written == ["1x", "2", "3", "4"]
    written.clear()
    assert segment(frames, tmp_path, "--resume") == 1
    assert written == ["1x", "2"], "the part with the bad file alone is done again"
    with table.open(newline="") as file:
        assert [row["status"] for row in csv.DictReader(file)].count("ok") == 5


def test_a_frame_whose_results_lie_elsewhere_now_is_done_again(frames, tmp_path):
    folder, out = tmp_path / "in", tmp_path / "out"
    (folder / "deep").mkdir(parents=True)
    for name, source in (("x.png", "0.png"), ("deep/x.png", "1.png")):
        shutil.copy(frames / source, folder / name)
    options = ("--no-overlays", "--batch-size", "1")
    assert segment(folder / "deep", out, *options) == 0  # its mask is masks/x.png, which is the other frame's below
    assert segment(folder, out, *options, "--resume") == 0
    with (out / "frames.csv").open(newline="") as file:
        assert [row["mask"] for row in csv.DictReader(file)] == ["masks/deep/x.png", "masks/x.png"]
    assert segment(folder, tmp_path / "afresh", *options) == 0
    assert contents(out) == contents(tmp_path / "afresh")


def test_a_frame_that_an_older_file_has_replaced_is_done_again(frames, tmp_path):
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    shutil.copy(frames / "0.png", folder / "x.png")
    assert segment(folder, out, "--no-overlays") == 0
    before = contents(out)
    shutil.copy(frames / "1.png", folder / "x.png")
    os.utime(folder / "x.png", (0, 0))  # as cp -p, rsync and unzip keep the time of a file
    assert segment(folder, out, "--no-overlays", "--resume") == 0
    assert contents(out) != before


META = "ObjectType = Image\nNDims = 2\nDimSize = {1} {0}\nElementType = MET_UCHAR\nElementDataFile = x.raw\n"
NRRD = "NRRD0004\ntype: uint8\ndimension: 2\nsizes: {1} {0}\nencoding: raw\ndata file: x.raw\n\n"


@pytest.mark.parametrize(("name", "header"), [("x.mhd", META), ("x.mha", META), ("x.nrrd", NRRD)])
def test_a_header_whose_pixels_in_another_file_have_changed_is_done_again(tmp_path, name, header):
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    first, second = (phantom_frame(seed, thickness_mm=12).image[..., 0] for seed in (0, 1))
    (folder / name).write_text(header.format(*first.shape))
    first.tofile(folder / "x.raw")
    assert segment(folder, out, "--no-overlays") == 0
    before = contents(out)
    second.tofile(folder / "x.raw")
    assert segment(folder, out, "--no-overlays", "--resume") == 0
    assert contents(out) != before


@pytest.mark.skipif(os.name == "nt", reason="Windows does not tell whether a process lives")
def test_half_a_file_that_a_killed_run_left_goes_with_the_next(frames, tmp_path):
    places = ("{}frames.csv", "masks/{}0.png", "overlays/deep/{}0.png", "study-1/{}report.html", "clips/{}a/masks.gif")
    for process in (9999999, os.getppid()):
        for place in places:
            path = tmp_path / place.format(f".partial-{process}-")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"half")
    assert segment(frames / "0.png", tmp_path) == 0
    left = [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if "partial" in str(path)]
    being_written = {place.format(f".partial-{os.getppid()}-") for place in places}
    assert {path for path in left if (tmp_path / path).is_file()} == being_written
    assert not [path for path in left if "9999999" in path]


def test_results_of_other_settings_are_not_gone_on_with(frames, single, capsys):
    before = contents(single)
    assert segment(frames, single, "--resume", "--threshold", "0.77") == 2
    assert "--resume" in capsys.readouterr().err
    assert contents(single) == before


def test_results_of_another_temperature_are_not_gone_on_with(single):
    other = Predictor(None, "cpu", 4, {"temperature": 1.0})
    with pytest.raises(BundleError, match="'temperature': 2.0.*not .*'temperature': 1.0"):
        find_done(single, [], other, {})


def test_processes_end_with_the_one_that_is_killed():
    code = (
        "import multiprocessing, os, time\n"
        "from concurrent.futures import ProcessPoolExecutor\n"
        "from pe_monai.workers import start_process\n"
        "model = (None, 'cpu')\n"
        "pool = ProcessPoolExecutor(1, multiprocessing.get_context('spawn'), start_process, (model, (), 1))\n"
        "print(pool.submit(os.getpid).result(), flush=True)\n"
        "time.sleep(600)"
    )
    run = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    worker = int(run.stdout.readline())
    run.kill()
    try:
        run.communicate(timeout=30)  # to the end of what the worker could write to, which is its own
    except subprocess.TimeoutExpired:
        os.kill(worker, signal.SIGKILL)
        pytest.fail("the worker outlives the process that started it")


@pytest.mark.parametrize("moment", ["processes start", "frames are done"])
def test_ctrl_c_ends_all_processes_and_the_rest_is_done_later(frames, tmp_path, moment):
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for number in range(200):
        shutil.copy(frames / "0.png", folder / f"{number}.png")
    options = ("segment", str(folder), "-o", str(out), "--no-overlays", "--device", "cpu", "--batch-size", "1")
    command = [sys.executable, "-m", "pe_monai", *options, "--workers", "2"]
    heard = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a shell's background jobs ignore it
    run = subprocess.Popen(command, start_new_session=True, preexec_fn=heard, stderr=subprocess.PIPE, text=True)
    children = Path(f"/proc/{run.pid}/task/{run.pid}/children")
    for _ in range(6000):
        started = len(children.read_text().split()) > 2  # the third is multiprocessing's own
        if run.poll() is not None or (started and moment == "processes start") or list(out.glob("masks/*.png")):
            break
        time.sleep(0.01)
    if moment == "processes start":
        time.sleep(0.1)  # they import what Python itself needs
    os.killpg(run.pid, signal.SIGINT)  # as a terminal does, to all of them
    _, said = run.communicate(timeout=60)
    assert (run.returncode, said) == (130, "pe_monai segment: interrupted\n")
    done = len(list(out.glob("masks/*.png")))
    assert done < 200 and (done or moment == "processes start")
    for path in sorted(folder.iterdir())[6:]:
        path.unlink()
    assert main([*options, "--resume"]) == 0
    with (out / "frames.csv").open(newline="") as file:
        assert [row["status"] for row in csv.DictReader(file)] == ["ok"] * 6


def test_a_part_is_done_or_not():
    frames = [FrameFile(path, path) for path in "abcde"]
    assert unfinished_parts(frames, {"a", "b", "c"}, 2) == [frames[2:4], frames[4:]]
    assert unfinished_parts(frames, set("abcde"), 2) == []


def test_the_quick_import_gives_the_same_masks(frames, single, tmp_path):
    """And leaves what MONAI was told is absent to whoever needs it."""
    code = (
        "import sys; from pe_monai.cli import main\n"
        f"code = main(['segment', {str(frames)!r}, '-o', {str(tmp_path)!r}, '--batch-size', '4', '--device', 'cpu'])\n"
        "slow = {'ignite', 'matplotlib', 'openpyxl', 'scipy.stats', 'tensorboard'}\n"
        "assert not slow & set(sys.modules), slow & set(sys.modules)\n"
        "import ignite.engine, matplotlib.pyplot, scipy.stats, monai.engines, pkgutil, monai.utils.module\n"
        "assert monai.utils.module.walk_packages is pkgutil.walk_packages\n"
        "sys.exit(code)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600)
    assert run.returncode == 1, run.stderr
    assert contents(tmp_path) == contents(single)
