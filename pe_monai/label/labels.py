# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Labels of a folder of studies: read from any kind of file, kept as PNG, given out as PNG, NIfTI or NRRD."""

from __future__ import annotations

import contextlib
import hashlib
import re
import shutil
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from pe_monai.data import write_map, write_picture
from pe_monai.data.reader import SUFFIXES, is_dicom
from pe_monai.errors import FrameError
from pe_monai.label.studies import LABELS, Frame, Studies
from pe_monai.measure.mask_files import read_placed_mask
from pe_monai.scratch import scratch_root
from pe_monai.whole import drop_partial

FINAL, ORIGINAL, DRAFT = "final", "original", "draft"  # each browser's drafts have a tag that begins so
EXTENSIONS = {".png": ".png", ".nii": ".nii", ".nii.gz": ".nii.gz", ".nrrd": ".nrrd", ".seg.nrrd": ".nrrd"}
# a label of another size than its frame is read up to here, to tell both sizes
_PIXELS_TO_COMPARE = 2_000_000
_TICK_NS = 50_000_000
_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")


class OvertakenError(Exception):
    """Someone else has saved another label than the one that was to be replaced."""


class Labels:
    """Masks below ``labels/TAG/`` in a folder of studies, as MONAI Label lays them; written whole or not at all.

    Args:
        studies: the folder.
    """

    def __init__(self, studies: Studies) -> None:
        self.studies = studies
        self._lock = threading.RLock()
        self._files: dict[str, dict[str, Path]] = {}
        self._times: dict[Path, int] = {}
        with contextlib.suppress(OSError):  # of a folder that is read only
            drop_partial(path for folder in self._find_folders() for path in folder.glob(".partial-*"))
        self.refresh()

    def refresh(self) -> None:
        """Look which labels there are."""
        files: dict[str, dict[str, Path]] = {FINAL: {}, ORIGINAL: {}}
        with self._lock:  # or a label that is saved meanwhile would be forgotten
            folders, now = self._find_folders(), time.time_ns()  # before: what comes meanwhile is listed next time
            for folder in sorted(folders):
                files[folder.name] = _list(folder)
            # a clock's tick is a few ms: of a folder that has just changed the time may stay though it changes again
            self._times = {folder: then if now - then > _TICK_NS else 0 for folder, then in folders.items()}
            self._files = files

    def look(self) -> None:
        """List anew if another process has saved labels or removed some: a batch inference, a second server."""
        if self._find_folders() != self._times:
            self.refresh()

    def _find_folders(self) -> dict[Path, int]:
        """The folder of each tag, and when something was last added or removed there."""
        root = self.studies.root / LABELS
        folders = [p for p in root.iterdir() if p.is_dir() and _TAG.fullmatch(p.name)] if root.is_dir() else []
        return {folder: folder.stat().st_mtime_ns for folder in folders}

    def tags(self, frame_id: str) -> dict[str, Path]:
        """The labels of a frame by their tag."""
        return {tag: files[frame_id] for tag, files in list(self._files.items()) if frame_id in files}

    def list_tags(self) -> list[str]:
        """Tags of labels that there are."""
        self.look()
        return list(self._files)

    def labelled(self, tag: str = FINAL) -> set[str]:
        """Ids of the frames that have a label."""
        self.look()
        return set(self._files.get(tag, {})) & self.studies.frames.keys()

    def read(self, frame: Frame, tag: str = FINAL) -> np.ndarray | None:
        """The mask of a frame, (H, W) bool; None if there is none.

        Raises:
            FrameError: the file is none, or its mask has another size than the frame.
        """
        self.look()
        path = self._files.get(tag, {}).get(frame.id)
        if path is None:
            return None
        return self._checked(frame, _placed(*read_placed_mask(path), self.studies.affine(frame)))

    def revision(self, frame: Frame, tag: str = FINAL) -> str:
        """What tells the label of a frame from every other of that frame; "" if there is none."""
        self.look()
        path = self._files.get(tag, {}).get(frame.id)
        try:
            return "" if path is None else hashlib.sha256(path.read_bytes()).hexdigest()[:16]
        except FileNotFoundError:
            return ""

    def save(
        self,
        frame: Frame,
        mask: np.ndarray,
        tag: str = FINAL,
        replaces: str | None = None,
        ends: str = "",
        ended: str | None = None,
    ) -> str:
        """Keep a mask; the one before it is replaced once this one is complete.

        Args:
            frame: the frame.
            mask: (H, W), non-zero inside.
            tag: "final" for one that a person approved; "original" for the model's; "draft-" and a browser's name.
            replaces: revision of the label that it was made from, "" for none; None replaces whatever there is.
            ends: tag of the draft that it ends.
            ended: revision of that draft; one that is another by now stays. None ends whatever there is.

        Returns:
            Its revision.

        Raises:
            FrameError: the mask has another size than the frame, or the tag is no plain word.
            OvertakenError: there is another label than the one to be replaced.
            OSError: it cannot be written.
        """
        path = self.studies.root / LABELS / check_tag(tag) / f"{frame.id}.png"
        mask = self._checked(frame, mask) > 0
        with self._lock:
            if replaces is not None and self.revision(frame, tag) != replaces and not self._holds(frame, tag, mask):
                raise OvertakenError(f"{frame.id}: another label was saved meanwhile.")
            write_picture(mask.astype(np.uint8) * 255, path)
            self._files.setdefault(tag, {})[frame.id] = path
            revision = self.revision(frame, tag)
            if ends.startswith(DRAFT) and ended in (None, self.revision(frame, ends)):
                self._remove(frame, ends)
        return revision

    def _checked(self, frame: Frame, mask: np.ndarray) -> np.ndarray:
        size = self.studies.pixels(frame).shape[:2]
        if mask.shape != size:
            given, wanted = (f"{width} x {height}" for height, width in (mask.shape, size))
            raise FrameError(f"{frame.id}: the label is {given} pixels, the frame {wanted}; give one of the same size.")
        return mask

    def _holds(self, frame: Frame, tag: str, mask: np.ndarray) -> bool:
        # it was saved already, and only the answer did not arrive
        with contextlib.suppress(FrameError):
            kept = self.read(frame, tag)
            return kept is not None and np.array_equal(kept, mask)
        return False

    def remove(self, frame: Frame, tag: str) -> None:
        """Forget the label of a frame, in every kind of file; frames themselves are never removed."""
        with self._lock:
            self.look()
            self._remove(frame, tag)

    def _remove(self, frame: Frame, tag: str) -> None:
        path = self._files.get(tag, {}).pop(frame.id, None)
        while path is not None:
            path.unlink(missing_ok=True)
            path = _list(path.parent).get(frame.id)  # beneath it, such as another program's


def read_label(path: Path, size: tuple[int, int], affine: np.ndarray) -> np.ndarray:
    """The mask that someone sent for a frame; one far larger than the frame is refused before it is decoded.

    Args:
        path: the file.
        size: (H, W) of the frame.
        affine: where the frame lies, 4x4 RAS.

    Raises:
        FrameError: as :func:`pe_monai.measure.mask_files.read_mask` does.
    """
    if is_dicom(path):  # or has a name without a suffix, which is taken for DICOM
        raise FrameError(f"{path}: send a label as PNG, NIfTI or NRRD, under a name that ends so; DICOM is not taken.")
    return _placed(*read_placed_mask(path, max(size[0] * size[1], _PIXELS_TO_COMPARE)), affine)


def _placed(mask: np.ndarray, given: np.ndarray | None, affine: np.ndarray) -> np.ndarray:
    """A mask as its frame lies: programs that turn what they save, say to RAS, tell by its affine.

    One whose pixels lie elsewhere than those of the frame tells nothing and is taken as it is.
    """
    if given is None:
        return mask
    last = np.array(mask.shape[::-1]) - 1  # x, y
    corners = np.array([[0, 0, 0, 1], [*last, 0, 1]], float).T
    own, wanted = (a @ corners for a in (given, affine))
    reach = np.abs(np.diff(wanted, axis=1)).max() / max(*last, 1) / 2  # half a pixel
    for rows, columns in ((False, True), (True, False), (True, True)):
        turned = np.where([columns, rows], last, 0)
        turned = affine @ np.array([[*turned, 0, 1], [*(last - turned), 0, 1]], float).T
        if not np.allclose(own, wanted, atol=reach) and np.allclose(own, turned, atol=reach):
            return mask[:: -1 if rows else 1, :: -1 if columns else 1]
    return mask


def check_tag(tag: str) -> str:
    """The tag of a label, which becomes a folder.

    Raises:
        FrameError: it is no plain word.
    """
    if not _TAG.fullmatch(tag):
        raise FrameError(f"tag {tag[:40]!r} is no plain word; give final or original.")
    return tag


def check_extension(extension: str) -> str:
    """The suffix of a label map that a client asks for: .png, .nii, .nii.gz or .nrrd.

    Raises:
        FrameError: it is another.
    """
    suffix = EXTENSIONS.get(extension.lower())
    if suffix is None:
        raise FrameError(f"result_extension {extension[:20]!r} is not known; give one of {' '.join(EXTENSIONS)}.")
    return suffix


def write_index(mask: np.ndarray, suffix: str, affine: np.ndarray) -> Path:
    """Write a mask as a label map, 0 and 1, the way clients of MONAI Label expect it.

    Args:
        mask: (H, W) bool.
        suffix: of :func:`check_extension`.
        affine: where the frame lies, 4x4 RAS.

    Returns:
        The file, in a folder of its own, which whoever sends it removes.
    """
    folder = Path(tempfile.mkdtemp(prefix="mask-", dir=scratch_root()))
    try:
        return write_map(mask.astype(np.uint8), folder / "label", f"label{suffix}", {"affine": affine})
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _list(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir(), key=lambda path: path.suffix != ".png"):  # ours first
        ends = [end for end in (".seg.nrrd", ".nii.gz", *SUFFIXES) if path.name.lower().endswith(end)]
        if ends and not path.name.startswith(".") and path.is_file() and not _leads_out(path):
            found.setdefault(path.name[: -len(ends[0])], path)
    return found


def _leads_out(path: Path) -> bool:
    """Whether it is a link to anywhere but the labels."""
    return path.is_symlink() and not path.resolve().is_relative_to(path.parent.parent.resolve())
