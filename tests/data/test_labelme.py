# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""LabelMe's files of every age read as LabelMe means them, and masks given to LabelMe and back."""

from __future__ import annotations

import base64
import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from pe_monai.data import phantom_frame
from pe_monai.data.labelme import draw_mask, find_labels, read_annotation, read_picture
from pe_monai.data.labelme_writer import mask_to_shapes, outline_regions, write_annotation
from pe_monai.errors import DatasetError, FrameError

SIZE = (40, 60)


def png(array: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(array).save(file, format="PNG")
    return base64.b64encode(file.getvalue()).decode()


def picture() -> np.ndarray:
    return np.arange(SIZE[0] * SIZE[1], dtype=np.uint32).reshape(SIZE).astype(np.uint8)


def shape(kind: str, points: list, label: str = "effusion", **more) -> dict:
    return {"label": label, "points": points, "group_id": None, "shape_type": kind, "flags": {}, **more}


def write(path: Path, *shapes: dict, encoding: str = "utf-8", **document) -> Path:
    whole = {
        "version": "5.4.1",
        "flags": {},
        "shapes": list(shapes),
        "imagePath": "frame.png",
        "imageData": png(picture()),
        "imageHeight": SIZE[0],
        "imageWidth": SIZE[1],
        **document,
    }
    path.write_text(json.dumps(whole, ensure_ascii=False), encoding=encoding)
    return path


def draw(path: Path, labels: tuple[str, ...] = ("effusion",)) -> np.ndarray:
    return draw_mask(read_annotation(path), labels, SIZE)


def boxes(*corners: tuple[int, int, int, int]) -> np.ndarray:
    """Rows and columns, both ends included, as LabelMe draws its outlines."""
    mask = np.zeros(SIZE, dtype=bool)
    for top, left, bottom, right in corners:
        mask[top : bottom + 1, left : right + 1] = True
    return mask


def test_every_shape_with_an_area(tmp_path):
    polygon = shape("polygon", [[5, 3], [9, 3], [9, 7], [5, 7]])
    rectangle = shape("rectangle", [[30, 20], [20, 10]])  # from any corner
    oriented = shape("oriented_rectangle", [[40, 3], [45, 3], [45, 5], [40, 5]])
    assert (draw(write(tmp_path / "a.json", polygon, rectangle, oriented)) == boxes(
        (3, 5, 7, 9), (10, 20, 20, 30), (3, 40, 5, 45)
    )).all()  # fmt: skip
    disc = draw(write(tmp_path / "a.json", shape("circle", [[30, 20], [30, 26]])))
    rows, columns = np.indices(SIZE)
    assert (disc[(rows - 20) ** 2 + (columns - 30) ** 2 <= 5.5**2]).all()
    assert not (disc[(rows - 20) ** 2 + (columns - 30) ** 2 >= 7**2]).any()
    ring = np.ones((5, 7), dtype=np.uint8) * 255
    ring[2, 3] = 0
    mask = draw(write(tmp_path / "a.json", shape("mask", [[10.0, 20.0], [16.0, 24.0]], mask=png(ring))))
    assert (mask == boxes((20, 10, 24, 16)) & ~boxes((22, 13, 22, 13))).all()


def test_lines_groups_overlaps_and_shapes_beyond_the_edge(tmp_path):
    path = write(
        tmp_path / "a.json",
        shape("polygon", [[5, 3], [9, 3], [9, 7], [5, 7]], group_id=1),
        shape("polygon", [[6, 4], [8, 4], [8, 6], [6, 6]], group_id=1),  # inside: a union, no hole
        shape("rectangle", [[55, 35], [99, 99]]),
        shape("linestrip", [[0, 0], [50, 30], [3, 30]]),
        shape("point", [[20, 20]]),
        shape("polygon", [[20, 3], [30, 3], [30, 7]], label="LV"),
    )
    assert (draw(path) == boxes((3, 5, 7, 9), (35, 55, 39, 59))).all()


def test_no_shapes_are_an_empty_truth(tmp_path):
    path = write(tmp_path / "a.json")
    assert not draw(path).any()
    assert find_labels([read_annotation(path)]) == set()


def test_first_versions(tmp_path):
    old = {"label": "积液", "points": [[5, 3], [9, 3], [9, 7], [5, 7]], "line_color": None, "fill_color": None}
    path = write(tmp_path / "a.json", old, version="2.8.1", lineColor=[0, 255, 0, 128], encoding="gb18030")
    document = json.loads(path.read_bytes().decode("gb18030"))
    for key in ("imageHeight", "imageWidth", "version"):
        del document[key]
    path.write_text(json.dumps(document, ensure_ascii=False), encoding="gb18030")
    annotation = read_annotation(path)
    assert find_labels([annotation]) == {"积液"}
    assert (draw(path, ("积液",)) == boxes((3, 5, 7, 9))).all()
    np.testing.assert_array_equal(read_picture(annotation), picture())


def test_labels_are_found_or_listed(tmp_path):
    triangle = [[5, 3], [9, 3], [9, 7]]
    names = ("Pericardial_Effusion", "心包积液", "LV", "LV", "积液-旧")
    path = write(tmp_path / "a.json", *(shape("polygon", triangle, name) for name in names))
    annotations = [read_annotation(path)]
    assert find_labels(annotations) == {"Pericardial_Effusion", "心包积液"}
    assert find_labels(annotations, ["lv", "积液 旧"]) == {"LV", "积液-旧"}
    with pytest.raises(DatasetError, match=r"no shape is named 'fluid'; the names are 'LV' \(2\), 'Peri.*--label"):
        find_labels(annotations, ["fluid"])


def test_picture_beside_in_either_systems_way(tmp_path):
    (tmp_path / "json").mkdir()
    (tmp_path / "图").mkdir()
    Image.fromarray(picture()).save(tmp_path / "图" / "心超 1.png")
    for stored in ("../图/心超 1.png", "..\\图\\心超 1.png"):
        path = write(tmp_path / "json" / "a.json", imagePath=stored, imageData=None)
        np.testing.assert_array_equal(read_picture(read_annotation(path), tmp_path), picture())
        with pytest.raises(FrameError, match="outside of .*give the folder that holds both"):
            read_picture(read_annotation(path))
    for stored in (str(tmp_path / "图" / "心超 1.png"), "C:\\图\\心超 1.png", "\\\\server\\图\\心超 1.png"):
        path = write(tmp_path / "json" / "a.json", imagePath=stored, imageData=None)
        with pytest.raises(FrameError, match="outside of"):
            read_picture(read_annotation(path), tmp_path)


def test_link_out_of_the_folder_is_refused(tmp_path):
    Image.fromarray(picture()).save(tmp_path / "secret.png")
    (tmp_path / "given").mkdir()
    os.symlink(tmp_path / "secret.png", tmp_path / "given" / "frame.png")
    path = write(tmp_path / "given" / "a.json", imageData=None)
    with pytest.raises(FrameError, match="outside of"):
        read_picture(read_annotation(path))


def test_turned_picture_as_labelme_shows_it(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned clockwise by a quarter
    Image.fromarray(picture()).save(tmp_path / "frame.png", exif=exif)
    size = {"imageHeight": SIZE[1], "imageWidth": SIZE[0]}
    turned = write(tmp_path / "a.json", imageData=None, **size)
    np.testing.assert_array_equal(read_picture(read_annotation(turned)), np.rot90(picture(), -1))
    upright = write(tmp_path / "a.json", imageData=None)  # versions that did not turn it state its stored size
    np.testing.assert_array_equal(read_picture(read_annotation(upright)), picture())


@pytest.mark.parametrize(
    "shapes, document, problem",
    [
        ([shape("polygon", [[1, 2], [3, 4]])], {}, "polygon of 2 points, which takes 3"),
        ([shape("polygon", [[1, 2], [3, 4], [float("nan"), 3]])], {}, "points are no"),
        ([shape("polygon", [[1, 2, 3]] * 3)], {}, "points are no"),
        ([shape("polygon", [[1e9, 2]] * 3)], {}, "points are no"),
        ([shape("cuboid", [[1, 2]] * 3)], {}, "unknown type 'cuboid'"),
        ([{"points": [[1, 2]] * 3}], {}, "without a label"),
        ([shape("mask", [[0, 0], [4, 4]], mask=png(np.zeros((4, 4), np.uint8)))], {}, "in a box of"),
        ([shape("mask", [[58, 0], [61, 3]], mask=png(np.ones((4, 4), np.uint8)))], {}, "outside the picture"),
        ([shape("mask", [[0, 0], [3, 3]], mask="AAAA")], {}, "shape 1"),
        ([shape("mask", [[0, 0], [3, 3]])], {}, "no base64"),
        ([], {"imageHeight": 41}, "drawn on 60 x 41 pixels, its picture has 60 x 40"),
        ([], {"imageData": "AAAA"}, "its picture"),
        ([], {"imageData": None}, "'frame.png' is missing"),
        ([], {"imageData": None, "imagePath": ""}, "neither in the file nor named"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path, shapes, document, problem):
    path = write(tmp_path / "a.json", *shapes, **document)
    with pytest.raises(FrameError, match=problem) as caught:
        draw(path)
        read_picture(read_annotation(path))
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value) and ";" in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"a": 1}', b"\xff\xfe\x00", b"[" * 100_000])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(FrameError, match="is no JSON|is no LabelMe annotation"):
        read_annotation(path)


def regions(seed: int) -> np.ndarray:
    """Random blobs, from dust to lakes with islands."""
    chance = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(chance.random((60, 60)), chance.uniform(0.3, 4))
    return smooth > np.quantile(smooth, chance.uniform(0.3, 0.98))


def agreement(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / (one | other).sum())


def test_masks_survive_the_way_through_labelme(tmp_path):
    masks = [phantom_frame(seed, thickness_mm=mm).mask for seed, mm in enumerate((3, 8, 20))]
    for number, mask in enumerate((*masks, *map(regions, range(30)))):
        grey = np.zeros(mask.shape, np.uint8)
        path, image = write_annotation(tmp_path / f"心超{number}", grey, mask, "积液")
        annotation = read_annotation(path)
        assert read_picture(annotation).shape == mask.shape and image.name == f"心超{number}.png"
        assert agreement(draw_mask(annotation, {"积液"}, mask.shape), mask) > 0.98


def test_few_points_and_masks_only_where_there_are_holes():
    rows, columns = np.indices((80, 80))
    disc = (rows - 40) ** 2 + (columns - 40) ** 2 < 30**2
    (polygon,) = mask_to_shapes(disc, "effusion")
    assert polygon["shape_type"] == "polygon" and 8 < len(polygon["points"]) < 70
    rectangle = np.zeros((30, 30), bool)
    rectangle[5:20, 10:25] = True
    (polygon,) = mask_to_shapes(rectangle, "effusion")
    assert {tuple(np.floor(point)) for point in polygon["points"]} == {(10, 5), (24, 5), (24, 19), (10, 19)}
    (ring,) = mask_to_shapes(disc & ((rows - 40) ** 2 + (columns - 40) ** 2 > 10**2), "effusion")
    assert ring["shape_type"] == "mask" and ring["points"] == [[11, 11], [69, 69]]
    assert mask_to_shapes(np.zeros((20, 20), bool), "effusion") == []


def test_polygons_of_regions_fill_holes_and_leave_out_lines():
    mask = np.zeros((40, 50), bool)
    mask[5:20, 10:25] = True
    mask[10:15, 15:20] = False
    mask[30, 5:20] = True
    (polygon,) = outline_regions(mask)
    assert {tuple(point) for point in polygon.tolist()} == {(10, 5), (24, 5), (24, 19), (10, 19)}
    assert outline_regions(np.zeros((20, 20), bool)) == []


@pytest.fixture
def labelme(monkeypatch):
    """The real LabelMe, which loads Qt."""
    monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")
    return pytest.importorskip("labelme", exc_type=ImportError)


def test_labelme_itself_reads_what_is_written(labelme, tmp_path):
    for number, mask in enumerate((phantom_frame(2, thickness_mm=20).mask, regions(1), np.zeros(SIZE, bool))):
        path, image = write_annotation(tmp_path / f"心超{number}", np.zeros(mask.shape, np.uint8), mask, "积液")
        file = labelme.LabelFile(str(path))
        assert file.image_path == image.name
        drawn, _ = labelme.utils.shapes_to_label(mask.shape, file.shapes, {"积液": 1})
        assert agreement(drawn > 0, mask) > 0.98 if mask.any() else not drawn.any()
        ours = draw_mask(read_annotation(path), {"积液"}, mask.shape)
        np.testing.assert_array_equal(drawn > 0, ours)


@pytest.mark.parametrize("embedded", [True, False], ids=["embedded", "beside"])
def test_what_labelme_itself_writes_is_read_as_it_reads_it(labelme, tmp_path, embedded):
    ring = regions(3)[:12, :20]
    shapes = [
        shape("polygon", [[5.3, 3.8], [9.1, 3.2], [12.7, 9.9], [5.0, 7.4]], "积液", group_id=1),
        shape("polygon", [[20.5, 30.5], [28.2, 31.0], [24.9, 38.6]], "积液", group_id=1),
        shape("rectangle", [[59.0, 39.0], [44.6, 30.2]], "积液"),
        shape("circle", [[30.2, 10.7], [33.9, 12.1]], "积液"),
        shape("mask", [[36.0, 14.0], [55.0, 25.0]], "积液", mask=labelme.utils.img_arr_to_b64(ring.astype(np.uint8))),
        shape("linestrip", [[0, 0], [50, 30], [3, 30]], "心包"),
    ]
    image = tmp_path / "心超 甲.png"
    Image.fromarray(picture()).save(image)
    path = tmp_path / "心超 甲.json"
    inside = image.read_bytes() if embedded else None
    labelme.LabelFile().save(str(path), shapes, image.name, *SIZE, inside)
    if embedded:
        image.unlink()
    annotation = read_annotation(path)
    assert find_labels([annotation]) == {"积液"} and annotation.labels == {"积液": 5, "心包": 1}
    np.testing.assert_array_equal(read_picture(annotation), picture())
    theirs, _ = labelme.utils.shapes_to_label(SIZE, labelme.LabelFile(str(path)).shapes[:5], {"积液": 1})
    np.testing.assert_array_equal(draw_mask(annotation, {"积液"}, SIZE), theirs > 0)
    assert 300 < theirs.sum() < 1500
