# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Rows of the study's tables: a row is a recipe, the bundle's training config with overlays stacked on it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from pe_monai import __version__
from pe_monai.errors import BundleError
from pe_monai.experiment.peers import SMP_ROW, require_smp
from pe_monai.paths import bundle_dir, configs_dir

BUNDLE_ROW = "bundle"
BASE = "paper_improved"
SWITCHES = ("padding", "norm", "dropout", "act", "downsample", "upsample", "multi_scale")
GROUPS = {
    "table1": ("paper_baseline", BASE),
    "ablations": (BASE, *(f"{BASE}+ablate_{switch}" for switch in SWITCHES), f"{BASE}+instance_norm"),
    "empty_frames": (f"{BASE}+positives_only", BASE),
    "peers": (BUNDLE_ROW, "basic_unet", "flexible_unet", "seg_resnet", SMP_ROW),
}
BUDGETS = ("small", "full", "none")
TITLES = {
    "paper_baseline": "U-Net, the paper's baseline",
    "paper_improved": "improved U-Net, the paper's",
    BUNDLE_ROW: "the bundle's recipe",
    "ablate_padding": "zero padding",
    "ablate_norm": "no batch normalisation",
    "ablate_dropout": "no dropout",
    "ablate_act": "ReLU",
    "ablate_downsample": "max pooling",
    "ablate_upsample": "transposed convolution",
    "ablate_multi_scale": "no multi-scale block",
    "instance_norm": "instance normalisation",
    "positives_only": "trained on frames with effusion only",
    "wide": "64 to 1,024 channels",
    "basic_unet": "MONAI BasicUNet",
    "flexible_unet": "MONAI FlexibleUNet, ResNet-18",
    "seg_resnet": "MONAI SegResNet",
    SMP_ROW: "segmentation_models_pytorch U-Net, ResNet-18",
}


@dataclass(frozen=True)
class Row:
    """A recipe.

    Attributes:
        name: names of the overlays, joined by "+"; "bundle" for none.
        overlays: their files, in the order they are stacked.
    """

    name: str
    overlays: tuple[Path, ...]

    @property
    def title(self) -> str:
        """The recipe in words."""
        return ", ".join(TITLES.get(part, part) for part in self.name.split("+"))

    def configs(self, *bundle_configs: str, budget: Path | None = None) -> list[Path]:
        """Files to stack: configs of the bundle, such as "train.json", then the overlays, then the budget's."""
        files = [bundle_dir() / "configs" / name for name in bundle_configs] + list(self.overlays)
        return files if budget is None else [*files, budget]


def find_rows(names: Sequence[str]) -> list[Row]:
    """The rows that a user names: "bundle", overlays joined by "+", or a group of rows; each once.

    Raises:
        BundleError: there is no such overlay.
    """
    wanted = dict.fromkeys(name for given in names for name in GROUPS.get(given, (given,)))
    return [Row(name, tuple(_find(part) for part in name.split("+") if part != BUNDLE_ROW)) for name in wanted]


def find_budget(name: str) -> Path | None:
    """Overlay of a budget: "small", "full", "none" for the recipe's own, or a JSON file.

    Raises:
        BundleError: there is no such budget.
    """
    if name == "none":
        return None
    given = Path(name)
    if given.suffix == ".json" and given.is_file():
        return given.resolve()
    if name not in BUDGETS:
        raise BundleError(f"budget {name!r}: name one of {', '.join(BUDGETS)}, or a JSON file.")
    return configs_dir() / f"{name}_budget.json"


def require_packages(row: Row) -> None:
    """Find out whether the packages that a row takes beside this one can be used.

    Raises:
        BundleError: one of them cannot.
    """
    if SMP_ROW in row.name.split("+"):
        require_smp()


def read_stack(files: Sequence[Path]) -> ConfigParser:
    """The stacked configs.

    Raises:
        BundleError: one of them cannot be read.
    """
    parser = ConfigParser()
    for file in files:
        try:
            parser.update(parser.load_config_file(str(file)))
        except (ValueError, OSError) as e:
            raise BundleError(f"{file}: this config cannot be read ({e}); it must be JSON.") from e
    return parser


def unknown_ids(files: Sequence[Path], names: Iterable[str]) -> list[str]:
    """Those of the names, such as ``network_def#dropout``, that the stacked configs have no id for.

    Raises:
        BundleError: one of the configs cannot be read.
    """
    config = read_stack(files)
    return [name for name in names if name.partition("#")[0] not in config]


def why_unvalidated(files: Sequence[Path], settings: Mapping[str, Any]) -> str:
    """Why no epoch of a training would be validated, so that it kept no weights; empty where one is.

    Raises:
        BundleError: one of the configs cannot be read.
    """
    config = read_stack(files)
    interval, epochs = (settings.get(name, config.get(name)) for name in ("val_interval", "max_epochs"))
    if not (isinstance(interval, int) and isinstance(epochs, int) and interval > epochs > 0):
        return ""
    return f"with val_interval {interval} none of {epochs} epochs is validated; set it to at most max_epochs."


def settings_hash(files: Sequence[Path], settings: Mapping[str, Any]) -> str:
    """SHA-256 of all that a run depends on: contents of its configs, settings, and this package's version."""
    contents = [ConfigParser.load_config_file(str(file)) for file in files]
    text = json.dumps([__version__, contents, dict(settings)], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _find(part: str) -> Path:
    file = configs_dir() / f"{part}.json"
    if not part or "/" in part or "\\" in part or not file.is_file():
        known = sorted(path.stem for path in configs_dir().glob("*.json"))
        raise BundleError(
            f"row {part!r}: no such overlay; name {BUNDLE_ROW}, one of {', '.join(known)}, several joined by +, or a "
            f"group: {', '.join(GROUPS)}."
        )
    return file
