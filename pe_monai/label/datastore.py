# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What MONAI Label sees of a folder of studies: frames with ids, and their labels."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import tempfile
import threading
import zipfile
from pathlib import Path
from typing import Any

from fastapi import HTTPException
from monailabel.interfaces.datastore import Datastore
from monailabel.utils.others.generic import file_checksum

from pe_monai.data import write_picture, write_whole
from pe_monai.label.labels import FINAL, Labels
from pe_monai.label.studies import STATE, Frame, Studies
from pe_monai.measure.mask_files import read_mask
from pe_monai.scratch import scratch_root

_UNKNOWN = "no such image in the datastore; GET /datastore/?output=all lists them."


class FrameDatastore(Datastore):
    """Frames of a folder as images of MONAI Label. Images can be looked at and labelled, never changed or removed.

    Args:
        studies: the folder.
        labels: its labels.
    """

    def __init__(self, studies: Studies, labels: Labels) -> None:
        self.studies = studies
        self.labels = labels
        self._scratch = tempfile.TemporaryDirectory(prefix="label-", dir=scratch_root())
        self._notes: dict[str, dict[str, Any]] = {}
        self._lock = threading.Lock()

    def frame(self, image_id: str) -> Frame:
        """The frame of an id; one that is not listed does not exist, whatever lies on the disk.

        Raises:
            HTTPException: 404.
        """
        frame = self.studies.frames.get(image_id)
        if frame is None:
            raise HTTPException(404, _UNKNOWN)
        return frame

    def refresh(self) -> None:
        self.studies.refresh()
        self.labels.refresh()

    def name(self) -> str:
        return "pe_monai"

    def set_name(self, name: str) -> None:
        raise HTTPException(403, "the name is fixed.")

    def description(self) -> str:
        return "Frames of echocardiography. For research use only."

    def set_description(self, description: str) -> None:
        raise HTTPException(403, "the description is fixed.")

    def list_images(self) -> list[str]:
        return list(self.studies.frames)

    def get_labeled_images(self, label_tag: str | None = None, labels: list[str] | None = None) -> list[str]:
        labelled = self.labels.labelled(label_tag or FINAL)
        return [image_id for image_id in self.studies.frames if image_id in labelled]

    def get_unlabeled_images(self, label_tag: str | None = None, labels: list[str] | None = None) -> list[str]:
        labelled = self.labels.labelled(label_tag or FINAL)
        return [image_id for image_id in self.studies.frames if image_id not in labelled]

    def get_image(self, image_id: str, params: Any = None) -> Any:
        return io.BytesIO(Path(self.get_image_uri(image_id)).read_bytes())

    def get_image_uri(self, image_id: str) -> str:
        """The file of a picture; a frame of a clip is written as PNG into a folder that goes with the server.

        Raises:
            FrameError: as :meth:`pe_monai.label.studies.Studies.stamp` does, or the frame cannot be decoded.
        """
        frame = self.frame(image_id)
        stamp = self.studies.stamp(frame)
        if frame.path.suffix.lower() == ".png" or (frame.clip is None and self._is_plain(frame)):
            return str(frame.path)
        path = Path(self._scratch.name) / "-".join(map(str, stamp[1:])) / f"{frame.id}.png"
        if not path.is_file():
            write_picture(self.studies.pixels(frame), path)
        return str(path)

    def get_image_info(self, image_id: str) -> dict[str, Any]:
        frame = self.frame(image_id)
        spacing = self.studies.pixel_size(frame)
        file = Path(self.get_image_uri(image_id))
        return {
            "name": f"{frame.id}{_suffix(file)}",  # 3D Slicer saves it by this name and reads it by its suffix
            "checksum": file_checksum(file),
            "clip": frame.clip,
            "frame": None if frame.clip is None else frame.place + 1,
            "spacing_mm": None if spacing is None else list(spacing),
            **self._notes.get(image_id, {}),
        }

    def update_image_info(self, image_id: str, info: dict[str, Any]) -> None:
        self.frame(image_id)
        with self._lock:
            self._notes.setdefault(image_id, {}).update(info)

    def add_image(self, image_id: str, image_filename: str, image_info: dict[str, Any]) -> str:
        raise HTTPException(403, "the folder of studies is not changed from outside; put the file there and reload.")

    def remove_image(self, image_id: str) -> None:
        raise HTTPException(403, "images are never removed; take the file out of the folder of studies instead.")

    def get_label(self, label_id: str, label_tag: str, params: Any = None) -> Any:
        return io.BytesIO(Path(self.get_label_uri(label_id, label_tag)).read_bytes())

    def get_label_uri(self, label_id: str, label_tag: str) -> str:
        self.labels.look()
        path = self.labels.tags(self.frame(label_id).id).get(label_tag)
        if path is None:
            raise HTTPException(404, "this image has no such label.")
        return str(path)

    def get_labels_by_image_id(self, image_id: str) -> dict[str, str]:
        return dict.fromkeys(self.labels.tags(self.frame(image_id).id), image_id)

    def get_label_by_image_id(self, image_id: str, tag: str) -> str:
        return self.get_labels_by_image_id(image_id).get(tag, "")

    def get_label_info(self, label_id: str, label_tag: str) -> dict[str, Any]:
        path = Path(self.get_label_uri(label_id, label_tag))
        return {"name": path.name, "ts": int(path.stat().st_mtime)}

    def save_label(self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any]) -> str:
        self.labels.save(self.frame(image_id), read_mask(Path(label_filename)), label_tag)
        return image_id

    def remove_label(self, label_id: str, label_tag: str) -> None:
        self.labels.remove(self.frame(label_id), label_tag)

    def update_label_info(self, label_id: str, label_tag: str, info: dict[str, Any]) -> None:
        self.get_label_uri(label_id, label_tag)

    def datalist(self, full_path: bool = True) -> list[dict[str, Any]]:
        """Names of the images with a label; without their folder, as whoever asks the server is told them."""
        return [
            {kind: Path(uri).name for kind, uri in self._files(image_id).items()}
            for image_id in self.get_labeled_images()
        ]

    def _files(self, image_id: str) -> dict[str, str]:
        return {"image": self.get_image_uri(image_id), "label": self.get_label_uri(image_id, FINAL)}

    def get_dataset_archive(self, limit_cases: int | None) -> str:
        with tempfile.NamedTemporaryFile(dir=self._scratch.name, suffix=".zip", delete=False) as file:
            with zipfile.ZipFile(file, "w") as archive:
                for image_id in self.get_labeled_images()[: limit_cases or None]:
                    for kind, uri in self._files(image_id).items():
                        archive.write(uri, f"{kind}/{image_id}{_suffix(Path(uri))}")
            return file.name

    def status(self) -> dict[str, Any]:
        tags = {tag: len(self.labels.labelled(tag)) for tag in self.labels.list_tags()}
        return {"total": len(self.studies.frames), "completed": tags.get(FINAL, 0), "label_tags": tags}

    def json(self) -> dict[str, Any]:
        self.labels.look()
        objects = {
            image_id: {"image": {"ext": ".png"}, "labels": {tag: {} for tag in self.labels.tags(image_id)}}
            for image_id in self.studies.frames
        }
        return {"name": self.name(), "description": self.description(), "objects": objects}

    def read_scores(self) -> dict[str, dict[str, Any]]:
        """What the last scoring found, by image; see :mod:`pe_monai.label.choice`."""
        try:
            kept = json.loads(self._scores_file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return {name: score for name, score in kept.items() if _is_score(score)} if isinstance(kept, dict) else {}

    def write_scores(self, scores: dict[str, dict[str, Any]]) -> None:
        """Keep what a scoring found; where the folder is read only, it is found anew each time."""
        text = json.dumps(scores)
        with contextlib.suppress(OSError):
            write_whole(self._scores_file, lambda partial: partial.write_text(text, encoding="utf-8"))

    def close(self) -> None:
        """Remove what was written for clients."""
        shutil.rmtree(self._scratch.name, ignore_errors=True)

    @property
    def _scores_file(self) -> Path:
        return self.studies.root / STATE / "scores.json"

    @staticmethod
    def _is_plain(frame: Frame) -> bool:
        return frame.path.name.lower().endswith((".jpg", ".jpeg", ".bmp", ".nii", ".nii.gz", ".nrrd", ".mha"))


def _is_score(kept: Any) -> bool:
    return isinstance(kept, dict) and isinstance(kept.get("uncertainty"), (int, float, type(None)))


def _suffix(path: Path) -> str:
    return ".nii.gz" if path.name.lower().endswith(".nii.gz") else path.suffix
