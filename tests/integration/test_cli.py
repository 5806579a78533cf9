# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The command line as a user meets it: results, exit codes, one line for each thing that is wrong, no traceback."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import itk
import nibabel
import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import binary_dilation
from small_bundle import python_environment, run_python

import pe_monai.predictor
from pe_monai.cli import COMMANDS, main
from pe_monai.data import phantom_frame, write_picture
from pe_monai.weights import save_whole

MANIFEST = {"pe_monai", "intended_use", "bundle", "weights", "weights_sha256", "settings", "versions", "frames"}


@pytest.fixture(scope="module")
def phantom() -> np.ndarray:
    return phantom_frame(6, thickness_mm=15).image


@pytest.fixture
def segment(tiny_bundle, capsys):
    """Run the command; returns its exit code and what it wrote to stdout and stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(["segment", *map(str, arguments), "--bundle", str(tiny_bundle), "--device", "cpu"])
        return code, *capsys.readouterr()

    return run


def rows_of(results: Path) -> list[dict]:
    with (results / "frames.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def files_below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def read_mask(path: Path) -> np.ndarray:
    """(H, W) of a mask in any kind of file."""
    if path.suffix == ".png":
        return np.asarray(Image.open(path))
    if path.suffix == ".nrrd":
        return itk.array_from_image(itk.imread(str(path)))
    return np.asarray(nibabel.load(path).dataobj).T


def test_help_of_all_commands_does_not_load_torch():
    code = (
        "import sys\nfrom pe_monai.cli import COMMANDS, main\n"
        "for command in ([], *([name] for name in COMMANDS)):\n"
        "    try:\n        main([*command, '--help'])\n"
        "    except SystemExit as e:\n        assert e.code == 0\n"
        "assert not {'torch', 'monai', 'numpy'} & set(sys.modules)\n"
    )
    done = run_python([sys.executable, "-c", code], Path.cwd())
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("examples:") == len(COMMANDS)
    for name in COMMANDS:
        assert f"pe_monai {name}" in done.stdout


def test_files_and_folders_mixed(segment, phantom, tmp_path, tiny_bundle):
    one, two = tmp_path / "one", tmp_path / "two"
    write_picture(phantom, one / "a.png")
    write_picture(phantom[:, ::-1], one / "deep" / "er" / "a.png")
    write_picture(phantom[:150, :200], two / "a.png")
    affine = np.diag([-0.4, -0.3, 1, 1])
    nibabel.save(nibabel.Nifti1Image(phantom.swapaxes(0, 1), affine), two / "vol.nii.gz")
    itk.imwrite(itk.image_from_array(phantom, is_vector=True), str(tmp_path / "extra.nrrd"))
    out = tmp_path / "out"
    code, stdout, stderr = segment(one, two, tmp_path / "extra.nrrd", "-o", out, "--probabilities", "--save-sector")
    assert (code, stderr) == (0, "")
    assert stdout.startswith("5 of 5 inputs done")

    stems = {"a": ".png", "deep/er/a": ".png", "a-2": ".png", "vol": ".nii.gz", "extra": ".nrrd"}
    kinds = ("masks", "probabilities", "sectors")
    expected = {f"{kind}/{stem}{suffix}" for stem, suffix in stems.items() for kind in kinds}
    expected |= {f"overlays/{stem}.png" for stem in stems} | {"frames.csv", "manifest.json"}
    assert files_below(out) == expected

    full, half = phantom.shape[:2], (150, 200)
    for stem, suffix in stems.items():
        mask = read_mask(out / "masks" / f"{stem}{suffix}")
        assert mask.dtype == np.uint8 and set(np.unique(mask)) == {0, 255}
        assert mask.shape == (half if stem == "a-2" else full)
        assert np.asarray(Image.open(out / "overlays" / f"{stem}.png")).shape == (*mask.shape, 3)
    np.testing.assert_array_equal(read_mask(out / "masks/vol.nii.gz"), read_mask(out / "masks/a.png"))
    np.testing.assert_array_equal(read_mask(out / "masks/extra.nrrd"), read_mask(out / "masks/a.png"))
    np.testing.assert_allclose(nibabel.load(out / "masks/vol.nii.gz").affine, affine)

    rows = rows_of(out)
    assert [row["status"] for row in rows] == ["ok"] * 5
    assert {row["mask"] for row in rows} == {f"masks/{stem}{suffix}" for stem, suffix in stems.items()}
    for row in rows:
        mask = read_mask(out / row["mask"])
        assert (int(row["height"]), int(row["width"])) == mask.shape
        assert int(row["effusion_px"]) == (mask > 0).sum()
        assert int(row["regions"]) >= 1 and 0 <= float(row["score"]) <= 1 and row["error"] == ""
    manifest = json.loads((out / "manifest.json").read_text())
    assert set(manifest) >= MANIFEST
    assert manifest["frames"] == {"done": 5, "failed": 0}
    config = json.loads((tiny_bundle / "configs" / "inference.json").read_text())
    assert manifest["settings"]["threshold"] == config["threshold"]


@pytest.mark.parametrize("output", ["frames/results", "frames"])
def test_results_below_the_frames_are_no_frames_of_the_next_run(segment, phantom, tmp_path, output):
    write_picture(phantom, tmp_path / "frames" / "deep" / "a.png")
    for _ in range(2):
        code, stdout, stderr = segment(tmp_path / "frames", "-o", tmp_path / output, "--probabilities", "--save-sector")
        assert (code, stderr) == (0, "") and stdout.startswith("1 of 1 inputs done")
    assert len(files_below(tmp_path)) == 7
    code, stdout, _ = segment(tmp_path / output / "overlays", "-o", tmp_path / output)
    assert code == 0 and stdout.startswith("1 of 1 inputs done"), "what is named is taken"


def test_results_below_the_frames_are_known_by_another_path_and_by_their_clip(segment, phantom, tmp_path):
    frames = tmp_path / "frames"
    frames.mkdir()
    clip = [Image.fromarray(phantom), Image.fromarray(phantom)]
    clip[0].save(frames / "clip.tif", save_all=True, append_images=clip[1:])
    (tmp_path / "link").symlink_to("frames")
    for given in ("frames", "frames", "link"):
        code, stdout, stderr = segment(tmp_path / given, "-o", frames)
        assert (code, stderr) == (0, "") and stdout.startswith("1 of 1 inputs done")


def test_what_a_killed_run_left_of_clips_is_no_frame(segment, phantom, tmp_path, monkeypatch):
    clip = [Image.fromarray(phantom), Image.fromarray(phantom)]
    clip[0].save(tmp_path / "clip.tif", save_all=True, append_images=clip[1:])
    with monkeypatch.context() as patch:
        patch.setattr("pe_monai.studies.write_table_of_clips", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        assert segment(tmp_path, "-o", tmp_path / "out")[0] == 130
    assert (tmp_path / "out/clips/clip/contact_sheet.png").is_file()
    assert segment(tmp_path, "-o", tmp_path / "out")[1].startswith("1 of 1 inputs done")


@pytest.mark.parametrize("name", ["locked.png", "locked"])
def test_a_file_that_may_not_be_opened_is_one_line_and_the_rest_is_done(segment, phantom, tmp_path, monkeypatch, name):
    write_picture(phantom, tmp_path / "in" / "a.png")
    locked = tmp_path / "in" / name
    locked.write_bytes(b"what only its owner may read")
    opened = Path.open

    def refuse(path, *arguments, **options):  # rights do not keep root out
        if path == locked:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return opened(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", refuse)
    code, stdout, stderr = segment(tmp_path / "in", "-o", tmp_path / "out")
    assert code == 1 and stdout.startswith("1 of 2 inputs done")
    assert stderr.count("\n") == 1 and str(locked) in stderr


def test_overlay_shows_nothing_outside_the_sector(segment, tmp_path):
    frame = phantom_frame(8, background="black", thickness_mm=15)
    write_picture(frame.image, tmp_path / "in" / "a.png")
    assert segment(tmp_path / "in", "-o", tmp_path / "out")[0] == 0
    overlay = np.asarray(Image.open(tmp_path / "out/overlays/a.png"))
    ring = np.zeros_like(frame.sector)
    ring[5:-5, 5:-5] = ~frame.sector[5:-5, 5:-5]
    text = frame.image.max(axis=-1) > 60
    assert (text & ring).sum() > 50, "the phantom's screen has no text to hide"
    assert (overlay.max(axis=-1) > 0)[text & ring].mean() < 0.02


def test_overlay_shows_nothing_where_no_sector_stands_out(segment, tmp_path):
    screen = np.random.default_rng(0).integers(90, 200, (120, 160), dtype=np.uint8)
    Image.fromarray(screen).save(tmp_path / "a.png")
    assert segment(tmp_path / "a.png", "-o", tmp_path / "out")[0] == 0
    overlay = np.asarray(Image.open(tmp_path / "out/overlays/a.png"))
    mask = np.asarray(Image.open(tmp_path / "out/masks/a.png")) > 0
    assert not overlay[~binary_dilation(mask, iterations=3)].any()


def test_no_flip_is_one_pass_of_the_network(segment, phantom, tmp_path):
    once, mirrored, both = (tmp_path / name for name in ("once", "mirrored", "both"))
    write_picture(phantom, tmp_path / "a.png")
    write_picture(np.ascontiguousarray(phantom[:, ::-1]), tmp_path / "mirror/a.png")
    segment(tmp_path / "a.png", "-o", both, "--probabilities")
    for source, out in ((tmp_path / "a.png", once), (tmp_path / "mirror/a.png", mirrored)):
        assert segment(source, "-o", out, "--no-flip", "--probabilities")[0] == 0
        assert json.loads((out / "manifest.json").read_text())["settings"]["flip"] is False
    plain, other, mean = (np.asarray(Image.open(out / "probabilities/a.png")) / 255 for out in (once, mirrored, both))
    plain, other, mean = (np.log(p.clip(0.05, 0.95) / (1 - p.clip(0.05, 0.95))) for p in (plain, other[:, ::-1], mean))
    sure = (np.abs(plain) < 2.5) & (np.abs(other) < 2.5)
    assert np.abs(plain - other)[sure].max() > 0.2
    assert np.median(np.abs((plain + other) / 2 - mean)[sure]) < 0.05


@pytest.mark.parametrize("option", ["--no-overlays", "--threshold=0.9"])
def test_options(segment, phantom, tmp_path, option):
    write_picture(phantom, tmp_path / "a.png")
    segment(tmp_path / "a.png", "-o", tmp_path / "plain")
    assert segment(tmp_path / "a.png", "-o", tmp_path / "out", option)[0] == 0
    if option == "--no-overlays":
        assert files_below(tmp_path / "out") == {"masks/a.png", "frames.csv", "manifest.json"}
    else:
        strict, plain = (int(rows_of(tmp_path / name)[0]["effusion_px"]) for name in ("out", "plain"))
        assert strict < plain
        assert json.loads((tmp_path / "out/manifest.json").read_text())["settings"]["threshold"] == 0.9


def save_huge(path: Path, frame: np.ndarray) -> None:
    Image.new("1", (8000, 8000)).save(path)


def save_truncated(path: Path, frame: np.ndarray) -> None:
    write_picture(frame, path)
    path.write_bytes(path.read_bytes()[:20_000])


def save_text_only(path: Path, frame: np.ndarray) -> None:
    noise = np.zeros((224, 320), np.uint8)
    noise[10:14, 10:60:3] = 255
    write_picture(noise, path)


BAD = {
    "missing.png": lambda path, frame: None,
    "empty_folder": lambda path, frame: path.mkdir(),
    "zero.png": lambda path, frame: path.write_bytes(b""),
    "text.png": lambda path, frame: path.write_text("this is no picture\n" * 50),
    "text.nii.gz": lambda path, frame: path.write_text("this is no picture\n" * 50),
    "text.nrrd": lambda path, frame: path.write_text("this is no picture\n" * 50),
    "document.pdf": lambda path, frame: path.write_text("%PDF-1.4"),
    "truncated.png": save_truncated,
    "huge.png": save_huge,
    "constant.png": lambda path, frame: write_picture(np.full((224, 320), 80, np.uint8), path),
    "green.png": lambda path, frame: write_picture(np.full((224, 320, 3), (0, 255, 0), np.uint8), path),
    "no_sector.png": save_text_only,
    "nan.nii": lambda path, frame: nibabel.save(nibabel.Nifti1Image(np.full((40, 40), np.nan), np.eye(4)), path),
    "tiny.png": lambda path, frame: write_picture(frame[:8, :8], path),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line_and_the_rest_is_done(segment, phantom, tmp_path, name):
    bad = tmp_path / name
    BAD[name](bad, phantom)
    write_picture(phantom, tmp_path / "good1.png")
    write_picture(phantom, tmp_path / "good2.png")
    out = tmp_path / "out"
    code, stdout, stderr = segment(tmp_path / "good1.png", bad, tmp_path / "good2.png", "-o", out)
    assert code == 1
    assert stderr.count("\n") == 1 and str(bad) in stderr and stderr.startswith("pe_monai segment: ")
    assert stdout.startswith("2 of 3 inputs done")
    assert {row["status"] for row in rows_of(out)} == {"ok", "error"}
    results = {f"{kind}/good{number}.png" for kind in ("masks", "overlays") for number in (1, 2)}
    assert files_below(out) == results | {"frames.csv", "manifest.json"}
    assert json.loads((out / "manifest.json").read_text())["frames"] == {"done": 2, "failed": 1}


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are bytes on Linux alone")
def test_names_in_another_encoding_are_frames_like_others(segment, phantom, tmp_path):
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    write_picture(phantom, folder / "z.png")
    for name in ("积液", "心包"):  # as unzipped from an archive made on a Chinese Windows
        shutil.copy(folder / "z.png", os.fsdecode(os.fsencode(folder) + b"/" + name.encode("gbk") + b".png"))
    code, stdout, _ = segment(folder, "-o", out)
    assert (code, stdout[:18]) == (0, "3 of 3 inputs done")
    rows = rows_of(out)
    assert len({row["mask"] for row in rows}) == 3
    assert all((out / row["mask"]).is_file() for row in rows)
    masks = tmp_path / "masks"
    masks.mkdir()
    shutil.copy(out / rows[0]["mask"], os.fsdecode(os.fsencode(masks) + b"/" + "积液".encode("gbk") + b".png"))
    assert main(["measure", str(masks), "-o", str(tmp_path / "measured")]) == 0
    assert len((tmp_path / "measured" / "measured_frames.csv").read_text(encoding="utf-8").splitlines()) > 1


BAD_CLIPS = {
    "text.dcm": lambda path: path.write_text("this is no picture\n" * 50),
    "text.mp4": lambda path: path.write_text("this is no video\n" * 50),
    "volume.nii": lambda path: nibabel.save(nibabel.Nifti1Image(np.zeros((40, 40, 9)), np.eye(4)), path),
    "exam.zip": lambda path: path.write_bytes(b"PK\3\4 cut off"),
}


@pytest.mark.parametrize("name", BAD_CLIPS)
def test_bad_clips_and_objects_have_their_row_in_their_own_table(segment, phantom, tmp_path, name):
    BAD_CLIPS[name](tmp_path / name)
    write_picture(phantom, tmp_path / "good.png")
    first, *rest = [Image.fromarray(np.roll(phantom, shift, axis=1)) for shift in range(3)]
    first.save(tmp_path / "animated.gif", save_all=True, append_images=rest)
    out = tmp_path / "out"
    code, stdout, stderr = segment(tmp_path / "good.png", tmp_path / name, tmp_path / "animated.gif", "-o", out)
    assert code == 1
    assert stderr.count("\n") == 1 and str(tmp_path / name) in stderr and stderr.startswith("pe_monai segment: ")
    assert stdout.startswith("2 of 3 inputs done")
    assert [row["status"] for row in rows_of(out)] == ["ok"]
    with (out / "clips.csv").open(newline="") as file:
        assert [(row["folder"], row["status"]) for row in csv.DictReader(file)] == [
            ("clips/animated", "ok"),
            ("", "error"),
        ]
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["frames"] == {"done": 1, "failed": 0} and manifest["clips"] == {"done": 1, "failed": 1}


def test_without_the_extra_the_rest_is_done(segment, phantom, tmp_path, monkeypatch):
    write_picture(phantom, tmp_path / "good.png")
    (tmp_path / "clip.dcm").write_bytes(b"\0" * 128 + b"DICM")
    present = pe_monai.cli.segment.find_spec
    monkeypatch.setattr(pe_monai.cli.segment, "find_spec", lambda name: None if name == "highdicom" else present(name))
    code, stdout, stderr = segment(tmp_path / "good.png", tmp_path / "clip.dcm", "-o", tmp_path / "out")
    assert code == 1 and stdout.startswith("1 of 2 inputs done")
    assert stderr.count("\n") == 1 and "clip.dcm: DICOM needs pip install 'pe_monai[dicom]'" in stderr


def test_nothing_usable_is_exit_code_2(segment, tmp_path):
    code, stdout, stderr = segment(tmp_path / "nix.png", "-o", tmp_path / "out")
    assert (code, stderr.count("\n")) == (2, 1)
    assert stdout.startswith("0 of 1 inputs done")


def as_16_bit(image: Image.Image) -> Image.Image:
    return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)


@pytest.mark.parametrize(
    ("suffix", "convert"),
    [
        (".png", as_16_bit),
        (".tif", as_16_bit),
        (".png", lambda image: image.convert("RGBA")),
        (".png", lambda image: image.convert("LA")),
        (".png", lambda image: image.convert("P", palette=Image.Palette.ADAPTIVE)),
        (".tif", lambda image: image.convert("CMYK")),
        (".jpg", lambda image: image.convert("CMYK")),
        (".gif", lambda image: image.convert("P")),
    ],
)
def test_unusual_pictures_are_segmented(segment, tmp_path, suffix, convert):
    image = Image.fromarray(phantom_frame(6, background="black", thickness_mm=15).image)
    convert(image).save(tmp_path / f"odd{suffix}")
    image.save(tmp_path / "plain.png")
    code, _, stderr = segment(tmp_path / f"odd{suffix}", tmp_path / "plain.png", "-o", tmp_path / "out")
    assert (code, stderr) == (0, "")
    odd, plain = (read_mask(tmp_path / "out/masks" / f"{name}.png") > 0 for name in ("odd", "plain"))
    assert odd.shape == plain.shape
    if suffix == ".png" and convert is as_16_bit:
        assert 2 * (odd & plain).sum() / (odd.sum() + plain.sum()) > 0.99


def test_a_picture_of_black_and_white_alone_is_refused(segment, tmp_path):
    image = Image.fromarray(phantom_frame(6, background="black", thickness_mm=15).image)
    image.convert("1").save(tmp_path / "odd.png")
    image.save(tmp_path / "plain.png")
    code, _, stderr = segment(tmp_path / "odd.png", tmp_path / "plain.png", "-o", tmp_path / "out")
    assert code == 1 and "odd.png" in stderr and "two tones alone" in stderr
    assert [path.name for path in (tmp_path / "out/masks").iterdir()] == ["plain.png"]


def test_output_that_is_a_file(segment, phantom, tmp_path):
    write_picture(phantom, tmp_path / "a.png")
    (tmp_path / "out").write_text("mine")
    code, stdout, stderr = segment(tmp_path / "a.png", "-o", tmp_path / "out")
    assert (code, stdout, stderr.count("\n")) == (2, "", 1)
    assert str(tmp_path / "out") in stderr
    assert (tmp_path / "out").read_text() == "mine"


@pytest.mark.parametrize("suffix", [".png", ".nii.gz"])
def test_full_disk(segment, phantom, tmp_path, monkeypatch, suffix):
    for number in range(3):
        if suffix == ".png":
            write_picture(phantom, tmp_path / "in" / f"{number}.png")
        else:
            (tmp_path / "in").mkdir(exist_ok=True)
            nibabel.save(nibabel.Nifti1Image(phantom.swapaxes(0, 1), np.eye(4)), tmp_path / "in" / f"{number}.nii.gz")
    whole = Path.replace

    def full(self, target):
        if Path(target).name == "1.png" and "overlays" in str(target):
            raise OSError(errno.ENOSPC, "No space left on device")
        return whole(self, target)

    monkeypatch.setattr(Path, "replace", full)
    code, stdout, stderr = segment(tmp_path / "in", "-o", tmp_path / "out")
    assert (code, stderr.count("\n")) == (1, 1)
    assert f"1{suffix}" in stderr and "No space left on device" in stderr
    assert stdout.startswith("2 of 3 inputs done")
    expected = {f"masks/{number}{suffix}" for number in (0, 2)} | {f"overlays/{number}.png" for number in (0, 2)}
    assert files_below(tmp_path / "out") == expected | {"frames.csv", "manifest.json"}


def test_full_disk_at_the_end(segment, phantom, tmp_path, monkeypatch):
    write_picture(phantom, tmp_path / "a.png")

    def full(path, write):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr("pe_monai.measure.tables.write_whole", full)
    code, _, stderr = segment(tmp_path / "a.png", "-o", tmp_path / "out")
    assert (code, stderr.count("\n")) == (2, 1)
    assert "frames.csv" in stderr and "No space left on device" in stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["--threshold", "1.5"],
        ["--threshold", "0"],
        ["--threshold", "nan"],
        ["--threshold", "much"],
        ["--batch-size", "0"],
        ["--batch-size", "few"],
    ],
)
def test_bad_option_is_exit_code_2(segment, tmp_path, capsys, arguments):
    with pytest.raises(SystemExit) as caught:
        segment(tmp_path, "-o", tmp_path / "out", *arguments)
    assert caught.value.code == 2
    assert arguments[0] in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("option", ["--bundle", "--device"])
def test_bad_bundle_or_device_leaves_no_results(segment, tmp_path, phantom, option, capsys):
    write_picture(phantom, tmp_path / "a.png")
    assert main(["segment", str(tmp_path / "a.png"), "-o", str(tmp_path / "out"), option, "nix"]) == 2
    stderr = capsys.readouterr().err
    assert stderr.count("\n") == 1 and "nix" in stderr
    assert not (tmp_path / "out").exists()


def test_unexpected_error_is_one_line_and_can_be_traced(segment, tmp_path, phantom, monkeypatch):
    write_picture(phantom, tmp_path / "a.png")

    def fail(self, items):
        raise RuntimeError("out of\nmemory")

    monkeypatch.setattr(pe_monai.predictor.Predictor, "_infer", fail)
    code, _, stderr = segment(tmp_path / "a.png", "-o", tmp_path / "out")
    assert (code, stderr.count("\n")) == (2, 1)
    assert "RuntimeError: out of memory" in stderr and "PE_MONAI_TRACEBACK" in stderr
    monkeypatch.setenv("PE_MONAI_TRACEBACK", "1")
    with pytest.raises(RuntimeError, match="out of"):
        segment(tmp_path / "a.png", "-o", tmp_path / "out")


def test_in_a_pipe_there_is_no_bar_and_no_traceback(tiny_bundle, phantom, tmp_path):
    write_picture(phantom, tmp_path / "in" / "a.png")
    (tmp_path / "in" / "b.png").write_bytes(b"")
    write_picture(np.full((64, 64), 9, np.uint8), tmp_path / "in" / "c.png")
    command = [sys.executable, "-m", "pe_monai", "segment", "in", "nix", "-o", "out", "--bundle", str(tiny_bundle)]
    done = run_python(command, tmp_path)
    assert done.returncode == 1
    assert done.stdout == "1 of 4 inputs done, results in out\n"
    lines = done.stderr.splitlines()
    assert len(lines) == 3 and all(line.startswith("pe_monai segment: ") for line in lines)
    assert "\r" not in done.stderr and "%|" not in done.stderr


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_reader_who_has_seen_enough_is_no_error(tmp_path):
    ours, theirs = os.pipe()
    os.close(ours)
    command = [sys.executable, "-m", "pe_monai", *"phantom data --folds 1 --clips 1 --size 64 96".split()]
    run = subprocess.run(
        command, stdout=theirs, stderr=subprocess.PIPE, cwd=tmp_path, env=python_environment(), check=False
    )
    os.close(theirs)
    assert (run.returncode, run.stderr) == (141, b"")


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_without_a_terminal_or_a_file_to_print_to_the_work_is_done(phantom, tmp_path, tiny_bundle, monkeypatch, name):
    write_picture(phantom, tmp_path / "a.png")
    monkeypatch.setattr(sys, name, None)
    arguments = ["segment", str(tmp_path / "a.png"), "-o", str(tmp_path / "out"), "--bundle", str(tiny_bundle)]
    assert main(arguments) == 0
    assert (tmp_path / "out" / "masks" / "a.png").is_file()


def test_a_pipe_that_breaks_elsewhere_is_an_error(monkeypatch, capfd):
    def lose_a_process(options):
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))

    monkeypatch.setattr("pe_monai.cli.doctor.run", lose_a_process)
    assert main(["doctor"]) == 2
    assert "pe_monai doctor: error: Broken pipe" in capfd.readouterr().err


def test_on_a_terminal_there_is_a_bar(segment, phantom, tmp_path, monkeypatch):
    write_picture(phantom, tmp_path / "a.png")
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert segment(tmp_path / "a.png", "-o", tmp_path / "out")[0] == 0
    assert "1/1" in sys.stderr.getvalue() and "frame" in sys.stderr.getvalue()


def test_phantom_and_prepare(tmp_path, capsys):
    data = tmp_path / "data set"
    assert main(["phantom", str(data), "--folds", "1", "2", "--clips", "2", "--size", "64", "96"]) == 0
    assert f"frames in {data}" in capsys.readouterr().out
    assert main(["phantom", str(data)]) == 2
    assert "is not an empty folder" in capsys.readouterr().err
    assert main(["phantom", str(tmp_path / "other"), "--size", "20", "30"]) == 2
    assert "at least 48 pixels" in capsys.readouterr().err

    digests = []
    for name in ("one", "two"):
        assert main(["prepare", str(data), "-o", str(tmp_path / name), "--protocols", "clip", "exam"]) == 0
        digests.append([json.loads((tmp_path / name / f"{p}.json").read_text())["sha256"] for p in ("clip", "exam")])
        assert all(digest in capsys.readouterr().out for digest in digests[-1][:1])
    assert digests[0] == digests[1]
    (table,) = data.glob("*.xlsx")
    table.unlink()
    capsys.readouterr()
    assert main(["prepare", str(data), "-o", str(tmp_path / "no table")]) == 1
    assert sorted(path.name for path in (tmp_path / "no table").iterdir()) == ["clip.json", "paper.json"]
    assert "pe_monai prepare: exam: " in capsys.readouterr().err
    assert main(["prepare", str(tmp_path), "-o", str(tmp_path / "three")]) == 2
    stderr = capsys.readouterr().err
    assert stderr.count("\n") == 1 and str(tmp_path) in stderr


def test_doctor(tiny_bundle, tmp_path, capsys):
    assert main(["doctor", "--bundle", str(tiny_bundle)]) == 0
    stdout = capsys.readouterr().out
    digest = (tiny_bundle / "models/model.pt.sha256").read_text().split()[0]
    assert digest in stdout and "bfloat16" in stdout and "torch" in stdout and "CUDA" in stdout
    assert main(["doctor", "--bundle", str(tmp_path)]) == 1
    assert "PROBLEM" in capsys.readouterr().out


def test_doctor_knows_folders_and_packages_of_other_distributions(tiny_bundle, tmp_path, capsys, monkeypatch):
    (tmp_path / "pe_folder").mkdir()
    (tmp_path / "pe_module.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("pe_monai.cli.doctor.OPTIONAL", {"pe_folder": "for this", "pe_module": "for that"})
    assert main(["doctor", "--bundle", str(tiny_bundle)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "pe_folder     absent; for this" in lines and "pe_module     there, its version is not known" in lines


def test_demo_without_training(tiny_bundle, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(pe_monai.predictor, "bundle_dir", lambda: tiny_bundle)
    assert main(["demo", "-o", str(tmp_path / "demo"), "--no-training"]) == 0
    assert len(list((tmp_path / "demo/results/overlays").glob("*.png"))) == 6
    assert capsys.readouterr().err == ""


@pytest.mark.slow
def test_demo_learns(tiny_bundle, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(pe_monai.predictor, "bundle_dir", lambda: tiny_bundle)
    assert main(["demo", "-o", str(tmp_path / "demo")]) == 0
    with (tmp_path / "demo/training/metrics.csv").open(newline="", encoding="utf-8") as file:
        dice = [float(row["val_dice_positives"]) for row in csv.DictReader(file)]
    assert max(dice) >= 0.7
    assert f"{dice[-1]:.3f}" in capsys.readouterr().out


SMALL = ["max_epochs=1", "batch_size=4", "spatial_size=[32,48]", "network_def#channels=[4,8]", "cache_workers=1"]


def test_train_and_evaluate(phantom_root, tmp_path, capsys):
    out = tmp_path / "my training"
    assert main(["train", "--data", str(phantom_root), "-o", str(out), "--config", "phantom", "--set", *SMALL]) == 0
    captured = capsys.readouterr()
    assert str(out / "model.pt") in captured.out and "Traceback" not in captured.out + captured.err
    assert files_below(out) >= {"model.pt", "model.pt.sha256", "last.pt", "metrics.csv"}
    scores = tmp_path / "scores"
    weights = ["--weights", str(out / "model.pt"), "--set", *SMALL[2:4]]
    assert main(["evaluate", "--data", str(phantom_root), "-o", str(scores), *weights]) == 0
    assert files_below(scores) == {"frames.csv", "summary.json", "summary.md"}
    assert "# Evaluation" in capsys.readouterr().out

    assert main(["evaluate", "--data", str(phantom_root), "-o", str(tmp_path / "no"), *weights[:2]]) == 2
    assert capsys.readouterr().err.count("another network") == 1
    assert main(["evaluate", "--data", str(phantom_root), "-o", str(tmp_path / "no"), "--set", "device=cuda:99"]) == 2
    assert "device 'cuda:99' cannot be used here" in capsys.readouterr().err
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--data", "nix"], "nix: no such folder"),
        (["--data", "."], "no folder data/fold1"),
        (["--data", "DATA", "--split", "nix.json"], "nix.json: no such datalist"),
        (["--data", "DATA", "--bundle", "nix"], "no such config"),
        (["--data", "DATA", "--config", "nix"], "nix.json: no such config"),
        (["--data", "DATA", "--config", "broken.json"], "broken.json: this config cannot be read"),
        (["--data", "DATA", "--set", "max_epochs"], "write it as ID=VALUE"),
        (["--data", "DATA", "--set", "max_epoch=3"], "max_epoch: no such id"),
        (["--data", "DATA", "--set", "output_dir=elsewhere"], "output_dir: the command's own arguments set it"),
        (["--data", "DATA", "--set", "network_def#dropout=7"], "dropout must be a number"),
        (["--data", "DATA", "--set", "initial_weights=nix.pt"], "nix.pt: no such weights file"),
        (["--data", "DATA", "--config", "phantom", "--set", "learning_rate=1e30", *SMALL[1:]], "the loss is"),
        (["--data", "DATA", "--config", "phantom", "--set", "val_interval=2", *SMALL], "none of 1 epochs is validated"),
        (["--data", "DATA", "--set", "device=cuda:99"], "device 'cuda:99' cannot be used here"),
        (["--data", "DATA", "--set", "max_epochs=0"], "max_epochs is 0; give a whole number"),
        (["--data", "DATA", "--set", "batch_size=-2"], "batch_size is -2; give a whole number"),
        (["--data", "DATA", "--set", "val_interval=0.5"], "val_interval is 0.5; give a whole number"),
        (["--data", "DATA", "--set", "learning_rate=-1"], "learning_rate is -1; give a number above 0"),
        (["--data", "DATA", "--set", "learning_rate=nan"], "learning_rate is 'nan'; give a number above 0"),
        (["--data", "DATA", "--set", "weight_decay=-0.1"], "weight_decay is -0.1; give 0"),
        (["--data", "DATA", "--set", "seed=today"], "seed is 'today'; give a whole number"),
    ],
)
def test_train_says_what_is_wrong_in_one_line(phantom_root, tmp_path, capsys, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    Path("broken.json").write_text("{ no JSON")
    arguments = [str(phantom_root) if argument == "DATA" else argument for argument in arguments]
    assert main(["train", "-o", "out", *arguments]) == 2
    stderr = capsys.readouterr().err
    assert [line for line in stderr.splitlines() if line.startswith("pe_monai train: error: ") and words in line]
    assert "Traceback" not in stderr
    assert not Path("out", "model.pt").exists()


def test_weights_of_an_earlier_training_are_not_told_as_those_of_this_one(phantom_root, tmp_path, capsys):
    save_whole({}, tmp_path / "out" / "model.pt")
    before = (tmp_path / "out" / "model.pt").read_bytes()
    never = ["val_interval=$1+1", *SMALL]  # which is known only when the training runs
    arguments = ["--data", str(phantom_root), "--config", "phantom", "--set", *never]
    assert main(["train", "-o", str(tmp_path / "out"), *arguments]) == 2
    assert "no epoch was validated" in (told := capsys.readouterr().err) and "of an earlier training" in told
    assert (tmp_path / "out" / "model.pt").read_bytes() == before


def test_python_m_pe_monai_and_its_version():
    done = run_python([sys.executable, "-m", "pe_monai", "--version"], Path.cwd())
    assert done.returncode == 0 and done.stdout.startswith("pe_monai ")
    assert run_python([sys.executable, "-m", "pe_monai"], Path.cwd()).returncode == 2
