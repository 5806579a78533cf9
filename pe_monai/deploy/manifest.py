# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What a run of the application was: versions, model, counts, time."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pe_monai.results import provenance
from pe_monai.whole import write_text_whole

if TYPE_CHECKING:
    from pe_monai.predictor import Predictor

PACKAGES = ("monai-deploy-app-sdk", "holoscan-cu13", "pydicom", "highdicom")
NAME = "manifest.json"


def write_manifest(
    folder: Path,
    predictor: Predictor,
    model: Mapping[str, str],
    counts: Mapping[str, int],
    seconds: Mapping[str, float],
) -> Path:
    """Write ``manifest.json``.

    Args:
        folder: where to.
        predictor: what outlined.
        model: name and SHA-256 of the file it was loaded from.
        counts: of studies, clips and errors.
        seconds: by step of the graph, and in all.
    """
    content: dict[str, Any] = provenance(predictor)
    content["versions"] |= {name: _version(name) for name in PACKAGES}
    content |= {
        "model": dict(model),
        "counts": dict(counts),
        "seconds": {step: round(value, 3) for step, value in seconds.items()},
    }
    text = json.dumps(content, indent=2) + "\n"
    return write_text_whole(folder / NAME, text)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
