# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What the operators do, without Holoscan: studies found, clips opened, outlined and measured, results written."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pe_monai.dicom.discover import Study, find_studies
from pe_monai.errors import FrameError
from pe_monai.studies import StudyOptions, StudyResult, process, write_table_of_clips
from pe_monai.studies.clip_results import note_clip, write_results
from pe_monai.studies.folder import drop_other_study, drop_others, whole_folder
from pe_monai.studies.segmented import SegmentedClip, segment_clip

if TYPE_CHECKING:
    from pe_monai.dicom.reader import UltrasoundClip
    from pe_monai.predictor import Predictor
    from pe_monai.report.page import ClipSection


@dataclass
class Task:
    """A clip on its way through the graph.

    Attributes:
        study: number of its study, from 1.
        name: of its results' folder, as ``pe_monai segment`` calls it.
        clip: the clip, no pixel decoded yet.
        seen: what was seen and measured in it, once that is done.
    """

    study: int
    name: str
    clip: UltrasoundClip
    seen: SegmentedClip | None = None


@dataclass
class StudyRun:
    """A study and what came of it so far."""

    study: Study
    result: StudyResult = field(default_factory=StudyResult)
    sections: list[ClipSection] = field(default_factory=list)
    clips: int = 0


class Run:
    """One run over a folder of DICOM: the steps of the graph, in their order.

    Files and folders of the results are those of ``pe_monai segment``, to the byte of each mask and the digit of each
    measurement.

    Args:
        predictor: a bundle.
        output: folder of the results; made if absent.
        options: what to write.
        scratch: folder for what is needed until the end; on a disk with room for the masks of a clip.
        hide: puts an error into words that may be written down; a table or a page must not name the input's files.
    """

    def __init__(
        self,
        predictor: Predictor,
        output: Path,
        options: StudyOptions,
        scratch: Path,
        hide: Callable[[FrameError], str] = str,
    ) -> None:
        self.predictor, self.output, self.options, self.scratch = predictor, Path(output), options, scratch
        self.hide = hide
        self.studies: list[StudyRun] = []
        self.errors: Sequence[FrameError] = ()
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._open = ExitStack()

    def find(self, folder: Path) -> list[Study]:
        """Step 1, the loader: the studies below a folder, by their UID; what cannot be used is an error of the run."""
        with self._timed("loader"):
            studies, self.errors = self._open.enter_context(find_studies([folder]))
            self.studies = [StudyRun(study) for study in studies]
            return studies

    def open(self, chosen: Collection[str]) -> Iterator[Task]:
        """Step 2, clip by clip: those of the chosen files, study by study; what cannot be opened is an error."""
        for number, run in enumerate(self.studies, start=1):
            drop_other_study(self.output / f"study-{number}", run.study.uid, run.study.patient)
            objects = tuple(path for path in run.study.objects if str(path) in chosen)
            clips = process.open_objects(Study(run.study.uid, run.study.header, objects), run.result)
            while True:
                with self._timed("clip"):
                    clip = next(clips, None)
                if clip is None:
                    break
                run.clips += 1
                yield Task(number, f"clip-{run.clips}", clip)

    def infer(self, task: Task) -> Task | None:
        """Step 3: outline and measure all frames of a clip; None, and an error, if none of them can be used."""
        with self._timed("inference"):
            try:
                task.seen = segment_clip(task.clip, self.predictor, self.options, self.scratch)
            except FrameError as e:
                self.studies[task.study - 1].result.errors.append(process.name_file(e, task.clip.path))
                return None
            return task

    def write(self, task: Task) -> None:
        """Step 4: the results of a clip, whole or not at all."""
        with self._timed("writer"):
            run, seen, clip = self.studies[task.study - 1], task.seen, task.clip
            if seen is None:
                raise ValueError(f"{task.name} has not been outlined yet: infer() comes before write().")
            folder = self.output / f"study-{task.study}" / task.name
            with whole_folder(folder) as partial:
                objects = write_results(partial, seen, task.name, self.predictor, self.options, clip.header)
            run.sections.append(note_clip(seen, task.name, folder, objects, self.options, run.result))

    def finish(self) -> StudyResult:
        """The end: a page for each study, and the table of all clips."""
        with self._timed("writer"):
            total = StudyResult(errors=[FrameError(self.hide(error)) for error in self.errors])
            for number, run in enumerate(self.studies, start=1):
                run.result.errors = [FrameError(self.hide(error)) for error in run.result.errors]
                if run.clips or run.result.errors:
                    title, folder = f"Pericardial effusion: study {number}", self.output / f"study-{number}"
                    drop_others(folder, [clip.folder for clip in run.result.clips])
                    page = process.write_summary(folder, title, run.sections, run.result, self.predictor, self.options)
                    run.result.pages.append(page)
                total += run.result
            self.output.mkdir(parents=True, exist_ok=True)
            write_table_of_clips(self.output, total, self.options)
            return total

    def close(self) -> None:
        """Drop what was unpacked."""
        self._open.close()

    @contextmanager
    def _timed(self, step: str) -> Iterator[None]:
        started = time.monotonic()
        try:
            yield
        finally:
            self.seconds[step] += time.monotonic() - started
