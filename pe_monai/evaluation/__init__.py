# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Scores of a frame, their summary with intervals over clips, and the handler that writes both."""

from pe_monai.evaluation.agreement import agreement, icc
from pe_monai.evaluation.bootstrap import ClipBootstrap
from pe_monai.evaluation.markdown import render_differences, render_markdown
from pe_monai.evaluation.paired import compare_rows, compare_sets, read_rows
from pe_monai.evaluation.predictions import match_masks, score_masks
from pe_monai.evaluation.ranking import frame_errors, risk_coverage, roc_curve
from pe_monai.evaluation.report import EvaluationReport, write_report
from pe_monai.evaluation.scores import MIN_PIXELS, score_frame
from pe_monai.evaluation.summary import SIZE_BINS, eval_metrics, summarise

__all__ = [
    "MIN_PIXELS",
    "SIZE_BINS",
    "ClipBootstrap",
    "EvaluationReport",
    "agreement",
    "compare_rows",
    "compare_sets",
    "eval_metrics",
    "frame_errors",
    "icc",
    "match_masks",
    "read_rows",
    "render_differences",
    "render_markdown",
    "risk_coverage",
    "roc_curve",
    "score_frame",
    "score_masks",
    "summarise",
    "write_report",
]
