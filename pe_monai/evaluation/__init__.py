# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Scores of a frame, their summary with intervals over clips, and the handler that writes both."""

from pe_monai.evaluation.agreement import agreement, icc
from pe_monai.evaluation.bootstrap import ClipBootstrap
from pe_monai.evaluation.markdown import render_markdown
from pe_monai.evaluation.report import EvaluationReport, write_report
from pe_monai.evaluation.scores import MIN_PIXELS, score_frame
from pe_monai.evaluation.summary import SIZE_BINS, eval_metrics, summarise

__all__ = [
    "MIN_PIXELS",
    "SIZE_BINS",
    "ClipBootstrap",
    "EvaluationReport",
    "agreement",
    "eval_metrics",
    "icc",
    "render_markdown",
    "score_frame",
    "summarise",
    "write_report",
]
