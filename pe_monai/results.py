# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The folder of results of a batch of frames: masks, overlays, a table, and the manifest."""

from __future__ import annotations

import csv
import json
import platform
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from skimage.measure import label as label_regions

from pe_monai import INTENDED_USE, __version__
from pe_monai.data import FrameFile, write_map, write_picture
from pe_monai.errors import FrameError
from pe_monai.measure.tables import NOT_UTF8, write_table
from pe_monai.predictor import Prediction, Predictor
from pe_monai.report.drawing import draw_frame, is_fan
from pe_monai.whole import drop_partial, write_text_whole

FOLDERS = ("masks", "overlays", "probabilities", "sectors")
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
        "intended_use": INTENDED_USE,
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
    write_text_whole(folder / "manifest.json", text)


def drop_leftovers(folder: Path) -> None:
    """Remove what killed runs left half-written in a folder of results."""
    for place in (folder, *folder.glob("study-*")):
        drop_partial(place.glob(".partial-*"))
    for kind in (*FOLDERS, "clips"):
        drop_partial((folder / kind).rglob(".partial-*"))


class ResultFolder:
    """Writes ``masks/``, ``overlays/`` and, on request, ``probabilities/`` and ``sectors/``, and ``frames.csv``, a row
    as soon as its frame is done. Every other file is written whole or not at all; a file that cannot be written is
    reported and the rest goes on.

    Args:
        folder: the folder; made if absent, files of the same names are replaced.
        overlays: whether to write overlays.
        probabilities: whether to write probability maps, 0 to 255.
        sectors: whether to write sectors, 0 or 255.
        rows: of frames that were done before, see :func:`pe_monai.resume.find_done`.

    Raises:
        OSError: the folder cannot be made or written to.
    """

    def __init__(
        self,
        folder: str | Path,
        overlays: bool = True,
        probabilities: bool = False,
        sectors: bool = False,
        rows: Iterable[dict] = (),
    ) -> None:
        self.folder = Path(folder)
        self.overlays = overlays
        self.probabilities = probabilities
        self.sectors = sectors
        self.rows = list(rows)
        write_table(self.folder / "frames.csv", COLUMNS, self.rows)

    @property
    def done(self) -> int:
        """How many frames have results."""
        return sum(row["status"] == "ok" for row in self.rows)

    @property
    def failed(self) -> int:
        """How many inputs could not be used."""
        return len(self.rows) - self.done

    def add(self, frame: FrameFile, outcome: Prediction | FrameError) -> FrameError | None:
        """Write one frame's results; returns the error, if there is one."""
        row, error = write_results(self.folder, frame, outcome, self.overlays, self.probabilities, self.sectors)
        self.add_row(row)
        return error

    def add_error(self, error: FrameError) -> None:
        """Note an input that holds no frame."""
        self.add_row(_error_row(error, None))

    def add_row(self, row: dict) -> None:
        """Note a row and write it at once, so that a later run knows what was done."""
        self.rows.append(row)
        with (self.folder / "frames.csv").open("a", newline="", encoding="utf-8", errors=NOT_UTF8) as file:
            csv.DictWriter(file, COLUMNS, restval="").writerow(row)

    def close(self, order: Sequence[FrameFile] = ()) -> None:
        """Write the table whole, rows of inputs that hold no frame first, then those of frames in the given order."""
        places = {str(frame.path): place for place, frame in enumerate(order)}
        self.rows.sort(key=lambda row: places.get(row["file"], -1))
        write_table(self.folder / "frames.csv", COLUMNS, self.rows)


def _error_row(error: FrameError, frame: FrameFile | None) -> dict:
    return {"file": str(frame.path) if frame else "", "status": "error", "error": str(error)}


def write_results(
    folder: Path, frame: FrameFile, outcome: Prediction | FrameError, overlays: bool, probabilities: bool, sectors: bool
) -> tuple[dict, FrameError | None]:
    """Write one frame's files; returns its row of the table, and the error, if there is one."""
    if isinstance(outcome, FrameError):
        return _error_row(outcome, frame), outcome
    maps = {"masks": outcome.mask.astype(np.uint8) * 255}
    if probabilities:
        maps["probabilities"] = np.rint(outcome.probability.clip(0, 1) * 255).astype(np.uint8)
    if sectors:
        maps["sectors"] = outcome.sector.astype(np.uint8) * 255
    written: list[Path] = []
    try:
        for kind, values in maps.items():
            written.append(write_map(values, folder / kind / frame.stem, frame.path, outcome.meta))
        if overlays:
            # where no sector stands out, the whole screen may be taken for it, with the patient's name on it
            shown = outcome.sector if is_fan(outcome.sector) else np.zeros_like(outcome.sector)
            picture = draw_frame(outcome.frame, shown, outcome.mask)
            write_picture(picture, folder / "overlays" / f"{frame.stem}.png")
    except (OSError, RuntimeError) as e:  # ITK raises RuntimeError where it cannot write
        for path in written:
            path.unlink(missing_ok=True)
        reason = " ".join(str(getattr(e, "strerror", None) or e).rpartition("ITK ERROR: ")[2].split())[:160]
        error = FrameError(f"{frame.path}: its results cannot be written to {folder} ({reason}).")
        return _error_row(error, frame), error
    height, width = outcome.mask.shape
    row = {
        "file": str(frame.path),
        "mask": written[0].relative_to(folder).as_posix(),
        "status": "ok",
        "width": width,
        "height": height,
        "effusion_px": int(outcome.mask.sum()),
        "effusion_share_of_sector": f"{outcome.effusion_share:.5f}",
        "regions": int(label_regions(outcome.mask, connectivity=2).max()),
        "score": f"{outcome.score:.4f}",
        "uncertainty": f"{outcome.uncertainty:.4f}",
    }
    return row, None
