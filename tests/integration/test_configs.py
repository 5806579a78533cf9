# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The bundle's configs: what must agree agrees, and MONAI's own checks of a bundle pass."""

from __future__ import annotations

import copy
import json
import re
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser, ConfigWorkflow
from monai.data import load_net_with_metadata
from small_bundle import run_python

from pe_monai import __version__
from pe_monai.data import phantom_frame
from pe_monai.paths import bundle_dir, configs_dir
from pe_monai.predictor import Predictor
from pe_monai.weights import sha256_of

CONFIGS = bundle_dir() / "configs"
REQUIRED = (
    "LICENSE",
    "configs/metadata.json",
    "configs/train.json",
    "configs/inference.json",
    "configs/evaluate.json",
    "configs/multi_gpu_train.json",
    "configs/logging.conf",
    "docs/data_license.txt",
)
LATER = ("docs/README.md", "models/model.pt", "models/model.pt.sha256", "models/model.ts")


@pytest.fixture(scope="module")
def configs() -> dict[str, dict]:
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in CONFIGS.glob("*.json")}


@pytest.fixture(scope="module")
def metadata(configs) -> dict:
    return configs["metadata"]


def value(configs: dict, *path: str):
    """A part of a config as it is written, whether nested or under an id with #."""
    parser = ConfigParser(configs)
    for name, content in configs.items():
        if "#" in name:
            parser[name] = content
    return parser["#".join(path)]


def by_target(transforms: list[dict]) -> list[dict]:
    return [
        {"_target_": t["_target_"].rpartition(".")[2], **{k: v for k, v in t.items() if k != "_target_"}}
        for t in transforms
    ]


def without_label(transforms: list[dict]) -> list[dict]:
    """Declared transforms of all keys but the label, each of single keys where one key is left."""
    kept = []
    for transform in by_target(transforms):
        keys = [transform["keys"]] if isinstance(transform["keys"], str) else list(transform["keys"])
        image = [place for place, key in enumerate(keys) if key != "label"]
        if not image:
            continue
        for name, given in transform.items():
            if isinstance(given, list) and len(given) == len(keys) and name in ("keys", "mode", "orig_keys"):
                chosen = [given[place] for place in image]
                transform[name] = chosen[0] if len(chosen) == 1 else chosen
        kept.append(transform)
    return kept


def test_network_is_one(configs):
    assert configs["train"]["network_def"] == configs["inference"]["network_def"]
    assert configs["train"]["network"] == configs["inference"]["network"]


@pytest.mark.parametrize(
    "name", ["spatial_size", "min_share", "min_score", "temperature", "amp", "device", "bundle_root", "ckpt_path"]
)
def test_settings_are_one(configs, name):
    given = {stem: config[name] for stem, config in configs.items() if name in config and stem != "multi_gpu_train"}
    assert "inference" in given and len(given) > 1
    assert len({json.dumps(setting) for setting in given.values()}) == 1, given


def test_several_processes_start_as_one_does(configs):
    assert set(configs["train"]["initialize"]) <= set(configs["multi_gpu_train"]["initialize"])


def test_each_process_augments_by_draws_of_its_own(configs):
    rule = configs["multi_gpu_train"]["train#state#seed"]
    seeds = [ConfigParser({"seed": 7, "rank": rank, "it": rule}).get_parsed_content("it") for rank in range(3)]
    assert seeds[0] == 7 and len(set(seeds)) == 3


@pytest.mark.parametrize(("share", "dropped"), [(5, False), (9, True)])
def test_the_only_batch_of_a_process_is_kept(configs, share, dropped):
    rule = configs["multi_gpu_train"]["train#dataloader#drop_last"]
    parser = ConfigParser({"batch_size": 8, "train": {"sampler": [0] * share, "dataloader": {"drop_last": rule}}})
    assert parser.get_parsed_content("train#dataloader#drop_last") is dropped


def test_the_stock_app_answers_for_a_jpeg_with_a_mask_that_is_none(configs):
    # MONAI Label writes a mask as the frame came, and JPEG smears its zeros and ones
    assert configs["inference"]["displayable_configs"] == {"result_extension": ".png"}


def test_every_frame_has_its_own_threshold_in_inference_and_evaluation(configs):
    assert configs["evaluate"]["threshold"] == configs["inference"]["threshold"] == "dice"


def test_preprocessing_is_one(configs):
    inference = by_target(configs["inference"]["preprocessing"]["transforms"])
    load, framing = inference[:-1], inference[-1]
    assert framing["_target_"] == "FrameSectord"
    train = configs["train"]["train"]
    assert train["load_transforms"] == "$@train#read_transforms + @train#sector_transforms"
    assert configs["train"]["validate"]["load_transforms"] == "@train#load_transforms"
    assert without_label(train["read_transforms"] + train["sector_transforms"]) == load
    assert without_label(configs["train"]["validate"]["framing_transforms"])[0] == framing
    assert without_label(configs["evaluate"]["validate#framing_transforms"])[0] == framing
    train = by_target(configs["train"]["train"]["framing_transforms"])[0]
    modes = dict(zip(train["keys"], train["mode"], strict=True))
    assert (train["_target_"], train["spatial_size"], modes["image"]) == (
        "FrameSectord",
        framing["spatial_size"],
        framing["mode"],
    )


@pytest.mark.parametrize("overlays", [(), ("interactive",), ("batched",)])
def test_random_transforms_leave_the_cached_frames_as_they_are(tiny_bundle, phantom_root, overlays):
    """They are handed out of the cache without a copy."""
    parser = ConfigParser()
    parser.read_config([tiny_bundle / "configs/train.json", *(configs_dir() / f"{name}.json" for name in overlays)])
    parser.update({"dataset_dir": str(phantom_root), "batch_size": 4, "train#dataset#progress": False})
    parser["train#random_transforms"] = [{**t, "prob": 1.0} for t in parser["train#random_transforms"][:4]] + parser[
        "train#random_transforms"
    ][4:]
    dataset, loader = (parser.get_parsed_content(f"train#{name}") for name in ("dataset", "dataloader"))
    assert not dataset.copy_cache
    before = copy.deepcopy(list(dataset._cache))
    moved = [frame for batch in loader for frame in batch["image"][:, :1]]
    if "batched" not in overlays:
        assert not all(any(torch.equal(frame, item["image"]) for item in before) for frame in moved)
    for item, was in zip(dataset._cache, before, strict=True):
        assert all(torch.equal(item[key], was[key]) for key in was)


def test_postprocessing_is_one(configs):
    inference = without_label(configs["inference"]["postprocessing"]["transforms"])
    evaluate = without_label(configs["evaluate"]["validate#postprocessing"]["transforms"])
    for transform in inference + evaluate:
        if transform["_target_"] == "Invertd":
            transform.pop("transform")  # each names its own preprocessing, compared above
    last = [t["_target_"].rpartition(".")[2] for t in inference[len(evaluate) :]]
    assert last == ["SqueezeForSaveImaged", "CastToTyped"]
    assert inference[: len(evaluate)] == evaluate


def test_validation_counts_nothing_outside_the_sector(tiny_bundle, phantom_root):
    """What a network says of the black around it never reaches a mask, so it has no part in choosing the weights."""
    image = next(phantom_root.rglob("*process_img/*.png"))
    label = Path(str(image).replace("process_img", "mask"))
    parser = ConfigParser()
    parser.read_config(str(tiny_bundle / "configs" / "train.json"))
    item = parser.get_parsed_content("validate#preprocessing")({"image": str(image), "label": str(label)})
    sector = item["sector"].as_tensor() > 0
    item["pred"] = torch.full_like(item["image"], 10.0)
    out = parser.get_parsed_content("validate#postprocessing")(item)
    assert 0.1 < sector.float().mean() < 0.9
    assert torch.equal(out["pred"].as_tensor() > 0, sector.transpose(1, 2))
    assert out["label"].shape == out["pred"].shape


def test_preprocessing_gives_equal_images(tiny_bundle, phantom_root):
    """What the network sees of a frame is equal, to the bit, in validation, evaluation and inference."""
    image = next(phantom_root.rglob("*process_img/*.png"))
    label = Path(str(image).replace("process_img", "mask"))
    stacks = {"inference": ["inference"], "train": ["train"], "evaluate": ["train", "evaluate"]}
    images = []
    for name, stack in stacks.items():
        parser = ConfigParser()
        parser.read_config([str(tiny_bundle / "configs" / f"{part}.json") for part in stack])
        preprocessing = parser.get_parsed_content("preprocessing" if name == "inference" else "validate#preprocessing")
        images.append(preprocessing({"image": str(image), "label": str(label)})["image"].numpy())
    np.testing.assert_array_equal(images[0], images[1])
    np.testing.assert_array_equal(images[0], images[2])


@pytest.mark.parametrize(("name", "kind"), [("train", "train"), ("inference", "infer")])
def test_monai_finds_all_properties(tiny_bundle, phantom_root, frame_folder, tmp_path, name, kind):
    data = phantom_root if kind == "train" else frame_folder
    workflow = ConfigWorkflow(
        config_file=str(tiny_bundle / "configs" / f"{name}.json"),
        meta_file=str(tiny_bundle / "configs" / "metadata.json"),
        logging_file=False,
        workflow_type=kind,
        bundle_root=str(tiny_bundle),
        dataset_dir=str(data),
        output_dir=str(tmp_path),
        device="$torch.device('cpu')",
        **({"cache_rate": 0.0} if kind == "train" else {}),
    )
    workflow.initialize()
    assert workflow.check_properties() in ([], None)


def test_required_files_are_there():
    assert [name for name in REQUIRED if not (bundle_dir() / name).is_file()] == []


@pytest.mark.parametrize("name", LATER)
def test_files_of_a_release_are_there(name):
    if not (bundle_dir() / "models" / "model.pt").is_file():
        pytest.skip("no models/model.pt: this bundle is not trained yet")
    assert (bundle_dir() / name).is_file()


def test_metadata_names_what_the_schema_asks(metadata):
    required = ("schema", "version", "changelog", "monai_version", "pytorch_version", "numpy_version", "task")
    required += ("required_packages_version", "description", "authors", "copyright", "network_data_format", "name")
    described = ("data_source", "data_type", "image_classes", "label_classes", "pred_classes", "eval_metrics")
    described += ("intended_use", "references", "supported_apps")
    assert [name for name in required + described if name not in metadata] == []
    assert metadata["schema"] == "https://project-monai.github.io/schema/meta_schema_20240725.json"
    assert re.fullmatch(r"\d+\.\d+\.\d+", metadata["version"])
    assert metadata["version"] in metadata["changelog"]
    assert metadata["required_packages_version"]["pe_monai"] == __version__
    assert all(isinstance(version, str) for version in metadata["required_packages_version"].values())
    assert "optional_packages_version" not in metadata
    assert "not a medical device" in metadata["intended_use"]


def test_an_evaluation_knows_what_the_shipped_weights_were_trained_on(configs):
    weights = bundle_dir() / "models" / "model.pt"
    if not weights.is_file():
        pytest.skip("no models/model.pt: this bundle is not trained yet")
    assert configs["evaluate"]["trained_on"] == {sha256_of(weights): [1, 2, 3, 4, 5, 6, 7]}


def test_metadata_describes_the_network(metadata, configs):
    formats = metadata["network_data_format"]
    for side, (key, channels) in {"inputs": ("image", "in_channels"), "outputs": ("pred", "out_channels")}.items():
        described = formats[side][key]
        assert described["num_channels"] == configs["inference"]["network_def"][channels]
        assert described["spatial_shape"] == configs["inference"]["spatial_size"]
        assert described["dtype"] == "float32" and described["is_patch_data"] is False
    assert formats["inputs"]["image"]["modality"] == "US"
    assert formats["inputs"]["image"]["value_range"] == [0, 1]


@pytest.mark.parametrize("overlay", sorted(configs_dir().glob("*.json")), ids=lambda path: path.stem)
def test_overlay_changes_only_what_there_is(overlay):
    parser = ConfigParser()
    parser.read_config([str(CONFIGS / "train.json"), str(CONFIGS / "evaluate.json")])
    unknown = [name for name in ConfigParser.load_config_file(overlay) if name.partition("#")[0] not in parser]
    assert unknown == []
    parser.read_config([str(CONFIGS / "train.json"), str(overlay)])
    if overlay.stem == "smp_unet" and find_spec("segmentation_models_pytorch") is None:
        pytest.skip("segmentation_models_pytorch is not installed: pip install 'pe_monai[peers]'")
    parser.get_parsed_content("network_def")


def monai_bundle(bundle: Path, *arguments: str):
    done = run_python([sys.executable, "-m", "monai.bundle", *arguments], bundle)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done


def test_monai_verifies_net_in_out(bundle):
    files = ("--meta_file", "configs/metadata.json", "--config_file", "configs/inference.json")
    done = monai_bundle(bundle, "verify_net_in_out", "network_def", *files)
    assert "data shape of network is verified with no error" in done.stdout


def test_monai_exports_torchscript_with_equal_logits(bundle, tmp_path):
    exported = tmp_path / "model.ts"
    files = ("--ckpt_file", "models/model.pt", "--meta_file", "configs/metadata.json")
    files += ("--config_file", "configs/inference.json")
    monai_bundle(bundle, "ckpt_export", "network_def", "--filepath", str(exported), *files)
    scripted, meta, extra = load_net_with_metadata(str(exported), more_extra_files=("inference.json",))
    assert meta["network_data_format"]["inputs"]["image"]["modality"] == "US"
    assert "network_def" in json.loads(extra["inference.json"])
    network = Predictor(bundle, device="cpu").network
    images = torch.rand(2, 1, *network_size(bundle))
    with torch.inference_mode():
        torch.testing.assert_close(scripted.eval()(images), network(images), rtol=1e-4, atol=1e-4)


def network_size(bundle: Path) -> list[int]:
    return json.loads((bundle / "configs" / "inference.json").read_text())["spatial_size"]


def test_shipped_torchscript_belongs_to_the_shipped_weights(shipped_bundle):
    exported = shipped_bundle / "models" / "model.ts"
    if not exported.is_file():
        pytest.skip("no models/model.ts yet")
    scripted = torch.jit.load(exported, map_location="cpu").eval()
    frame = Predictor(shipped_bundle, device="cpu")
    item = frame._prepare(torch.from_numpy(phantom_frame(1).image.swapaxes(0, 1).copy()))
    image = torch.as_tensor(item["image"])[None].double()  # fp32 in two memory layouts differs by more than 1e-4
    with torch.inference_mode():
        expected = frame.network.double()(image)
        torch.testing.assert_close(scripted.double()(image), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", ["inference", "metadata"])
def test_shipped_torchscript_carries_the_present_configs(shipped_bundle, name):
    exported = shipped_bundle / "models" / "model.ts"
    if not exported.is_file():
        pytest.skip("no models/model.ts yet")
    _, metadata, extra = load_net_with_metadata(str(exported), more_extra_files=("inference.json",))
    config = json.loads((CONFIGS / f"{name}.json").read_text())
    carried = json.loads(extra["inference.json"]) if name == "inference" else metadata
    assert {key: carried.get(key) for key in config} == config
