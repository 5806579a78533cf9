# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""An export is whole and right or not there; what is opened is what was written, from the weights of the bundle."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from pe_monai.cli import main
from pe_monai.data import phantom_frame
from pe_monai.errors import ExportError
from pe_monai.predictor import Predictor
from pe_monai.runtimes import convert, open_export, read_manifest, start_session
from pe_monai.runtimes import export as export_module
from pe_monai.runtimes.export import export_network
from pe_monai.runtimes.exported import MODEL_FILES
from pe_monai.weights import sha256_of

FRAMES = [phantom_frame(seed, thickness_mm=15).image for seed in range(3)]
MODULES = {"torchscript": "torch", "onnx": "onnxruntime", "openvino": "openvino"}


def files_below(folder):
    return sorted(path.name for path in folder.rglob("*"))


def leave_out(folder, name):
    manifest = read_manifest(folder)
    del manifest["files"][name]
    (folder / "export.json").write_text(json.dumps(manifest))
    (folder / name).write_text("[]")


@pytest.mark.parametrize("kind", MODEL_FILES)
def test_an_export_is_opened_and_gives_the_masks_of_pytorch(kind, plain, small_bundle, export_once):
    pytest.importorskip(MODULES[kind])
    manifest, folder = export_once(kind)
    assert files_below(folder.parent) == sorted(
        ["export", "export.json", "inference.json", "metadata.json", *MODEL_FILES[kind]]
    )
    assert manifest == read_manifest(folder) and manifest["agreement"]["max_logit_difference"] <= 1e-4
    assert manifest["files"] == {name: sha256_of(folder / name) for name in manifest["files"]}
    assert manifest["weights_sha256"] == plain.weights_sha256
    other = Predictor(small_bundle, "cpu", overrides={"amp": False}, runtime=folder)
    assert other.settings["runtime"] == f"{kind} fp32" and "export" not in plain.settings
    assert all(f"{name} {manifest['files'][name][:12]}" in other.settings["export"] for name in MODEL_FILES[kind])
    for one, two in zip(plain.predict(FRAMES), other.predict(FRAMES), strict=True):
        assert one.mask.any() and (one.mask != two.mask).mean() < 1e-4
        np.testing.assert_allclose(one.probability, two.probability, atol=1e-4)


def test_the_file_carries_its_metadata(plain, exported):
    extra = {"metadata.json": "", "inference.json": "", "weights_sha256": ""}
    torch.jit.load(exported / "model.ts", _extra_files=extra)
    metadata = json.loads(extra["metadata.json"])
    assert metadata["network_data_format"] and metadata["intended_use"]
    assert json.loads(extra["inference.json"])["network_def"]
    assert extra["weights_sha256"].decode() == plain.weights_sha256


def test_onnx_carries_its_metadata(plain, export_once):
    onnx = pytest.importorskip("onnx")
    _, folder = export_once("onnx")
    properties = {p.key: p.value for p in onnx.load(folder / "model.onnx").metadata_props}
    assert properties["weights_sha256"] == plain.weights_sha256 and json.loads(properties["metadata.json"])


def test_an_export_that_is_off_is_not_kept(plain, tmp_path, monkeypatch):
    fold = export_module.fold_batch_norm

    def wrong(network):
        folded = fold(network)
        folded.head.bias.data += 0.01
        return folded

    monkeypatch.setattr(export_module, "fold_batch_norm", wrong)
    with pytest.raises(ExportError, match="differ from PyTorch's by 0.01"):
        export_network(plain, "torchscript", "fp32", tmp_path / "new")
    assert files_below(tmp_path) == []


def test_an_earlier_export_is_replaced_and_nothing_else(plain, exported, tmp_path, monkeypatch):
    folder = tmp_path / "export"
    shutil.copytree(exported, folder)
    (folder / "inference.json").write_text("stale")
    (tmp_path / ".partial-9999999-export").mkdir()  # of a run that was killed
    export_network(plain, "torchscript", "fp32", folder)
    assert (
        (folder / "inference.json").read_text() != "stale"
        and read_manifest(folder)
        and list(tmp_path.iterdir()) == [folder]
    )
    monkeypatch.setattr(export_module, "_compare", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        export_network(plain, "torchscript", "fp32", folder)
    assert read_manifest(folder) and files_below(tmp_path)[0] != ".partial"
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").touch()
    with pytest.raises(ExportError, match="no earlier export"):
        export_network(plain, "torchscript", "fp32", mine)
    assert files_below(mine) == ["thesis.txt"]


def test_an_export_within_an_earlier_one_is_not_deleted_with_it(plain, exported, tmp_path):
    shutil.copytree(exported, tmp_path / "export")
    shutil.copytree(exported, tmp_path / "export" / "bf16")
    before = files_below(tmp_path)
    with pytest.raises(ExportError, match="holds bf16"):
        export_network(plain, "torchscript", "fp32", tmp_path / "export")
    assert files_below(tmp_path) == before


def test_an_export_that_is_not_a_number_in_some_size_is_not_kept(plain, tmp_path, monkeypatch):
    opened = export_module.open_export

    def open_broken(*given):
        session = opened(*given)
        return lambda images: session(images) * (torch.nan if len(images) == 3 else 1)

    monkeypatch.setattr(export_module, "open_export", open_broken)
    with pytest.raises(ExportError, match="differ from PyTorch's by nan"):
        export_network(plain, "torchscript", "fp32", tmp_path / "new")
    assert files_below(tmp_path) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is full")
def test_a_full_disk_is_one_line_and_no_end_of_the_process(small_bundle, tmp_path):
    """PyTorch ends the process from within where it cannot write to a path."""
    code = (
        "import sys; from pe_monai.cli import main\n"
        "from pe_monai.runtimes import export\n"
        "export.MODEL_FILES = {'torchscript': ('/dev/full',)}\n"
        f"sys.exit(main(['export', '--bundle', {str(small_bundle)!r}, '--format', 'torchscript', '-o', 'new']))"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert run.returncode == 2, run.stderr
    assert run.stderr.splitlines()[-1].startswith("pe_monai export: error: No space left on device")
    assert files_below(tmp_path) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is full")
def test_openvino_on_a_full_disk_is_told_as_that(plain, tmp_path, monkeypatch):
    openvino = pytest.importorskip("openvino")
    save = openvino.save_model

    def save_on_full_disk(model, path, **options):
        for suffix in (".xml", ".bin"):
            Path(path).with_suffix(suffix).symlink_to("/dev/full")
        save(model, path, **options)

    monkeypatch.setattr(openvino, "save_model", save_on_full_disk)
    with pytest.raises(ExportError, match="cannot write there .* is the disk full"):
        export_network(plain, "openvino", "fp32", tmp_path / "new")
    assert files_below(tmp_path) == []


def test_an_earlier_export_stays_where_it_cannot_be_replaced(plain, exported, tmp_path, monkeypatch):
    shutil.copytree(exported, tmp_path / "export")
    before = files_below(tmp_path)
    monkeypatch.chdir(tmp_path / "export")
    with pytest.raises(ExportError, match="is the present folder"):
        export_network(plain, "torchscript", "bf16", ".")
    assert files_below(tmp_path) == before and read_manifest(".")


def test_a_link_to_an_earlier_export_stays_a_link(plain, exported, tmp_path):
    shutil.copytree(exported, tmp_path / "export")
    (tmp_path / "link").symlink_to("export")
    before = files_below(tmp_path)
    export_network(plain, "torchscript", "bf16", tmp_path / "link")
    assert read_manifest(tmp_path / "export")["precision"] == "bf16"
    assert files_below(tmp_path) == before and (tmp_path / "link").is_symlink()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda folder: (folder / "model.ts").write_bytes(b"x" + (folder / "model.ts").read_bytes()[1:]), "SHA-256"),
        (lambda folder: (folder / "metadata.json").write_text("{}"), "SHA-256"),
        (lambda folder: (folder / "model.ts").unlink(), "missing"),
        (lambda folder: (folder / "export.json").write_text("{"), "cannot be read"),
        (lambda folder: (folder / "export.json").write_text('{"format": "zip"}'), "cannot be read"),
        (lambda folder: (folder / "export.json").unlink(), "no exported network"),
        (lambda folder: leave_out(folder, "inference.json"), "names no model"),
    ],
)
def test_a_damaged_export_is_refused(damage, words, exported, tmp_path):
    folder = tmp_path / "export"
    shutil.copytree(exported, folder)
    damage(folder)
    with pytest.raises(ExportError, match=words):
        open_export(folder)


def test_an_export_of_other_weights_is_refused(exported):
    with pytest.raises(ExportError, match="the bundle has 000000000000"):
        open_export(exported, "0" * 64)


def test_an_export_of_another_network_is_refused(small_bundle, exported, tmp_path):
    bundle = tmp_path / "bundle"
    shutil.copytree(small_bundle, bundle)
    config = bundle / "configs" / "inference.json"
    config.write_text(config.read_text().replace('"leakyrelu"', '"relu"'))
    with pytest.raises(ExportError, match="another network_def"):
        Predictor(bundle, "cpu", runtime=exported)


@pytest.mark.parametrize(
    ("kind", "precision", "words"),
    [
        ("caffe", "fp32", "give one of torchscript"),
        ("onnx", "bf16", "give one of fp32, int8"),
        ("torchscript", "int8", "give one of fp32, bf16"),
    ],
)
def test_what_cannot_be_exported(kind, precision, words, plain, tmp_path):
    with pytest.raises(ExportError, match=words):
        export_network(plain, kind, precision, tmp_path / "new")
    assert files_below(tmp_path) == []


def test_int8_needs_frames(plain, tmp_path):
    pytest.importorskip("nncf")
    with pytest.raises(ExportError, match="--calibration"):
        export_network(plain, "openvino", "int8", tmp_path / "new")


def test_a_runtime_that_is_not_installed(plain, monkeypatch, caplog):
    def absent(name):
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(convert.importlib, "import_module", absent)
    start = plain.network, plain.prepare(FRAMES[0]), torch.device("cpu")
    for runtime in ("onnx", "openvino"):
        with pytest.raises(ExportError, match=r"pip install 'pe_monai\[runtimes\]'"):
            start_session(runtime, *start)
    assert start_session("auto", *start) is None
    assert "PyTorch is used" in caplog.text and "openvino" in caplog.text
    with pytest.raises(ExportError, match="auto, torch, onnx, openvino"):
        start_session("tensorrt", *start)


def test_a_size_that_the_export_cannot_take(plain, monkeypatch):
    openvino = pytest.importorskip("openvino")
    from pe_monai.runtimes.session import openvino_session

    model = convert.to_openvino(plain.network, torch.rand(1, 1, 64, 96))
    model.reshape({convert.INPUT: [1, 1, 64, 96]})
    session = openvino_session(model, "fp32")
    assert session(torch.rand(1, 1, 64, 96)).shape == (1, 1, 64, 96) and openvino
    with pytest.raises(ExportError, match="images of 32 x 32 pixels with 1 channels"):
        session(torch.rand(1, 1, 32, 32))


def test_the_command(small_bundle, tmp_path, capsys):
    folder = tmp_path / "export"
    given = ["export", "--bundle", str(small_bundle), "--format", "torchscript", "-o", str(folder)]
    assert main(given) == 0
    assert "max logit difference" in capsys.readouterr().out
    frames = tmp_path / "frames"
    frames.mkdir()
    from pe_monai.data import write_picture

    write_picture(FRAMES[0], frames / "a.png")
    segment = ["segment", str(frames), "-o", str(tmp_path / "out"), "--bundle", str(small_bundle), "--device", "cpu"]
    assert main([*segment, "--runtime", str(folder)]) == 0
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["settings"]["runtime"] == "torchscript fp32"
    (folder / "model.ts").write_bytes(b"damaged")
    assert main([*segment, "--runtime", str(folder)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_frames_are_read_no_faster_than_they_are_used(plain):
    """So that the memory a clip takes does not grow with its length."""
    taken, ahead = 0, []

    def clip():
        nonlocal taken
        for number in range(40):
            taken += 1
            yield FRAMES[number % 3]

    for used, _ in enumerate(plain.predict_clip(clip())):
        ahead.append(taken - used)
    assert max(ahead) <= 2 * plain.batch_size and taken == 40


def test_the_shipped_weights_are_exported_in_fp32(tmp_path):
    # whose logits are farther from float64 in PyTorch's own fp32 than 1e-4
    agreement = export_network(Predictor(device="cpu"), "torchscript", "fp32", tmp_path / "fp32")["agreement"]
    assert agreement["max_logit_difference"] <= max(1e-4, 4 * agreement["torch_from_float64"])
    assert agreement["mean_probability_error"] < 1e-6


@pytest.mark.slow
@pytest.mark.realdata
@pytest.mark.parametrize("kind", ["onnx", "openvino"])
def test_int8_of_the_shipped_weights_keeps_the_dice_of_real_frames(kind, real_root, tmp_path):
    pytest.importorskip("nncf")
    agreement = export_network(Predictor(device="cpu"), kind, "int8", tmp_path / "int8", real_root)["agreement"]
    assert agreement["frames"] == 228
    assert agreement["mean_dice"] > agreement["mean_dice_of_torch"] - 0.003


def test_what_else_lies_in_an_export_is_not_deleted_with_it(plain, tmp_path):
    folder = tmp_path / "export"
    export_network(plain, "torchscript", "fp32", folder)
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(ExportError, match="holds notes.txt, which would be deleted"):
        export_network(plain, "torchscript", "fp32", folder)
    assert (folder / "notes.txt").read_text() == "mine"
