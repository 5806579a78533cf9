# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The graph: loader, selector of ultrasound, clip reader, inference, writer.

Import it after :func:`pe_monai.deploy.cuda_runtime.load_cuda_runtime`.
"""

from __future__ import annotations

from pathlib import Path

from holoscan.conditions import CountCondition
from monai.deploy.core import Application
from monai.deploy.operators import DICOMSeriesSelectorOperator

from pe_monai.deploy.operators import (
    RULES,
    SELECTED,
    STUDIES,
    ClipReader,
    Failure,
    Inference,
    ResultWriter,
    StudyLoader,
)
from pe_monai.deploy.run import Run


class PericardialEffusionApp(Application):
    """Ultrasound DICOM in, Segmentation, report and measurements out.

    Args:
        run: what the operators do.
        input_folder: the folder of DICOM.
    """

    def __init__(self, run: Run, input_folder: Path) -> None:
        self._work, self._input_folder, self.failure = run, input_folder, Failure()
        super().__init__([])

    def compose(self) -> None:
        shared = {"run": self._work, "failure": self.failure}
        # the source would load the folder again and again, were it not counted
        loader = StudyLoader(self, CountCondition(self, 1), input_folder=self._input_folder, name="loader", **shared)
        selector = DICOMSeriesSelectorOperator(self, rules=RULES, all_matched=True, name="selector")
        clips = ClipReader(self, name="clips", **shared)
        inference = Inference(self, name="inference", **shared)
        writer = ResultWriter(self, name="writer", **shared)
        self.add_flow(loader, selector, {(STUDIES, STUDIES)})
        self.add_flow(selector, clips, {(SELECTED, SELECTED)})
        self.add_flow(clips, inference, {("clip", "clip")})
        self.add_flow(inference, writer, {("outlined", "outlined")})
