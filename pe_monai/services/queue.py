# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""A queue of studies on disk: a folder a study, whose state is the folder it lies in."""

from __future__ import annotations

import hashlib
import json
import logging
import secrets
import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from pe_monai.services.durable import move, sync, write_text

logger = logging.getLogger(__name__)
STATES = ("incoming", "working", "outgoing", "done", "failed")
DEATHS = 3  # a study during which the program died so often is set aside


@dataclass(frozen=True)
class Entry:
    """A study in the queue.

    Attributes:
        folder: where it lies; ``objects`` in it are the received files, ``results`` what was made of them.
    """

    folder: Path

    @property
    def name(self) -> str:
        """How logs call it: the time it came and a random part, nothing of the study."""
        return self.folder.name

    @property
    def objects(self) -> list[Path]:
        """The received DICOM files."""
        return sorted(path for path in (self.folder / "objects").glob("*.dcm") if not path.name.startswith("."))

    @property
    def results(self) -> Path:
        """The folder of the results."""
        return self.folder / "results"

    @property
    def key(self) -> str:
        """What study with which objects this is; empty where it is not known beforehand."""
        return str(self._read("entry.json").get("key", ""))

    @property
    def to_send(self) -> list[Path]:
        """The result objects that belong to the destination."""
        return [self.results / path for path in self._read("outcome.json").get("objects", [])]

    @property
    def problems(self) -> list[str]:
        """Why parts of the study could not be used."""
        return list(self._read("outcome.json").get("problems", []))

    @property
    def reason(self) -> str:
        """Why it failed, in one line."""
        return _read_text(self.folder / "reason.txt").partition("\n")[0]

    @property
    def attempts(self) -> int:
        """How often it was about to be processed."""
        return _read_number(self.folder / "attempts")

    @property
    def failed_sends(self) -> int:
        """How often its results could not be sent."""
        return _read_number(self.folder / "failed_sends")

    def object_path(self, uid: str) -> Path:
        """Where the received object of this SOP Instance UID belongs; the UID does not show in the name."""
        return self.folder / "objects" / f"{_digest(uid)}.dcm"

    def _read(self, name: str) -> dict:
        try:
            return json.loads(_read_text(self.folder / name) or "{}")
        except ValueError:
            return {}


class StudyQueue:
    """The queue in a folder, for one process at a time.

    A study is received in ``receiving`` (or ``fetching``, if it can be fetched again), waits in ``incoming``, is
    processed in ``working``, sent from ``outgoing``, and ends in ``done`` or ``failed``. Each step is one atomic
    rename after everything before it is on the disk, so whenever the process dies, a study lies at one place, and
    opening the queue again resumes from there. ``sent`` has one file for each object that a destination has accepted;
    an object is not sent there again as long as it is there.

    Between a destination's acceptance and that file lies one moment in which a kill makes the object be sent twice.
    Both have the same SOP Instance UID, so the second replaces the first or is ignored; a DICOMweb server is asked
    beforehand what it has, so there it is not even sent.

    Args:
        folder: made if absent, readable by its owner only, as it holds patients' pictures.

    Raises:
        OSError: another process works on it, or it cannot be written.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in (*STATES, "receiving", "fetching", "scratch", "sent"):
            (self.folder / name).mkdir(mode=0o700, exist_ok=True)
        self._lock = FileLock(self.folder / "lock", timeout=0)
        try:
            self._lock.acquire()
        except Timeout as e:
            raise OSError(f"{self.folder}: another pe_monai works on this queue; stop it, or name another.") from e
        self._recover()

    def close(self) -> None:
        """Let another process have it."""
        self._lock.release()

    def __enter__(self) -> StudyQueue:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def scratch(self) -> Path:
        """A folder for files in the making, on the queue's disk; emptied when the queue is opened."""
        return self.folder / "scratch"

    def entries(self, state: str) -> list[Entry]:
        """Studies in a state, those that came first in front."""
        return [Entry(path) for path in sorted((self.folder / state).iterdir()) if path.is_dir()]

    def begin(self, can_fetch_again: bool = False, key: str = "") -> Entry:
        """A study that is about to be received.

        Args:
            can_fetch_again: drop it if the process dies before it is complete; otherwise what came is processed.
            key: what tells whether the same study, with the same objects, is here already.
        """
        name = f"{datetime.now():%Y%m%dT%H%M%S%f}-{secrets.token_hex(4)}"
        entry = Entry(self.folder / ("fetching" if can_fetch_again else "receiving") / name)
        (entry.folder / "objects").mkdir(parents=True)
        write_text(entry.folder / "entry.json", json.dumps({"key": key}))
        sync(entry.folder.parent)
        return entry

    def submit(self, entry: Entry) -> Entry:
        """The study is complete and waits to be processed."""
        return self._move(entry, "incoming")

    def claim(self) -> Entry | None:
        """The study that has waited longest, now being processed; None if none waits."""
        waiting = self.entries("incoming")
        if not waiting:
            return None
        entry = waiting[0]
        write_text(entry.folder / "attempts", str(entry.attempts + 1))  # on a full disk it goes on waiting
        return self._move(entry, "working")

    def put_back(self, entry: Entry) -> None:
        """Not the study's fault: it waits again, as if nobody had tried."""
        shutil.rmtree(entry.results, ignore_errors=True)
        (entry.folder / "attempts").unlink(missing_ok=True)
        self._move(entry, "incoming")

    def computed(self, entry: Entry, objects: Iterable[Path], problems: Iterable[str]) -> Entry:
        """The study's results are there and wait to be sent.

        Args:
            entry: being processed.
            objects: those of its results that belong to the destination.
            problems: why parts of it could not be used.
        """
        objects = list(objects)
        for path in objects:
            sync(path)
        outcome = {
            "objects": [path.relative_to(entry.results).as_posix() for path in objects],
            "problems": list(problems),
        }
        write_text(entry.folder / "outcome.json", json.dumps(outcome, indent=1))
        return self._move(entry, "outgoing")

    def count_failed_send(self, entry: Entry) -> None:
        """The study's results could not be sent."""
        write_text(entry.folder / "failed_sends", str(entry.failed_sends + 1))

    def finish(self, entry: Entry) -> Entry:
        """All is sent: results stay, the received objects go, as they are in the archive or scanner they came from."""
        entry = self._move(entry, "done")
        shutil.rmtree(entry.folder / "objects", ignore_errors=True)
        return entry

    def fail(self, entry: Entry, reason: str, details: str = "") -> Entry:
        """Set a study aside.

        Args:
            entry: in any state.
            reason: one line.
            details: what does not belong into a log, such as a traceback.
        """
        write_text(entry.folder / "reason.txt", f"{reason}\n{details}")
        return self._move(entry, "failed")

    def retry_failed(self) -> int:
        """Let studies that failed while being processed or sent wait again; returns how many."""
        entries = [entry for entry in self.entries("failed") if entry.objects]
        for entry in entries:
            (entry.folder / "reason.txt").unlink(missing_ok=True)
            (entry.folder / "outcome.json").unlink(missing_ok=True)
            self.put_back(entry)
        return len(entries)

    def by_key(self) -> dict[str, tuple[str, Entry]]:
        """The state and entry of each study whose key is known."""
        return {entry.key: (state, entry) for state in STATES for entry in self.entries(state) if entry.key}

    def drop(self, entry: Entry) -> None:
        """Remove a study that failed, as it is tried anew."""
        shutil.rmtree(entry.folder, ignore_errors=True)

    def was_sent(self, uid: str, destination: str) -> bool:
        """Whether a destination has accepted the object of this SOP Instance UID."""
        return self._record(uid, destination).is_file()

    def record_sent(self, uid: str, destination: str, entry: Entry) -> None:
        """A destination has accepted an object."""
        record = {"entry": entry.name, "destination": destination, "time": time.strftime("%Y-%m-%dT%H:%M:%S%z")}
        write_text(self._record(uid, destination), json.dumps(record))

    def _record(self, uid: str, destination: str) -> Path:
        return self.folder / "sent" / f"{_digest(uid, destination)}.json"

    def _move(self, entry: Entry, state: str) -> Entry:
        return Entry(move(entry.folder, self.folder / state / entry.name))

    def _recover(self) -> None:
        """Bring what a killed process left into a state to go on from."""
        for name in ("scratch", "fetching"):
            shutil.rmtree(self.folder / name)
            (self.folder / name).mkdir(mode=0o700)
        for entry in self.entries("receiving"):
            if entry.objects:  # their sender was told that we have them
                self.submit(entry)
            else:
                shutil.rmtree(entry.folder)
        for entry in self.entries("working"):
            shutil.rmtree(entry.results, ignore_errors=True)
            if entry.attempts >= DEATHS:
                self.fail(entry, f"the program died {DEATHS} times while it worked on this study; try it by itself.")
                logger.warning("%s: set aside: the program died %d times on it", entry.name, DEATHS)
            else:
                self._move(entry, "incoming")
        for entry in self.entries("done"):
            shutil.rmtree(entry.folder / "objects", ignore_errors=True)


def _read_number(path: Path) -> int:
    text = _read_text(path)
    return int(text) if text.isdecimal() else 0


def _read_text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
