# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""`pe_monai measure` as a user meets it: every kind of mask, its pixel size, what is wrong with it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import itk
import nibabel
import numpy as np
import pytest

import pe_monai.dicom.segmentation_reader
from pe_monai.cli import COMMANDS, main
from pe_monai.cli.measure import add_arguments
from pe_monai.data import phantom_frame, write_picture
from pe_monai.errors import FrameError
from pe_monai.measure import SCALES

MASK = np.zeros((60, 80), dtype=bool)
MASK[20:28, 10:70] = True  # 8 rows x 60 columns
SECTOR = np.ones((60, 80), dtype=bool)
FILES = ["measured_clips.csv", "measured_frames.csv", "measurements.json"]


@pytest.fixture
def measure(capsys, monkeypatch):
    """Run the command; returns its exit code and what it wrote to stdout and stderr."""
    monkeypatch.setitem(COMMANDS, "measure", "measure effusion in masks")

    def run(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(["measure", *map(str, arguments)])
        return code, *capsys.readouterr()

    return run


def grey(mask: np.ndarray) -> np.ndarray:
    return mask.astype(np.uint8) * 255


def frames_of(out: Path) -> list[dict]:
    with (out / "measured_frames.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def clips_of(out: Path) -> list[dict]:
    return json.loads((out / "measurements.json").read_text(encoding="utf-8"))["clips"]


def save_nifti(path: Path, masks: np.ndarray, spacing=(0.5, 0.25), unit: str | None = "mm", code: int = 1) -> None:
    """Masks (H, W) or (F, H, W) as (W, H[, 1, F])."""
    array = grey(masks).T if masks.ndim == 2 else grey(masks).transpose(2, 1, 0)[:, :, None]
    image = nibabel.Nifti1Image(array, np.diag([-spacing[1], -spacing[0], 1, 1]))
    image.header.set_xyzt_units(unit, "msec")
    image.set_sform(image.affine, code)
    image.set_qform(image.affine, code)
    if masks.ndim == 3:
        image.header.set_zooms((spacing[1], spacing[0], 1, 20))
    nibabel.save(image, path)


def test_pictures_grey_green_and_label_map(measure, tmp_path):
    green = np.zeros((60, 80, 3), dtype=np.uint8)
    green[..., 1] = 254 * MASK
    write_picture(grey(MASK), tmp_path / "in/grey.png")
    write_picture(green, tmp_path / "in/green.png")
    write_picture(MASK.astype(np.uint8), tmp_path / "in/labels.png")
    write_picture(grey(MASK & False), tmp_path / "in/none.png")
    out = tmp_path / "out"
    code, stdout, stderr = measure(tmp_path / "in", "-o", out, "--spacing", "0.5", "0.25")
    assert (code, stderr) == (0, "") and stdout.startswith("4 of 4 inputs measured")
    assert sorted(path.name for path in out.iterdir()) == FILES
    rows = frames_of(out)
    assert [Path(row["file"]).stem for row in rows] == ["green", "grey", "labels", "none"]
    for row in rows[:3]:
        assert float(row["thickness_mm"]) == pytest.approx(4, abs=0.15)  # 8 rows of 0.5 mm
        assert float(row["area_cm2"]) == pytest.approx(480 * 0.125 / 100) and row["regions"] == "1"
        assert row["reliable"] == "1" and row["sector_share"] == ""
    assert float(rows[3]["thickness_mm"]) == 0 and rows[3]["regions"] == "0"
    report = json.loads((out / "measurements.json").read_text())
    assert report["intended_use"] == "research use only, not a medical device"
    assert report["scale"]["name"] == "ESC 2015" and report["errors"] == []
    assert [clip["grade"] for clip in report["clips"]] == ["small (ESC 2015)"] * 3 + [None]
    assert {clip["phase"] for clip in report["clips"]} == {"single frame, phase unknown"}
    assert {clip["spacing_from"] for clip in report["clips"]} == {"given"}


def test_no_millimetre_without_a_pixel_size(measure, tmp_path):
    write_picture(grey(MASK), tmp_path / "a.png")
    assert measure(tmp_path / "a.png", "-o", tmp_path / "out")[0] == 0
    (row,), (clip,) = frames_of(tmp_path / "out"), clips_of(tmp_path / "out")
    assert row["thickness_mm"] == row["area_cm2"] == row["mean_thickness_mm"] == ""
    assert float(row["thickness_px"]) == pytest.approx(8, abs=0.3)
    assert clip["grade"] is None and clip["spacing_from"] is None and clip["robust_maximum"]["thickness_mm"] is None


def test_a_files_own_pixel_size_is_not_overridden(measure, tmp_path):
    save_nifti(tmp_path / "own.nii.gz", MASK)
    code, _, stderr = measure(tmp_path / "own.nii.gz", "-o", tmp_path / "out", "--spacing", "1", "2")
    assert code == 0 and "own.nii.gz: has its own pixel size, 0.5 x 0.25 mm; --spacing is not used" in stderr
    assert float(frames_of(tmp_path / "out")[0]["thickness_mm"]) == pytest.approx(4, abs=0.15)
    assert clips_of(tmp_path / "out")[0]["spacing_from"] == "file"
    assert measure(tmp_path / "own.nii.gz", "-o", tmp_path / "out", "--spacing", "0.5", "0.25")[2] == ""


@pytest.mark.parametrize(
    "spacing,unit,code,trusted",
    [
        ((0.5, 0.25), "mm", 0, True),
        ((0.0005, 0.00025), "meter", 1, True),
        ((500, 250), "micron", 1, True),
        ((0.5, 0.25), None, 1, True),  # as most writers leave it
        ((0.5, 0.25), None, 0, False),
        ((1, 1), "mm", 1, False),  # what is written where nothing is known
        ((50, 25), "mm", 1, False),
    ],
)
def test_which_nifti_headers_are_trusted(measure, tmp_path, spacing, unit, code, trusted):
    save_nifti(tmp_path / "a.nii", MASK, spacing, unit, code)
    assert measure(tmp_path / "a.nii", "-o", tmp_path / "out")[0] == 0
    (row,) = frames_of(tmp_path / "out")
    assert (row["thickness_mm"] != "") == trusted
    if trusted:
        assert float(row["thickness_mm"]) == pytest.approx(4, abs=0.15)


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_itk_files(measure, tmp_path, suffix):
    image = itk.image_from_array(grey(MASK))
    image.SetSpacing([0.25, 0.5])
    itk.imwrite(image, str(tmp_path / f"a{suffix}"))
    assert measure(tmp_path / f"a{suffix}", "-o", tmp_path / "out")[0] == 0
    assert float(frames_of(tmp_path / "out")[0]["thickness_mm"]) == pytest.approx(4, abs=0.15)


@pytest.mark.parametrize("unit,thickness", [("cm", 4), ("pixel", None)])
def test_unit_of_a_nrrd(measure, tmp_path, unit, thickness):
    sizes = f"sizes: {MASK.shape[1]} {MASK.shape[0]}\nspacings: 0.025 0.05"
    header = f'NRRD0004\ntype: uint8\ndimension: 2\n{sizes}\nencoding: raw\nunits: "{unit}" "{unit}"\n\n'
    (tmp_path / "a.nrrd").write_bytes(header.encode() + grey(MASK).tobytes())
    assert measure(tmp_path / "a.nrrd", "-o", tmp_path / "out")[0] == 0
    measured = frames_of(tmp_path / "out")[0]["thickness_mm"]
    assert measured == "" if thickness is None else float(measured) == pytest.approx(thickness, abs=0.15)


def test_a_nifti_of_many_frames_is_a_clip(measure, tmp_path):
    masks = np.stack([np.roll(MASK, shift, axis=0) for shift in range(4)])
    masks[2, 28:34] |= MASK[20:26]  # frame 3 is the thickest
    save_nifti(tmp_path / "clip.nii.gz", masks)
    code, stdout, _ = measure(tmp_path / "clip.nii.gz", "-o", tmp_path / "out")
    assert code == 0 and stdout.startswith("1 of 1 inputs")
    (clip,) = clips_of(tmp_path / "out")
    assert clip["largest"]["frame"] == 3 and clip["largest"]["thickness_mm"] > 5
    assert clip["times_ms"] == [0, 20, 40, 60] and clip["phase"] == "largest in the clip, phase unknown"
    assert [row["frame"] for row in frames_of(tmp_path / "out")] == ["1", "2", "3", "4"]
    assert [float(row["row_1"]) for row in frames_of(tmp_path / "out")][:2] == pytest.approx([19.5, 20.5], abs=0.3)


def test_a_folder_as_a_clip_in_the_order_of_its_numbers(measure, tmp_path):
    for number in range(1, 12):
        thick = np.zeros_like(MASK)
        thick[20 : 20 + 2 * number, 10:70] = True
        write_picture(grey(thick), tmp_path / f"clip/frame{number}.png")
    code, stdout, _ = measure(tmp_path / "clip", "-o", tmp_path / "out", "--clip", "--spacing", "0.5", "0.5")
    assert code == 0 and stdout.startswith("1 of 1 inputs")
    thickness = [float(row["thickness_mm"]) for row in frames_of(tmp_path / "out")]
    assert thickness == sorted(thickness) and clips_of(tmp_path / "out")[0]["largest"]["frame"] == 11


def test_a_bad_file_leaves_an_unreliable_frame(measure, tmp_path):
    for number in (1, 3):
        write_picture(grey(MASK), tmp_path / f"clip/{number}.png")
    (tmp_path / "clip/2.png").write_bytes(b"no picture")
    code, stdout, stderr = measure(tmp_path / "clip", "-o", tmp_path / "out", "--clip")
    assert code == 1 and stdout.startswith("1 of 1 inputs") and stderr.count("\n") == 1 and "2.png" in stderr
    (clip,) = clips_of(tmp_path / "out")
    assert clip["unreliable_frames"] == [2] and clip["frames"][1]["reason"] == "the file cannot be used"
    rows = frames_of(tmp_path / "out")
    assert [row["status"] for row in rows] == ["ok", "error", "ok"] and rows[1]["file"].endswith("2.png")
    assert rows[0]["thickness_px"] and not rows[1]["thickness_px"] and "2.png" in rows[1]["error"]


def test_sectors_and_probabilities_by_name(measure, tmp_path):
    half = SECTOR.copy()
    half[:, 40:] = False
    for name, probability in (("sure", 250), ("unsure", 140)):
        write_picture(grey(MASK), tmp_path / f"masks/{name}.png")
        write_picture(grey(half | MASK), tmp_path / f"sectors/{name}.png")
        write_picture(np.where(MASK, probability, 0).astype(np.uint8), tmp_path / f"probabilities/{name}.png")
    out = tmp_path / "out"
    folders = ["--sectors", tmp_path / "sectors", "--probabilities", tmp_path / "probabilities"]
    assert measure(tmp_path / "masks", "-o", out, *folders)[0] == 0
    sure, unsure = frames_of(out)
    assert float(sure["sector_share"]) == pytest.approx(480 / (2400 + 8 * 30), abs=1e-4)
    assert (sure["reliable"], unsure["reliable"]) == ("1", "0") and "uncertain" in unsure["reason"]

    (tmp_path / "sectors/unsure.png").unlink()
    code, stdout, stderr = measure(tmp_path / "masks", "-o", out, *folders)
    assert code == 1 and stdout.startswith("1 of 2") and "there is no sector of the name unsure" in stderr
    code, _, stderr = measure(tmp_path / "masks", "-o", out, "--sectors", tmp_path / "nowhere")
    assert code == 2 and "nowhere: no such file or folder" in stderr
    write_picture(grey(MASK), tmp_path / "others/sure.png")
    code, _, stderr = measure(tmp_path / "masks", tmp_path / "others", "-o", out, *folders)
    assert code == 2 and f"{tmp_path / 'others/sure.png'}: has the name of {tmp_path / 'masks/sure.png'}" in stderr


def test_a_segmentation_with_its_source(measure, tmp_path, monkeypatch):
    seg, source = tmp_path / "seg.dcm", tmp_path / "clip.dcm"
    for path in (seg, source):
        path.write_bytes(bytes(128) + b"DICM")
    asked = []

    def read(path, sources):
        asked.append((path, list(sources)))
        return np.stack([MASK, MASK & False]), (0.5, 0.25), (1, 2)

    monkeypatch.setattr(pe_monai.dicom.segmentation_reader, "read_segmentation", read)
    code, _, stderr = measure(seg, "-o", tmp_path / "out", "--source", source)
    assert (code, stderr) == (0, "") and asked == [(seg, [str(source)])]
    (clip,) = clips_of(tmp_path / "out")
    assert clip["largest"]["thickness_mm"] == pytest.approx(4, abs=0.15) and len(clip["frames"]) == 2
    code, _, stderr = measure(seg, "-o", tmp_path / "out")
    assert code == 2 and "name the ultrasound object that it was made from with --source" in stderr

    def refuse(path, sources):
        raise FrameError(f"{path}: it refers to none of the 1 source objects given.")

    monkeypatch.setattr(pe_monai.dicom.segmentation_reader, "read_segmentation", refuse)
    assert measure(seg, "-o", tmp_path / "out", "--source", source)[0] == 2


def test_what_is_no_mask(measure, tmp_path):
    frame = phantom_frame(2, thickness_mm=10)
    write_picture(frame.image, tmp_path / "frame.png")
    write_picture(frame.image[..., 0], tmp_path / "grey.png")
    write_picture(grey(frame.mask), tmp_path / "mask.png")
    save_nifti(tmp_path / "cut.nii.gz", np.stack([MASK] * 5))
    cut = (tmp_path / "cut.nii.gz").read_bytes()
    (tmp_path / "cut.nii.gz").write_bytes(cut[: len(cut) // 2])
    code, stdout, stderr = measure(tmp_path, tmp_path / "absent", "-o", tmp_path / "out")
    assert code == 1 and stdout.startswith("1 of 5 inputs")
    lines = stderr.splitlines()
    assert len(lines) == 4 and all(line.startswith("pe_monai measure: ") for line in lines)
    for text in ("frame.png: is no mask, it has colours", "grey.png: is no mask, it has many shades", "cut.nii.gz: "):
        assert any(text in line for line in lines)
    assert [row["status"] for row in frames_of(tmp_path / "out")] == ["ok", *["error"] * 4]


def test_nothing_measured(measure, tmp_path):
    code, stdout, stderr = measure(tmp_path / "absent.png", "-o", tmp_path / "out")
    assert code == 2 and "absent.png: no such file or folder" in stderr and stdout.startswith("0 of 1")


def test_output_is_whole_or_not_at_all(measure, tmp_path, monkeypatch):
    write_picture(grey(MASK), tmp_path / "a.png")
    (tmp_path / "taken").write_text("a file")
    code, _, stderr = measure(tmp_path / "a.png", "-o", tmp_path / "taken")
    assert code == 2 and stderr.count("\n") == 1 and "taken" in stderr
    assert measure(tmp_path / "a.png", "-o", tmp_path / "out")[0] == 0
    before = (tmp_path / "out/measurements.json").read_text()
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    assert measure(tmp_path / "a.png", "-o", tmp_path / "out", "--spacing", "1", "1")[0] == 2
    assert (tmp_path / "out/measurements.json").read_text() == before
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == FILES


@pytest.mark.parametrize("value", ["0", "-1", "x", "nan", "300"])
def test_absurd_spacings_are_refused(measure, tmp_path, value, capsys):
    with pytest.raises(SystemExit) as stop:
        measure(tmp_path, "-o", tmp_path / "out", "--spacing", value, "1")
    assert stop.value.code == 2 and "must be a distance of 0.01 to 10 mm" in capsys.readouterr().err


def test_every_scale_can_be_chosen(measure, tmp_path):
    import argparse

    parser = argparse.ArgumentParser()
    add_arguments(parser)
    (scale,) = (action for action in parser._actions if action.dest == "scale")
    assert tuple(scale.choices) == tuple(SCALES)
    write_picture(grey(MASK), tmp_path / "a.png")
    measure(tmp_path / "a.png", "-o", tmp_path / "out", "--scale", "acep", "--spacing", "1.5", "1.5")
    assert clips_of(tmp_path / "out")[0]["grade"] == "large (ACEP)"
