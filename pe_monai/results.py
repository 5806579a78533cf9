# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The folder of results of a batch of frames: masks, overlays, a table, and the manifest."""

from __future__ import annotations

import csv
import json
import platform
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from skimage.measure import label as label_regions

from pe_monai import __version__
from pe_monai.data import FrameFile, write_map, write_picture, write_whole
from pe_monai.errors import FrameError
from pe_monai.predictor import Prediction, Predictor
from pe_monai.report.drawing import draw_frame

COLUMNS = (
    "file",
    "mask",
    "status",
    "width",
    "height",
    "effusion_px",
    "effusion_share_of_sector",
    "regions",
    "score",
    "uncertainty",
    "error",
)


def provenance(predictor: Predictor) -> dict:
    """What results depend on: versions, bundle, hash of the weights, settings."""
    import monai
    import torch

    return {
        "pe_monai": __version__,
        "intended_use": "research use only, not a medical device",
        "bundle": predictor.bundle.name,
        "weights": predictor.weights_path.name,
        "weights_sha256": predictor.weights_sha256,
        "settings": {**predictor.settings, "batch_size": predictor.batch_size, "device": str(predictor.device)},
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "monai": monai.__version__,
            "numpy": np.__version__,
        },
    }


def write_manifest(folder: Path, predictor: Predictor, counts: Mapping[str, Mapping[str, int]], seconds: float) -> None:
    """Write ``manifest.json``: what results depend on, how many were done and failed, and how long it took."""
    manifest = {**provenance(predictor), **counts, "seconds": round(seconds, 3)}
    text = json.dumps(manifest, indent=2) + "\n"
    write_whole(folder / "manifest.json", lambda partial: partial.write_text(text, encoding="utf-8"))


class ResultFolder:
    """Writes ``masks/``, ``overlays/`` and, on request, ``probabilities/`` and ``sectors/``, then ``frames.csv``.
    Every file is written whole or not at all; a file that cannot be written is reported and the rest
    goes on.

    Args:
        folder: the folder; made if absent, files of the same names are replaced.
        overlays: whether to write overlays.
        probabilities: whether to write probability maps, 0 to 255.
        sectors: whether to write sectors, 0 or 255.

    Raises:
        OSError: the folder cannot be made or written to.
    """

    def __init__(
        self, folder: str | Path, overlays: bool = True, probabilities: bool = False, sectors: bool = False
    ) -> None:
        self.folder = Path(folder)
        self.overlays = overlays
        self.probabilities = probabilities
        self.sectors = sectors
        self.rows: list[dict] = []
        self.done = 0
        self.failed = 0
        write_whole(self.folder / "frames.csv", self._write_table)

    def add(self, frame: FrameFile, outcome: Prediction | FrameError) -> FrameError | None:
        """Write one frame's results; returns the error, if there is one."""
        if isinstance(outcome, FrameError):
            self.add_error(outcome, frame)
            return outcome
        written: list[Path] = []
        try:
            for kind, values in self._maps(outcome).items():
                written.append(write_map(values, self.folder / kind / frame.stem, frame.path, outcome.meta))
            if self.overlays:
                write_picture(
                    draw_frame(outcome.frame, outcome.sector, outcome.mask),
                    self.folder / "overlays" / f"{frame.stem}.png",
                )
        except (OSError, RuntimeError) as e:  # ITK raises RuntimeError where it cannot write
            for path in written:
                path.unlink(missing_ok=True)
            reason = " ".join(str(getattr(e, "strerror", None) or e).rpartition("ITK ERROR: ")[2].split())[:160]
            error = FrameError(f"{frame.path}: its results cannot be written to {self.folder} ({reason}).")
            self.add_error(error, frame)
            return error
        height, width = outcome.mask.shape
        self.done += 1
        self.rows.append(
            {
                "file": str(frame.path),
                "mask": written[0].relative_to(self.folder).as_posix(),
                "status": "ok",
                "width": width,
                "height": height,
                "effusion_px": int(outcome.mask.sum()),
                "effusion_share_of_sector": f"{outcome.effusion_share:.5f}",
                "regions": int(label_regions(outcome.mask, connectivity=2).max()),
                "score": f"{outcome.score:.4f}",
                "uncertainty": f"{outcome.uncertainty:.4f}",
            }
        )
        return None

    def add_error(self, error: FrameError, frame: FrameFile | None = None) -> None:
        """Note an input that could not be used."""
        self.failed += 1
        self.rows.append({"file": str(frame.path) if frame else "", "status": "error", "error": str(error)})

    def close(self) -> None:
        """Write the table."""
        write_whole(self.folder / "frames.csv", self._write_table)

    def _maps(self, prediction: Prediction) -> dict[str, np.ndarray]:
        maps = {"masks": prediction.mask.astype(np.uint8) * 255}
        if self.probabilities:
            maps["probabilities"] = np.rint(prediction.probability.clip(0, 1) * 255).astype(np.uint8)
        if self.sectors:
            maps["sectors"] = prediction.sector.astype(np.uint8) * 255
        return maps

    def _write_table(self, path: Path) -> None:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS, restval="")
            writer.writeheader()
            writer.writerows(self.rows)
