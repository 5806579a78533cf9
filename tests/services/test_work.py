# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The queue and what is done with its studies: nothing lost, nothing sent twice, failures set aside."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from service_stubs import PATIENT, result_uids, stub_study, ultrasound
from stub_server import StubServer

pytest.importorskip("dicomweb_client", reason="needs the extra 'dicom'")

from pe_monai.errors import FrameError  # noqa: E402
from pe_monai.services import durable  # noqa: E402
from pe_monai.services.dicomweb import DICOMwebServer  # noqa: E402
from pe_monai.services.fetch import fetch_studies  # noqa: E402
from pe_monai.services.login import open_session, read_login  # noqa: E402
from pe_monai.services.queue import DEATHS, StudyQueue  # noqa: E402
from pe_monai.services.retry import ServerError  # noqa: E402
from pe_monai.services.serve import serve  # noqa: E402
from pe_monai.services.stop import Stop  # noqa: E402
from pe_monai.services.work import Tally, process_next, send_waiting  # noqa: E402


class Node:
    """A destination in memory."""

    name = "node"

    def __init__(self) -> None:
        self.got: list[str] = []
        self.refuses: set[str] = set()
        self.down = False

    def send(self, paths):
        for path in paths:
            if self.down or "down" in path.read_bytes().decode("latin-1"):
                raise ServerError("node: down.")
            self.got.append(path.name)
            yield path, "node: refused it." if path.stem in self.refuses else None


def submit(queue: StudyQueue, *seeds: int, description: str = "") -> str:
    entry = queue.begin()
    for seed in seeds:
        clip = ultrasound("1.2.3", seed)
        clip.StudyDescription = description
        clip.save_as(entry.object_path(clip.SOPInstanceUID), enforce_file_format=True)
    return queue.submit(entry).name


def state(queue: StudyQueue) -> dict[str, list[str]]:
    names = ("incoming", "working", "outgoing", "done", "failed")
    return {name: [e.name for e in queue.entries(name)] for name in names if queue.entries(name)}


def test_a_study_from_start_to_end(tmp_path):
    with StudyQueue(tmp_path / "queue") as queue:
        name, tally, node = submit(queue, 1, 2), Tally(), Node()
        process_next(queue, stub_study, tally)
        assert state(queue) == {"outgoing": [name]}
        assert send_waiting(queue, node, 1, tally)
        assert state(queue) == {"done": [name]} and tally == Tally(done=1) and tally.exit_code == 0
        assert len(node.got) == 4
        done = queue.entries("done")[0]
        assert len(done.to_send) == 4 and all(path.is_file() for path in done.to_send)
        assert not done.objects  # pictures are not kept
        submit(queue, 1, 2)  # the scanner sends it once more
        process_next(queue, stub_study, tally)
        send_waiting(queue, node, 1, tally)
        assert len(node.got) == 4


def test_only_one_process_and_only_its_owner(tmp_path):
    with StudyQueue(tmp_path / "queue"):
        with pytest.raises(OSError, match="another pe_monai"):
            StudyQueue(tmp_path / "queue")
        assert (tmp_path / "queue").stat().st_mode & 0o077 == 0
    StudyQueue(tmp_path / "queue").close()


def test_failures_are_set_aside_without_quoting_patients(tmp_path, caplog):
    caplog.set_level("INFO", "pe_monai.services")
    with StudyQueue(tmp_path / "queue") as queue:
        tally = Tally()
        toxic, good = submit(queue, 1, description="toxic"), submit(queue, 2)
        while process_next(queue, stub_study, tally):
            pass
        send_waiting(queue, None, 1, tally)
        assert state(queue) == {"failed": [toxic], "done": [good]}
        assert tally.exit_code == 1
        failed = queue.entries("failed")[0]
        assert failed.reason == "KeyError while it was processed"
        assert PATIENT in (failed.folder / "reason.txt").read_text()  # the folder holds the pictures, too
        assert PATIENT not in caplog.text and "1.2.3" not in caplog.text
        assert queue.retry_failed() == 1
        assert state(queue) == {"incoming": [toxic], "done": [good]}


def test_partly_usable_and_unusable_studies(tmp_path):
    def process(inputs, output):
        result = stub_study(inputs[1:], output)
        return SimpleNamespace(objects=result.objects, errors=[FrameError("a.dcm: truncated; send it again.")])

    with StudyQueue(tmp_path / "queue") as queue:
        tally = Tally()
        submit(queue, 1, 2)
        submit(queue, 3)
        while process_next(queue, process, tally):
            pass
        send_waiting(queue, None, 1, tally)
        assert tally == Tally(done=1, failed=2) and tally.exit_code == 1
        assert queue.entries("done")[0].problems == queue.entries("failed")[0].reason.splitlines()


def test_full_disk_is_not_the_study_s_fault(tmp_path):
    def process(inputs, output):
        raise OSError(errno.ENOSPC, "No space left on device")

    with StudyQueue(tmp_path / "queue") as queue:
        name = submit(queue, 1)
        with pytest.raises(OSError, match="No space"):
            process_next(queue, process, Tally())
        assert state(queue) == {"incoming": [name]}


def test_a_service_outlives_a_full_disk(tmp_path, monkeypatch, caplog):
    def write_text(path, text):
        if path.name in full:
            full.remove(path.name)
            raise OSError(errno.ENOSPC, "No space left on device")
        durable.write_text(path, text)

    class FewRounds(Stop):
        def wait(self, seconds):
            rounds.pop()
            if not rounds:
                self.set()

    rounds, full, idle = [1] * 6, ["attempts", "outcome.json"], SimpleNamespace(tidy=lambda: None)
    monkeypatch.setattr("pe_monai.services.queue.write_text", write_text)
    with StudyQueue(tmp_path / "queue") as queue:
        name, node = submit(queue, 1), Node()
        uid = result_uids(ultrasound("1.2.3", 1)).pop()
        full.append(queue._record(uid, node.name).name)
        serve(queue, idle, stub_study, node, FewRounds())
        assert state(queue) == {"done": [name]} and not full
    assert caplog.text.count("the disk of the queue is full") == 3


def test_deadly_study_is_set_aside(tmp_path):
    for _ in range(DEATHS):
        with StudyQueue(tmp_path / "queue") as queue:
            if not queue.entries("incoming"):
                submit(queue, 1)
            queue.claim()  # and the process dies
    with StudyQueue(tmp_path / "queue") as queue:
        assert list(state(queue)) == ["failed"]
        assert "died 3 times" in queue.entries("failed")[0].reason


def test_stop_breaks_work_off_and_the_study_waits(tmp_path):
    stop = Stop()

    def process(inputs, output):
        output.mkdir()
        os.kill(os.getpid(), 15)
        time.sleep(10)  # a signal may reach the main thread a little later
        raise AssertionError("went on after the signal")

    with StudyQueue(tmp_path / "queue") as queue, stop.on_signals():
        name = submit(queue, 1)
        assert process_next(queue, process, Tally(), stop) is None
        assert stop and state(queue) == {"incoming": [name]}
        assert not queue.entries("incoming")[0].results.exists()
        assert queue.entries("incoming")[0].attempts == 0


def test_a_study_that_cannot_be_sent_holds_up_no_other(tmp_path):
    with StudyQueue(tmp_path / "queue") as queue:
        tally, node = Tally(), Node()
        stuck = [submit(queue, seed) for seed in range(3)]
        for _ in stuck:
            process_next(queue, stub_study, tally)
        for entry in queue.entries("outgoing"):
            entry.to_send[0].write_bytes(entry.to_send[0].read_bytes() + b"down")
        assert not send_waiting(queue, node, 1, tally)
        good = submit(queue, 8)
        process_next(queue, stub_study, tally)
        send_waiting(queue, node, 1, tally)
        assert state(queue) == {"outgoing": stuck, "done": [good]}
        assert tally == Tally(done=1, waiting=3)
        node.down = True
        assert not send_waiting(queue, node, 1, tally)


def test_refused_results_are_named_and_the_others_sent(tmp_path):
    with StudyQueue(tmp_path / "queue") as queue:
        tally, node = Tally(), Node()
        node.refuses = {"report"}
        submit(queue, 1)
        process_next(queue, stub_study, tally)
        assert send_waiting(queue, node, 1, tally)
        assert sorted(node.got) == ["report.dcm", "segmentation.dcm"]
        assert queue.entries("failed")[0].reason == "1 results not stored: node: refused it."


@pytest.fixture
def stub():
    with StubServer() as server:
        yield server


@pytest.fixture
def server(stub, tmp_path):
    (tmp_path / "password").write_text("geheim")
    return DICOMwebServer(stub.url(), open_session(read_login("reader", str(tmp_path / "password"), None)), timeout=0.4)


def test_fetch_goes_on_after_faults_and_takes_the_rest(stub, server, tmp_path, monkeypatch):
    monkeypatch.setattr("pe_monai.services.retry.time.sleep", lambda seconds: None)
    stub.add(*(ultrasound(f"1.2.{study}", seed) for study in range(3) for seed in range(2)))
    stub.faults["retrieve"] = ["half", 500, None, *["short"] * 4]  # passes at once, then a study that does not come
    studies = server.find_studies({})
    with StudyQueue(tmp_path / "queue") as queue:
        tally = Tally()
        assert len(list(fetch_studies(server, queue, studies, tally))) == 2
        assert tally.failed == 1
        failed = queue.entries("failed")[0]
        assert "broke off" in failed.reason and not failed.objects
        assert [len(entry.objects) for entry in queue.entries("incoming")] == [2, 2]
        assert len(list(fetch_studies(server, queue, studies, tally))) == 1  # the one that failed; the others are known
        assert not queue.entries("failed") and len(queue.entries("incoming")) == 3
        stub.add(ultrasound("1.2.0", 7))  # a new picture
        assert len(list(fetch_studies(server, queue, studies, tally))) == 1


def test_fetch_gives_up_on_a_dead_server(stub, server, tmp_path):
    stub.faults["search"] = [500] * 100
    with StudyQueue(tmp_path / "queue") as queue:
        with pytest.raises(ServerError, match="answered 500"):
            list(fetch_studies(server, queue, [f"1.2.{n}" for n in range(50)], Tally(), attempts=1))
    assert stub.seen["search"] == 3


@pytest.mark.parametrize(
    ("first", "step"), [(2, 12), pytest.param(1, 1, marks=pytest.mark.slow)], ids=["some steps", "each step"]
)
def test_killed_after_any_step_nothing_is_lost_or_sent_twice(stub, tmp_path, first, step):
    if not hasattr(os, "fork"):
        pytest.skip("needs fork")
    clips = [ultrasound(f"1.2.{study}", seed) for study in range(2) for seed in range(2 - study)]
    for number in range(150):
        stub.add(*clips, archive=str(number))
    script = Path(__file__).with_name("crashing_run.py")
    environment = os.environ | {"PE_MONAI_DICOMWEB_TOKEN": "geheim"}
    runs = subprocess.run(
        [sys.executable, str(script), stub.url("").rstrip("/"), str(tmp_path), str(first), str(step)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=300,
        check=False,
    )
    lines = [tuple(map(int, line.split())) for line in runs.stdout.splitlines()]
    assert lines, runs.stderr
    assert [killed for _, killed, _ in lines] == [1] * (len(lines) - 1) + [0], runs.stderr
    for number, _, code in lines:
        log = (tmp_path / f"{number}.log").read_text()
        assert code == 0, log
        results = {uid: count for uid, count in stub.stored[str(number)].items()}
        assert results == dict.fromkeys(result_uids(*clips), 1), f"killed after step {number}\n{log}"
        done = tmp_path / str(number) / "done"
        assert len(list(done.iterdir())) == 2 and not list(done.glob("*/objects"))
        assert "1.2." not in log and PATIENT not in log
    assert len(lines) > 30 / step
