# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The predictor: one mask for one frame, whatever file, background, batch or memory it comes in, and clear errors."""

from __future__ import annotations

import json
import shutil

import itk
import nibabel
import numpy as np
import pytest
import torch
from PIL import Image
from small_bundle import CHANNELS, copy_bundle

from pe_monai.data import phantom_frame, write_picture
from pe_monai.errors import BundleError, DeviceError, FrameError, WeightsError
from pe_monai.measure import frame_uncertainty
from pe_monai.networks import ImprovedUNet
from pe_monai.predictor import Prediction, Predictor
from pe_monai.weights import save_weights


def dice(one: np.ndarray, other: np.ndarray) -> float:
    total = int(one.sum()) + int(other.sum())
    return 2 * float((one & other).sum()) / total if total else 1.0


def upper_quarter(prediction: Prediction) -> np.ndarray:
    """Where the probability is highest; unlike the mask never empty, whatever the weights were trained on."""
    return prediction.sector & (prediction.probability > np.quantile(prediction.probability[prediction.sector], 0.75))


def is_lopsided(mask: np.ndarray) -> bool:
    """Whether flips and, in a square, a transposition would show."""
    return mask.any() and all(dice(mask, turned) < 0.9 for turned in (mask[:, ::-1], mask[::-1], mask.T))


@pytest.fixture
def predictor(bundle) -> Predictor:
    return Predictor(bundle, device="cpu")


@pytest.fixture(scope="module")
def frame():
    return phantom_frame(3, size=(200, 200), thickness_mm=15)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp", ".nii", ".nii.gz", ".nrrd", ".mha"])
def test_one_mask_from_any_file_and_from_memory(predictor, frame, suffix, tmp_path):
    path = tmp_path / f"frame{suffix}"
    if suffix.startswith(".nii"):
        nibabel.save(nibabel.Nifti1Image(frame.image.swapaxes(0, 1), np.diag([-0.4, -0.4, 1, 1])), path)
    elif suffix in (".nrrd", ".mha"):
        itk.imwrite(itk.image_from_array(frame.image, is_vector=True), str(path))
    else:
        Image.fromarray(frame.image).save(path)
    [(read, from_file)] = predictor.predict_files([path])
    [from_memory] = predictor.predict([frame.image])
    assert read == path
    assert is_lopsided(upper_quarter(from_memory))
    np.testing.assert_array_equal(from_file.mask, from_memory.mask)
    np.testing.assert_array_equal(from_file.frame, frame.image)
    np.testing.assert_allclose(from_file.probability, from_memory.probability, atol=1e-5)


@pytest.mark.parametrize("size", [(224, 320), (320, 224), (97, 131), (600, 800)])
def test_arrays_have_the_frames_size(predictor, size):
    phantom = phantom_frame(5, size=size, thickness_mm=15)
    [prediction] = predictor.predict([phantom.image])
    for array in (prediction.mask, prediction.probability, prediction.sector):
        assert array.shape == size
    assert (prediction.mask.dtype, prediction.probability.dtype) == (bool, np.float32)
    assert not (prediction.mask & ~prediction.sector).any()
    assert dice(prediction.sector, phantom.sector) > 0.95
    assert 0 <= prediction.score <= 1
    assert prediction.uncertainty == frame_uncertainty(prediction.probability, prediction.mask, prediction.sector)
    assert prediction.effusion_share == pytest.approx(prediction.mask.sum() / prediction.sector.sum())


def test_a_clip_is_streamed_and_a_bad_frame_keeps_its_place(predictor):
    frames = [phantom_frame(seed, thickness_mm=15).image for seed in range(3)]
    taken = []

    def clip():
        for frame in (frames[0], frames[1][:4], FrameError("frame 3: cut"), *frames[1:], *[frames[0]] * 20):
            taken.append(frame)
            yield frame

    outcomes = predictor.predict_clip(clip())
    first = next(outcomes)
    assert len(taken) < 15
    rest = list(outcomes)
    assert "frame 2: " in str(rest[0]) and str(rest[1]) == "frame 3: cut"
    assert len(rest) == 24
    for outcome, alone in zip((first, rest[2], rest[3]), predictor.predict(frames), strict=True):
        np.testing.assert_array_equal(outcome.mask, alone.mask)


@pytest.mark.parametrize("seed", [2, 7])
def test_green_and_black_background_give_one_mask(predictor, seed):
    green, black = (phantom_frame(seed, background=name, thickness_mm=15).image for name in ("green", "black"))
    one, other = predictor.predict([green, black])
    assert dice(one.mask, other.mask) >= 0.99
    assert dice(upper_quarter(one), upper_quarter(other)) >= 0.99


def test_batch_size_does_not_change_masks(bundle):
    frames = [phantom_frame(seed, thickness_mm=12).image for seed in range(5)]
    alone, together = (Predictor(bundle, "cpu", batch_size=size).predict(frames) for size in (1, 4))
    assert len(alone) == len(together) == 5
    for one, other in zip(alone, together, strict=True):
        assert dice(one.mask, other.mask) >= 0.99
        assert dice(upper_quarter(one), upper_quarter(other)) >= 0.99


def test_grey_frame_equals_rgb_of_greys(predictor):
    rgb = phantom_frame(4, background="black", thickness_mm=15).image
    grey = np.median(rgb, axis=-1).astype(np.uint8)
    flat, channel, three = predictor.predict([grey, grey[..., None], np.repeat(grey[..., None], 3, axis=-1)])
    for other in (channel, three):
        np.testing.assert_array_equal(flat.mask, other.mask)
        np.testing.assert_array_equal(flat.probability, other.probability)


def test_memory_is_left_as_it_was(predictor, frame):
    before = frame.image.copy()
    predictor.predict([frame.image, frame.image])
    np.testing.assert_array_equal(frame.image, before)


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (np.zeros((50, 60, 3)), "float64"),
        (np.zeros((50, 60, 4), np.uint8), r"\(50, 60, 4\)"),
        (np.zeros((2, 50, 60, 3), np.uint8), r"\(2, 50, 60, 3\)"),
        (np.zeros((0, 0), np.uint8), "0 x 0 pixels"),
        (np.zeros((4, 50), np.uint8), "50 x 4 pixels"),
        (np.full((64, 80), 90, np.uint8), "sector"),
    ],
)
def test_bad_array_is_named_by_its_place(tiny_bundle, frame, bad, words):
    with pytest.raises(FrameError, match=words) as caught:
        Predictor(tiny_bundle, "cpu").predict([frame.image, bad])
    assert str(caught.value).startswith("frame 1: ")
    assert "\n" not in str(caught.value)


def test_no_frames_no_predictions(tiny_bundle):
    predictor = Predictor(tiny_bundle, "cpu")
    assert predictor.predict([]) == []
    assert list(predictor.predict_files([])) == []


def test_bad_file_yields_its_error_in_its_place(tiny_bundle, frame, tmp_path):
    names = ("a.png", "missing.png", "flat.png", "b.png")
    for name in ("a.png", "b.png"):
        write_picture(frame.image, tmp_path / name)
    write_picture(np.full((64, 80), 90, np.uint8), tmp_path / "flat.png")
    outcomes = list(Predictor(tiny_bundle, "cpu", batch_size=2).predict_files(tmp_path / name for name in names))
    assert [path.name for path, _ in outcomes] == list(names)
    assert [isinstance(outcome, FrameError) for _, outcome in outcomes] == [False, True, True, False]
    for path, outcome in outcomes[1:3]:
        assert str(outcome).startswith(str(path)) and "\n" not in str(outcome)
    np.testing.assert_array_equal(outcomes[0][1].mask, outcomes[3][1].mask)


def test_threshold_is_overridden(tiny_bundle, frame):
    low, high = (Predictor(tiny_bundle, "cpu", overrides={"threshold": value}) for value in (0.2, 0.8))
    assert (low.settings["threshold"], high.settings["threshold"]) == (0.2, 0.8)
    assert low.predict([frame.image])[0].mask.sum() > high.predict([frame.image])[0].mask.sum()


@pytest.mark.parametrize("overrides", [{"treshold": 0.4}, {"threshold": 2.0}, {"network_def#nix": 1}])
def test_bad_override_is_refused(tiny_bundle, overrides):
    with pytest.raises(BundleError, match="inference.json"):
        Predictor(tiny_bundle, "cpu", overrides=overrides)


def test_bad_arguments_are_refused(tiny_bundle):
    with pytest.raises(DeviceError, match="'nix'"):
        Predictor(tiny_bundle, device="nix")
    with pytest.raises(ValueError, match="batch_size must be 1 or more, got 0"):
        Predictor(tiny_bundle, batch_size=0)


@pytest.fixture
def own_bundle(tiny_bundle, tmp_path):
    return shutil.copytree(tiny_bundle, tmp_path / "own")


def test_folder_that_is_no_bundle(tmp_path):
    with pytest.raises(BundleError, match="no configs/inference.json"):
        Predictor(tmp_path)


@pytest.mark.parametrize("text", ["{ not JSON", '{"network_def": {"_target_": "nix.Nix"}}', "[]", "{}"])
def test_broken_config(own_bundle, text):
    (own_bundle / "configs" / "inference.json").write_text(text)
    with pytest.raises(BundleError, match="inference.json: this config cannot be used") as caught:
        Predictor(own_bundle)
    assert "\n" not in str(caught.value)


def test_config_without_loading_first(own_bundle):
    file = own_bundle / "configs" / "inference.json"
    config = json.loads(file.read_text())
    del config["preprocessing"]["transforms"][0]
    file.write_text(json.dumps(config))
    with pytest.raises(BundleError, match="must begin with LoadImaged"):
        Predictor(own_bundle)


def damage(weights) -> None:
    weights.write_bytes(weights.read_bytes()[:-9] + b"tampered!")


def forge_pickle(weights) -> None:
    torch.save({"os": print}, weights)
    weights.with_name("model.pt.sha256").unlink()


def write_text(weights) -> None:
    weights.write_text("no weights")
    weights.with_name("model.pt.sha256").unlink()


def save_other_network(weights) -> None:
    save_weights(ImprovedUNet(channels=[2 * width for width in CHANNELS]), weights)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (damage, "SHA-256"),
        (forge_pickle, "no file of weights"),
        (write_text, "no file of weights"),
        (save_other_network, "another network"),
        (lambda weights: weights.unlink(), "no such weights file"),
    ],
)
def test_bad_weights(own_bundle, spoil, words):
    weights = own_bundle / "models" / "model.pt"
    spoil(weights)
    with pytest.raises(WeightsError, match=words) as caught:
        Predictor(own_bundle)
    assert str(caught.value).startswith(str(weights)) and "\n" not in str(caught.value)


def test_bundle_folder_may_have_any_name(tiny_bundle, frame, tmp_path):
    own = shutil.copytree(tiny_bundle, tmp_path / "a bundle's (ä) folder")
    assert Predictor(own, "cpu").predict([frame.image])[0].mask.any()


def test_standard_network_of_another_depth(tmp_path, frame):
    bundle = copy_bundle(tmp_path / "bundle", channels=[4, 8], spatial_size=[32, 32])
    save_weights(ImprovedUNet(channels=[4, 8], dropout=0.02, act="leakyrelu"), bundle / "models" / "model.pt")
    assert Predictor(bundle, "cpu").predict([frame.image])[0].mask.shape == (200, 200)
