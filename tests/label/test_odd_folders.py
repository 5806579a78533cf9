# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Folders as they are found: odd names, links, damaged and unreadable files, and files that change meanwhile."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import nibabel
import numpy as np
import pytest
from label_service import fill
from PIL import Image

from pe_monai.data import FrameReader
from pe_monai.errors import FrameError
from pe_monai.label import labels, studies
from pe_monai.label.groups import group_of
from pe_monai.label.labels import Labels, OvertakenError
from pe_monai.label.studies import Studies
from pe_monai.studies.stacks import write_video


@pytest.fixture
def folder(tmp_path):
    return fill(tmp_path / "studies")


def grey(path, value, size=(40, 30)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, value).save(path)


def test_a_name_that_is_no_utf8_has_an_id_that_is(folder):
    odd = os.fsencode(folder) + b"/\xff.png"
    try:
        with open(odd, "wb") as file:
            Image.new("L", (40, 30), 7).save(file, "PNG")
    except OSError:
        pytest.skip("this file system takes no such names")
    found = Studies(folder)
    (name,) = found.frames.keys() - Studies(fill(folder.parent / "plain")).frames.keys()
    assert name.encode()
    assert (found.pixels(found.frames[name]) == 7).all()


def test_no_frame_takes_the_id_of_another(folder):
    grey(folder / "a/b.png", 1)
    grey(folder / "a__b.png", 2)
    grey(folder / "beat@001.png", 3)
    found = Studies(folder)
    assert {frame.path for frame in found.frames.values()} == {*folder.rglob("*.png"), *folder.rglob("*.tif")}
    assert sum(frame.clip == "beat" for frame in found.frames.values()) == 6
    values = [int(found.pixels(frame).max()) for frame in found.frames.values() if frame.clip is None]
    assert {1, 2, 3} <= set(values)


def test_links_in_a_circle_or_to_nothing_are_passed_over(folder):
    before = Studies(folder).frames
    (folder / "circle.png").symlink_to("circle.png")
    (folder / "nothing.tif").symlink_to("gone.tif")
    assert Studies(folder).frames == before


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_is_no_frame(folder):
    before = Studies(folder).frames
    for name in ("pipe.tif", "pipe.png", "pipe"):
        os.mkfifo(folder / name)
    found = []
    listing = threading.Thread(target=lambda: found.append(Studies(folder).frames), daemon=True)
    listing.start()
    listing.join(20)
    assert found == [before]


def test_a_file_that_may_not_be_read_is_passed_over(folder, monkeypatch):
    before = Studies(folder).frames
    for name in ("report", "scan.tif"):
        (folder / name).write_bytes(b"x" * 200)

    def open_or_not(path):
        if path.name in ("report", "scan.tif"):
            raise PermissionError(13, "Permission denied", str(path))
        return False

    monkeypatch.setattr(FrameReader, "verify_suffix", lambda self, path: open_or_not(path) or bool(path.suffix))
    assert Studies(folder).frames == before
    monkeypatch.undo()
    monkeypatch.setattr(studies, "is_dicom", open_or_not)
    assert Studies(folder).frames == before
    with pytest.raises(FrameError, match="Permission denied"):
        studies.open_file(folder / "scan.tif")


def test_a_damaged_frame_of_a_clip_costs_only_itself(folder):
    path = folder / "damaged.tif"
    first, *others = [Image.new("L", (40, 30), value) for value in range(6)]
    first.save(path, save_all=True, append_images=others, compression="tiff_adobe_deflate")
    with Image.open(path) as picture:
        picture.seek(3)
        start = picture.tag_v2[273][0]
    content = bytearray(path.read_bytes())
    content[start : start + 4] = b"\xff" * 4
    path.write_bytes(content)
    for number in range(1, 7):
        found = Studies(folder)  # that has decoded nothing yet
        frame = found.frames[f"damaged@{number:03d}"]
        if number == 4:
            with pytest.raises(FrameError, match="frame 4 cannot be read"):
                found.pixels(frame)
        else:
            assert (found.pixels(frame) == number - 1).all()


def test_a_clip_that_cannot_be_read_for_now_is_one_later(folder, monkeypatch):
    pytest.importorskip("av")
    write_video(folder / "film.mp4", iter([np.zeros((64, 64, 3), np.uint8)] * 3), 3, 40.0)
    before, opened = Studies(folder).frames, Path.open
    assert {"film@003", "beat@006"} <= before.keys()
    (folder / ".pe_monai/clips.json").unlink()

    def open_or_not(path, *how, **further):
        if path.name == "beat.tif":
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *how, **further)

    monkeypatch.setattr(Path, "open", open_or_not)
    monkeypatch.setitem(sys.modules, "av", None)  # as where it is not installed
    assert not {"film@003", "beat@006", "beat"} & Studies(folder).frames.keys()
    monkeypatch.undo()
    assert Studies(folder).frames == before


def test_clips_that_cannot_be_used_are_counted_with_the_reason(folder, caplog):
    deep = folder / "Doe^Jane"
    deep.mkdir()
    (deep / "film.mp4").write_bytes(b"no film" * 40)
    (deep / "empty.avi").write_bytes(b"")
    (deep / "scan.dcm").write_bytes(bytes(128) + b"DICM" + b"no object" * 20)
    (folder / "text.txt").write_text("no frame by its name")
    reasons = {
        "film.mp4": "cannot be read",
        "empty.avi": "is empty",
        "scan.dcm": "has a private or unknown transfer syntax",
    }
    for _ in range(2):  # at the next start they are known
        caplog.clear()
        found = Studies(folder)
        assert {name.removeprefix("Doe^Jane/") for name in found.left_out} == reasons.keys()
        assert all(found.left_out[f"Doe^Jane/{name}"].startswith(reason) for name, reason in reasons.items())
        (line,) = caplog.messages
        assert line.startswith("3 files hold no frames that can be used: 1 x ")
        for text in (line, *found.left_out.values()):
            assert not any(name in text for name in (str(folder), "Doe", *reasons))
        found.refresh()
        assert len(caplog.messages) == 1
    for name in reasons:
        (deep / name).unlink()
    found.refresh()
    assert found.left_out == {}


@pytest.mark.parametrize("kept", ["5", "[]", '["x"]', "[0]", "null", '{"a": 1}'])
def test_numbers_of_frames_that_are_kept_are_such_or_counted_anew(folder, kept):
    before = Studies(folder).frames
    path = folder / ".pe_monai/clips.json"
    (key,) = json.loads(path.read_text())
    path.write_text(f"{{{json.dumps(key)}: {kept}}}")
    assert Studies(folder).frames == before


def test_a_folder_that_is_read_only_is_listed(folder, monkeypatch):
    def refuse(path, write):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(studies, "write_text_whole", refuse)
    assert "beat@006" in Studies(folder).frames


def test_what_takes_the_place_of_a_file_is_what_is_seen(folder):
    found = Studies(folder)
    frame = found.frames["stilla_001"]
    before = found.stamp(frame)
    assert found.pixels(frame).shape[:2] == (224, 320)
    grey(frame.path, 9)
    assert (found.pixels(frame) == 9).all() and found.stamp(frame) != before
    clip = found.frames["beat@002"]
    found.pixels(clip)
    first, *others = [Image.new("L", (40, 30), value) for value in (10, 20, 30)]
    first.save(clip.path, save_all=True, append_images=others)
    assert (found.pixels(clip) == 20).all()
    frame.path.unlink()
    with pytest.raises(FrameError, match="is gone"):
        found.pixels(frame)


def test_a_label_that_is_saved_while_the_folder_is_listed_is_kept(folder, monkeypatch):
    found = Studies(folder)
    kept = Labels(found)
    frame = found.frames["stilla_001"]
    (folder / "labels/final").mkdir(parents=True)
    saver = threading.Thread(target=kept.save, args=(frame, np.ones((224, 320), bool)))
    listed = labels._list

    def list_slowly(path):
        there = listed(path)
        if saver.ident is None:  # the saver lists too
            saver.start()
            saver.join(1)
        return there

    monkeypatch.setattr(labels, "_list", list_slowly)
    kept.refresh()
    saver.join()
    monkeypatch.undo()
    assert kept.labelled() == {"stilla_001"}


def test_frames_that_cannot_be_read_are_never_next(folder):
    pytest.importorskip("monailabel", reason="MONAI Label is not installed; see constraints-label.txt")
    from pe_monai.label.choice import First, Random

    (folder / "aaa.png").write_bytes(b"")
    found = Studies(folder)
    waiting = ["aaa", "stillb_001"]
    datastore = SimpleNamespace(
        studies=found,
        frame=found.frames.get,
        get_unlabeled_images=lambda: list(waiting),
        get_labeled_images=list,
    )
    for strategy in (First(), *[Random()] * 5):
        assert strategy({}, datastore) == {"id": "stillb_001"}
    waiting.pop()
    assert First()({}, datastore) == Random()({}, datastore) == {}


def test_a_random_frame_is_of_a_clip_without_a_label(folder):
    pytest.importorskip("monailabel", reason="MONAI Label is not installed; see constraints-label.txt")
    from pe_monai.label.choice import Random

    found = Studies(folder)
    clip = [name for name in found.frames if name.startswith("beat@")]
    datastore = SimpleNamespace(
        studies=found,
        frame=found.frames.get,
        get_unlabeled_images=lambda: [*clip[1:], "stillb_001"],
        get_labeled_images=lambda: clip[:1],
    )
    assert {Random()({}, datastore)["id"] for _ in range(20)} == {"stillb_001"}


def test_a_frame_that_goes_while_the_next_is_chosen_is_passed_over(folder, monkeypatch):
    pytest.importorskip("monailabel", reason="MONAI Label is not installed; see constraints-label.txt")
    from pe_monai.label import choice
    from pe_monai.label.datastore import FrameDatastore

    class Going:  # of whose frames one goes each time one is outlined
        version = SimpleNamespace(name="v")

        def outline(self, pixels):
            (folder / f"still{gone.pop()}_001.png").unlink()
            store.refresh()
            return "v", SimpleNamespace(uncertainty=0.5, score=0.5)

    gone = ["b", "c"]
    found = Studies(folder)
    store = FrameDatastore(found, Labels(found))
    monkeypatch.setattr(choice.random, "sample", lambda unseen, count: ["stillb_001", "stillc_001", "stilla_001"])
    assert choice.Epistemic(Going())({}, store) == {"id": "stilla_001", "weight": 0.5}


def test_pictures_of_an_exam_are_one_group_whatever_their_ids(folder):
    deep = "/".join(f"{kind}-{'1.2.840.' * 8}" for kind in ("study", "series", "instance"))
    for name in ("exam_001.png", "exam_001.jpg", "exam_002.png", "exam_002.bmp"):
        grey(folder / name, 1)
    for number in (1, 2, 3):
        grey(folder / deep / f"frame_{number:03d}.png", 1)
    first, *others = [Image.new("L", (40, 30), value) for value in (10, 20)]
    first.save(folder / "beat.gif", save_all=True, append_images=others)
    frames = Studies(folder).frames.values()
    groups = [{group_of(f) for f in frames if f.path.name.startswith(name)} for name in ("exam_", "frame_", "beat")]
    assert [len(group) for group in groups] == [1, 1, 1]
    assert len(set.union(*groups)) == 3


def test_labels_that_another_process_saves_are_seen_and_not_replaced(folder):
    ours, theirs = (Labels(Studies(folder)) for _ in range(2))  # a second server, or a batch inference
    frame = ours.studies.frames["stilla_001"]
    mask = np.zeros((224, 320), bool)
    theirs.save(frame, mask, "original")
    assert ours.labelled("original") == {"stilla_001"} and ours.read(frame, "original") is not None
    theirs.save(frame, mask)
    with pytest.raises(OvertakenError):
        ours.save(frame, ~mask, replaces="")
    assert ours.revision(frame) == theirs.revision(frame) != ""
    theirs.remove(frame, "final")
    assert ours.labelled() == set() and ours.read(frame) is None


def test_what_a_killed_server_left_of_a_label_goes_and_what_another_writes_stays(folder):
    kept = Labels(Studies(folder))
    kept.save(kept.studies.frames["stilla_001"], np.zeros((224, 320), bool))
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left, written = (
        folder / f"labels/final/.partial-{process}-stilla_001.png" for process in (ended.pid, os.getppid())
    )
    for path in (left, written):
        path.write_bytes(b"half of a label")
    assert Labels(kept.studies).labelled() == {"stilla_001"}
    assert not left.exists() and written.exists()


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd"])
@pytest.mark.parametrize("flip", [(1, 1), (-1, 1), (1, -1), (-1, -1)])
@pytest.mark.parametrize("spacing", [1.0, 0.3])
def test_a_label_that_was_turned_lies_where_it_says(folder, suffix, flip, spacing):
    mask = np.zeros((224, 320), np.uint8)
    mask[20:60, 30:100] = 1
    frame = np.diag([-spacing, -spacing, 1.0, 1.0])
    path, stored, affine = folder / f"label{suffix}", mask.T[:: flip[0], :: flip[1]], frame.copy()
    for axis, sign in enumerate(flip):
        if sign < 0:
            affine[:3, 3] += affine[:3, axis] * (stored.shape[axis] - 1)
            affine[:3, axis] *= -1
    if suffix == ".nrrd":
        lps = np.diag([-1, -1, 1, 1]) @ affine
        pytest.importorskip("nrrd").write(
            str(path),
            stored[..., None],
            {"space": "left-posterior-superior", "space directions": lps[:3, :3].T, "space origin": lps[:3, 3]},
        )
    else:
        nibabel.save(nibabel.Nifti1Image(stored, affine), path)
    assert np.array_equal(labels.read_label(path, mask.shape, frame), mask > 0)
    elsewhere = np.diag([1.0, 1.0, 1.0, 1.0])  # of a program that knows nothing of where the frame lies
    nibabel.save(nibabel.Nifti1Image(mask.T, elsewhere), folder / "plain.nii.gz")
    assert np.array_equal(labels.read_label(folder / "plain.nii.gz", mask.shape, frame), mask > 0)


def test_a_frame_keeps_its_id_and_label_whatever_comes_beside_it(folder):
    grey(folder / "a/b.png", 1)
    first, *others = [Image.new("L", (40, 30), value) for value in (10, 20)]
    before = Labels(Studies(folder))
    marks = {"stilla_001": (224, 320), "a__b": (30, 40), "beat@002": (224, 320)}
    for number, (name, size) in enumerate(marks.items()):
        before.save(before.studies.frames[name], np.eye(*size, k=number, dtype=bool))
    where = {name: before.studies.frames[name].path for name in marks}
    grey(folder / "a__b.png", 2)
    Image.new("L", (320, 224), 3).save(folder / "stilla_001.jpg")
    first.save(folder / "beat.gif", save_all=True, append_images=others)
    before.studies.refresh()
    for found in (before.studies, Studies(folder)):  # while the server runs, and at its next start
        assert {name: found.frames[name].path for name in marks} == where
        assert len({frame.path for frame in found.frames.values()}) == 8
        kept = Labels(found)
        assert kept.labelled() == set(marks)
        for number, (name, size) in enumerate(marks.items()):
            assert np.array_equal(kept.read(found.frames[name]), np.eye(*size, k=number, dtype=bool))


@pytest.mark.parametrize(
    "kept", ["5", "[1]", "null", '{"stillb_001": 5}', '{"stillb_001": {"version": "v", "uncertainty": "x"}}']
)
def test_scores_that_are_none_are_found_anew(folder, kept):
    pytest.importorskip("monailabel", reason="MONAI Label is not installed; see constraints-label.txt")
    from pe_monai.label.datastore import FrameDatastore

    found = Studies(folder)
    (folder / ".pe_monai/scores.json").write_text(kept)
    assert FrameDatastore(found, Labels(found)).read_scores() == {}


def test_a_link_to_anywhere_but_the_labels_is_no_label(folder):
    kept = Labels(Studies(folder))
    path = kept.studies.root / "labels/final/stilla_001.png"
    kept.save(kept.studies.frames["stilla_001"], np.ones((224, 320), bool))
    outside = path.rename(folder.parent / "outside.png")
    path.symlink_to(outside)
    path.with_name("stillb_001.png").symlink_to("stillc_001.png")
    kept.save(kept.studies.frames["stillc_001"], np.ones((224, 320), bool))
    assert Labels(kept.studies).labelled() == {"stillb_001", "stillc_001"}
    kept.save(kept.studies.frames["stilla_001"], np.zeros((224, 320), bool))
    assert not path.is_symlink() and outside.is_file() and np.asarray(Image.open(outside)).all()


def test_two_who_list_the_folder_at_once_get_the_same_ids(folder, monkeypatch):
    found = Studies(folder)
    grey(folder / "new.png", 1)
    seen, files, slow = threading.Event(), Studies._files, threading.Event()

    def list_slowly(studies):
        there = list(files(studies))
        if not seen.is_set():
            seen.set()
            slow.wait(1)
        return iter(there)

    monkeypatch.setattr(Studies, "_files", list_slowly)
    first = threading.Thread(target=found.refresh)
    first.start()
    seen.wait()
    Image.new("L", (40, 30), 2).save(folder / "new.jpg")
    found.refresh()
    ids = found.frames.keys()
    slow.set()
    first.join()
    assert ids == found.frames.keys() == Studies(folder).frames.keys()
    assert {frame.path.name for frame in found.frames.values()} >= {"new.png", "new.jpg"}


def test_a_file_that_comes_back_has_its_id_again(folder):
    grey(folder / "stilla_001.jpg", 3)  # two that are found together both have a suffix, and the one left keeps it
    assert {"stilla_001.png", "stilla_001.jpg"} <= Studies(folder).frames.keys()
    (folder / "stilla_001.jpg").unlink()
    grey(folder / "stillb_001.jpg", 3)
    assert {"stilla_001.png", "stillb_001", "stillb_001.jpg"} <= Studies(folder).frames.keys()
    away = (folder / "stillb_001.png").rename(folder.parent / "away.png")
    assert "stillb_001" not in Studies(folder).frames
    away.rename(folder / "stillb_001.png")
    assert Studies(folder).frames["stillb_001"].path.suffix == ".png"


@pytest.mark.parametrize("kept", ['{"stilla_001.png": "../../evil", "stillb_001.png": ["x"]}', "3", "[", '["a"]'])
def test_names_that_are_kept_are_only_ever_those_of_their_files(folder, kept):
    before = Studies(folder).frames
    (folder / ".pe_monai/names.json").write_text(kept)
    assert Studies(folder).frames == before


def test_what_is_wrong_with_a_frame_does_not_tell_where_the_folder_lies(tmp_path):
    deep = tmp_path / "/".join(["who lies here is nobody's business"] * 5)
    deep.mkdir(parents=True)
    (deep / "cut.nrrd").write_bytes(b"NRRD0004\ntype: uint8\ndimension: 2\nsizes: 320 224\nencoding: raw\n\nabc")
    found = Studies(deep)
    with pytest.raises(FrameError, match=r"cannot be read .*cut\.nrrd") as error:
        found.pixels(found.frames["cut"])
    assert "nobody" not in found.hide(str(error.value))
