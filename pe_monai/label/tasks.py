# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What MONAI Label's clients are told about the two models; the work is the app's."""

from __future__ import annotations

from typing import Any

from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType

from pe_monai.label.clicks import LABEL
from pe_monai.label.models import Models

AUTOMATIC, INTERACTIVE = "effusion", "effusion_interactive"


class Outline(InferTask):
    """One of the two models.

    Args:
        models: both.
        interactive: which.
    """

    def __init__(self, models: Models, interactive: bool) -> None:
        kind = InferType.DEEPGROW if interactive else InferType.SEGMENTATION
        what = (
            "Outline of pericardial effusion, corrected by clicks" if interactive else "Outline of pericardial effusion"
        )
        super().__init__(kind, {LABEL: 1}, 2, f"{what}. For research use only.", {"result_extension": ".png"})
        self.models = models
        self.interactive = interactive

    def is_valid(self) -> bool:
        return not self.interactive or self.models.has_clicks()

    def info(self) -> dict[str, Any]:
        return {**super().info(), "version": self.models.version.name}

    def get_path(self, validate: bool = True) -> str | None:
        return None if self.interactive else str(self.models.version.weights)

    def __call__(self, request: dict[str, Any]) -> tuple[str | None, dict[str, Any]]:
        raise NotImplementedError("the app outlines frames itself")
