# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The operators of the graph: each hands what it receives to a step of :class:`pe_monai.deploy.run.Run`.

Import it after :func:`pe_monai.deploy.cuda_runtime.load_cuda_runtime`.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from monai.deploy.core import ConditionType, Operator, OperatorSpec
from monai.deploy.core.domain.dicom_series import DICOMSeries
from monai.deploy.core.domain.dicom_study import DICOMStudy
from monai.deploy.operators import DICOMDataLoaderOperator
from pydicom import dcmread

from pe_monai.deploy.run import Run, Task
from pe_monai.dicom.sop_classes import ULTRASOUND

RULES = json.dumps(
    {"selections": [{"name": "ultrasound", "conditions": {"SOPClassUID": f"^({'|'.join(map(str, ULTRASOUND))})$"}}]}
)
STUDIES, SELECTED = "dicom_study_list", "study_selected_series_list"  # ports of the SDK's operators


class Failure:
    """The first error that ended the run. It is kept here, as Holoscan would print it with the names of files."""

    def __init__(self) -> None:
        self.error: Exception | None = None

    @contextlib.contextmanager
    def caught(self) -> Iterator[None]:
        try:
            yield
        except Exception as e:
            self.error = self.error or e


class StudyLoader(DICOMDataLoaderOperator):
    """The SDK's loader with the project's search for studies.

    The SDK's own reads every pixel of the folder into memory, ends the graph at a damaged file, drops one of two
    objects in the same place, and logs the names of files. This one reads headers, and reports what cannot be used.
    """

    def __init__(
        self, fragment: Any, *args: Any, run: Run, failure: Failure, input_folder: Path, **kwargs: Any
    ) -> None:
        self._run, self._failure = run, failure
        super().__init__(fragment, *args, input_folder=input_folder, must_load=False, **kwargs)

    def load_data_to_studies(self, input_path: Path) -> list[DICOMStudy]:
        studies: list[DICOMStudy] = []
        with self._failure.caught():
            studies += [self._describe(study.objects) for study in self._run.find(Path(input_path))]
        return studies

    def _describe(self, objects: tuple[Path, ...]) -> DICOMStudy:
        """A study as the SDK's selector takes it."""
        found: DICOMStudy | None = None
        by_uid: dict[str, DICOMSeries] = {}
        for path in objects:
            header = dcmread(path, stop_before_pixels=True)
            if found is None:
                found = DICOMStudy(str(header.get("StudyInstanceUID") or ""))
                # pydicom raises what it likes on a bad value; no rule needs it then
                with contextlib.suppress(Exception):
                    self.populate_study_attributes(found, header)
            uid = str(header.get("SeriesInstanceUID") or "")
            if uid not in by_uid:
                by_uid[uid] = DICOMSeries(uid)
                with contextlib.suppress(Exception):
                    self.populate_series_attributes(by_uid[uid], header)
                found.add_series(by_uid[uid])
            by_uid[uid].add_sop_instance(header)
        return found


class Step(Operator):
    """An operator whose errors end the run in good order: nothing more is sent, and nothing printed."""

    def __init__(self, fragment: Any, *args: Any, run: Run, failure: Failure, **kwargs: Any) -> None:
        self._run, self._failure = run, failure
        super().__init__(fragment, *args, **kwargs)

    def compute(self, op_input: Any, op_output: Any, context: Any) -> None:
        with self._failure.caught():
            self.step(op_input, op_output)
        if self._failure.error is not None:
            self.stop_execution()

    def step(self, op_input: Any, op_output: Any) -> None:
        """What the operator does with one message."""
        raise NotImplementedError


class ClipReader(Step):
    """Opens the selected objects and sends their clips on, one by one, so that no more than a few are in memory."""

    _tasks: Iterator[Task] | None = None

    def setup(self, spec: OperatorSpec) -> None:
        spec.input(SELECTED).condition(ConditionType.NONE)  # it comes once, and a step is taken for each clip
        spec.output("clip")

    def step(self, op_input: Any, op_output: Any) -> None:
        if self._tasks is None:
            selected = op_input.receive(SELECTED)
            if selected is None:
                return
            series = [one.series for study in selected for one in study.selected_series]
            instances = [sop.get_native_sop_instance() for one in series for sop in one.get_sop_instances()]
            self._tasks = self._run.open({str(instance.filename) for instance in instances})
        task = next(self._tasks, None)
        if task is None:
            self.stop_execution()
        else:
            op_output.emit(task, "clip")


class Inference(Step):
    """Outlines and measures a clip on the device that the run's predictor has; probabilities stay float32 in there."""

    def setup(self, spec: OperatorSpec) -> None:
        spec.input("clip")
        spec.output("outlined")

    def step(self, op_input: Any, op_output: Any) -> None:
        task = self._run.infer(op_input.receive("clip"))
        if task is not None:
            op_output.emit(task, "outlined")


class ResultWriter(Step):
    """Writes a clip's Segmentation, report and what people read."""

    def setup(self, spec: OperatorSpec) -> None:
        spec.input("outlined")

    def step(self, op_input: Any, op_output: Any) -> None:
        self._run.write(op_input.receive("outlined"))
