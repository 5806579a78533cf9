# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Score a bundle on a data set, or masks that exist already, whoever made them."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from pe_monai.cli.arguments import add_scale_argument
from pe_monai.cli.bundle_command import add_bundle_arguments, find_dataset, run_bundle
from pe_monai.paths import bundle_dir

EXAMPLES = """examples:
  pe_monai evaluate --data Pericardial-Effusion-experimental-data -o scores
  pe_monai evaluate --data DATA --split exam --section testing --weights my_training/model.pt -o scores
  pe_monai evaluate --data DATA --predictions nnunet_masks -o scores_nnunet --against scores
  pe_monai evaluate --measure results/clips.csv --reference readers.csv -o agreement"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_bundle_arguments(parser)
    parser.add_argument("-o", "--output", required=True, metavar="OUT", help="folder of the scores")
    parser.add_argument("--split", default="clip", help="clip, exam, paper or a datalist file (default: clip)")
    parser.add_argument(
        "--section", choices=("training", "validation", "testing"), default="validation", help="default: validation"
    )
    parser.add_argument("--weights", metavar="FILE", help="weights to score (default: the bundle's)")
    parser.add_argument("--masks", metavar="DIR", help="also write the predicted masks to this folder")
    parser.add_argument(
        "--predictions",
        metavar="DIR",
        help="score the masks in this folder instead of a bundle: pictures, NIfTI, NRRD or MetaImage of the frames' "
        "sizes, named like the frames (data/fold8/fold8_process_img/0001, an end of that, or fold8_0001)",
    )
    parser.add_argument(
        "--missing",
        choices=("refuse", "empty"),
        default="refuse",
        help="with --predictions: frames without a mask are an error, or count as empty; with --measure: references "
        "without a measurement are an error, or count as not measured (default: refuse)",
    )
    parser.add_argument(
        "--measure",
        metavar="TABLE",
        help="compare the thickness in this table with --reference: measured_clips.csv or measured_frames.csv of "
        "'measure', clips.csv or frames.csv of 'segment'",
    )
    parser.add_argument(
        "--reference",
        metavar="TABLE",
        help="CSV of reference values: file (and frame), and one of thickness_mm, largest_mm, robust_mm or the same in "
        "px; a column patient says which rows belong together",
    )
    parser.add_argument(
        "--value", metavar="COLUMN", help="measured column to compare (default: of the reference's name)"
    )
    add_scale_argument(parser)
    parser.add_argument(
        "--against",
        metavar="SCORES",
        help="folder of an earlier evaluation of the same frames: also write the differences to it, differences.md",
    )
    parser.add_argument(
        "--record", action="store_true", help="write the scores into the bundle's metadata.json (eval_metrics)"
    )


def run(options: argparse.Namespace) -> int:
    from pe_monai.evaluation import read_rows

    output = Path(options.output).resolve()
    if options.measure is not None or options.reference is not None:
        compare_measurements(options, output)
        return 0
    others = None if options.against is None else read_rows(Path(options.against) / "frames.csv")
    if options.predictions is not None:
        score_predictions(options, output)
        show(output, others, options.against)
        return 0
    overrides = {} if options.weights is None else {"ckpt_path": str(Path(options.weights).resolve())}
    if options.masks is not None:
        overrides["masks_dir"] = str(Path(options.masks).resolve())
    run_bundle(
        options,
        ["train.json", "evaluate.json"],
        "evaluating",
        output_dir=str(output),
        datalist=options.split,
        section=options.section,
        **overrides,
    )
    if options.record:
        record_scores(Path(options.bundle) if options.bundle else bundle_dir(), output / "summary.json")
    show(output, others, options.against)
    return 0


def show(output: Path, others: list | None, against: str | None) -> None:
    """Print the report, and its differences to other scores where that was asked for."""
    (output / "differences.md").unlink(missing_ok=True)  # of the scores that were there before
    print((output / "summary.md").read_text(encoding="utf-8"))
    if others is None:
        return
    from pe_monai.errors import DatasetError
    from pe_monai.evaluation import compare_rows, read_rows, render_differences
    from pe_monai.whole import write_text_whole

    try:
        differences = compare_rows(read_rows(output / "frames.csv"), others)
    except ValueError as e:
        raise DatasetError(f"{against}: {e}") from e
    text = render_differences(differences, Path(str(against)).resolve().name)
    write_text_whole(output / "differences.md", text)
    print(text)


def compare_measurements(options: argparse.Namespace, output: Path) -> None:
    """Compare measured with reference values and write and print the agreement."""
    from pe_monai.errors import DatasetError
    from pe_monai.evaluation.measured import read_pairs, render_agreement, write_agreement

    if options.measure is None or options.reference is None:
        raise DatasetError("--measure needs --reference, and --reference --measure; give both tables.")
    for name in ("weights", "masks", "record", "bundle", "config", "set", "predictions", "against"):
        if getattr(options, name):
            raise DatasetError(f"--{name} has nothing to do with --measure; leave it out.")
    pairs, unit = read_pairs(options.measure, options.reference, options.value, options.missing == "empty")
    print(render_agreement(write_agreement(output, pairs, unit, options.scale), unit))


def score_predictions(options: argparse.Namespace, output: Path) -> None:
    """Score masks that exist already and write the report of an evaluation."""
    from pe_monai.errors import BundleError
    from pe_monai.evaluation import score_masks, summarise, write_report

    for name in ("weights", "masks", "record", "bundle", "config", "set"):
        if getattr(options, name):
            raise BundleError(f"--{name} belongs to the scores of a bundle; leave it out with --predictions.")
    data = find_dataset(options.data)
    rows = score_masks(options.predictions, options.split, options.section, data, options.missing)
    write_report(output, rows, summarise(rows, f"{Path(options.split).name}, {options.section}"))


def record_scores(bundle: Path, summary: Path) -> None:
    """Put an evaluation's numbers, with its protocol, into ``eval_metrics`` of a bundle's metadata."""
    from pe_monai.evaluation import eval_metrics
    from pe_monai.whole import write_text_whole

    scores = json.loads(summary.read_text(encoding="utf-8"))
    path = bundle / "configs" / "metadata.json"
    metadata = json.loads(path.read_text(encoding="utf-8"))
    metadata["eval_metrics"] = {"protocol": scores["protocol"], **eval_metrics(scores)}
    write_text_whole(path, json.dumps(metadata, indent=4, ensure_ascii=False) + "\n")
