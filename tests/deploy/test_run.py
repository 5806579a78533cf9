# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The steps of the graph without Holoscan: what they write is what ``pe_monai segment`` writes."""

from __future__ import annotations

import pytest
from comparison import assert_equal_results

from pe_monai.cli import main
from pe_monai.deploy.run import Run
from pe_monai.predictor import Predictor
from pe_monai.studies import StudyOptions


@pytest.fixture(scope="module")
def predictor(small_bundle) -> Predictor:
    return Predictor(small_bundle, device="cpu")


def run_steps(predictor, folder, output, scratch, options=None, only=None) -> Run:
    run = Run(predictor, output, options or StudyOptions(), scratch)
    try:
        objects = [str(path) for study in run.find(folder) for path in study.objects]
        for task in run.open(objects if only is None else [path for path in objects if only in path]):
            if run.infer(task) is not None:
                run.write(task)
        run.result = run.finish()
    finally:
        run.close()
    return run


def test_results_are_those_of_the_command_line(predictor, small_bundle, study, tmp_path):
    options = StudyOptions(fractional=True, capture=True, scale="acep")
    run = run_steps(predictor, study, tmp_path / "steps", tmp_path, options)
    arguments = ["--bundle", str(small_bundle), "--device", "cpu", "--fractional", "--capture", "--scale", "acep"]
    assert main(["segment", str(study), "-o", str(tmp_path / "command"), *arguments]) == 1
    (tmp_path / "command" / "manifest.json").unlink()  # the application's own is written by its main()
    assert_equal_results(tmp_path / "steps", tmp_path / "command")
    assert len(run.result.clips) == 3 and len(run.result.objects) == 9
    assert set(run.seconds) == {"loader", "clip", "inference", "writer"} and min(run.seconds.values()) > 0


def test_only_what_was_chosen(predictor, study, tmp_path):
    run = run_steps(predictor, study, tmp_path / "out", tmp_path, only="series 2")
    assert [clip.folder.relative_to(tmp_path / "out").as_posix() for clip in run.result.clips] in (
        ["study-1/clip-1"],
        ["study-2/clip-1"],  # whose study is the second by its UID
    )
    assert len(run.result.pages) == 1


def test_what_cannot_be_used_is_reported(predictor, study, tmp_path):
    run = run_steps(predictor, study, tmp_path / "out", tmp_path)
    errors = sorted(str(error).removeprefix(f"{study}/") for error in run.result.errors)
    assert len(errors) == 3 and errors[0].startswith("blank.dcm: none of its 2 frames can be used")
    assert errors[1].startswith("ct.dcm: is no ultrasound image but CT") and errors[2].startswith("damaged.dcm: ")


def test_writing_comes_after_outlining(predictor, study, tmp_path):
    run = Run(predictor, tmp_path / "out", StudyOptions(), tmp_path)
    run.find(study)
    task = next(run.open([str(path) for path in study.rglob("*.dcm")]))
    with pytest.raises(ValueError, match="infer\\(\\) comes before write\\(\\)"):
        run.write(task)
    run.close()
