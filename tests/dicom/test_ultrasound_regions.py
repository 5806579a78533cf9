# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""What an object's regions say about what is shown, and how large a pixel is."""

from __future__ import annotations

import pydicom
import pytest

from pe_monai.dicom.phantom import tissue_region
from pe_monai.dicom.regions import find_views
from pe_monai.errors import FrameError

WHOLE, LEFT, RIGHT = (0, 0, 200, 300), (0, 0, 200, 150), (0, 150, 200, 300)


def region(corners=WHOLE, spacing=(0.5, 0.25), shape: int = 1, data: int = 1) -> pydicom.Dataset:
    result = tissue_region(corners, spacing)
    result.RegionSpatialFormat, result.RegionDataType = shape, data
    return result


def image(*regions: pydicom.Dataset, **values: object) -> pydicom.Dataset:
    header = pydicom.Dataset()
    header.Rows, header.Columns = 200, 300
    if regions:
        header.SequenceOfUltrasoundRegions = list(regions)
    for keyword, value in values.items():
        setattr(header, keyword, value)
    return header


def test_one_picture_is_its_region_with_rows_first():
    (view,) = find_views(image(region((10, 20, 180, 280))))
    assert view.box == (slice(10, 180), slice(20, 280))
    assert view.spacing == pytest.approx((0.5, 0.25)) and view.notes == ()


def test_waveform_and_graphics_change_nothing():
    (view,) = find_views(image(region(), region((150, 0, 200, 300), shape=4, data=10), region(shape=5, data=13)))
    assert view.box is None and view.spacing == pytest.approx((0.5, 0.25))


def test_no_region_no_millimetres():
    (view,) = find_views(image())
    assert view.spacing is None and "pixel size is unknown" in view.notes[0]
    (view,) = find_views(image(UltrasoundColorDataPresent=1, PixelSpacing=[0.3, 0.3]))
    assert view.spacing is None and "colour" in view.notes[1]


@pytest.mark.parametrize("spacing", [(0, 0.5), (0.5, 0), (1000, 0.5), (0.0001, 0.5), (float("nan"), 0.5)])
def test_absurd_deltas(spacing):
    (view,) = find_views(image(region(spacing=spacing)))
    assert view.spacing is None and "no usable pixel size" in view.notes[0]


def test_other_units_and_broken_values():
    seconds, text = region(), region()
    seconds.PhysicalUnitsXDirection = 4
    text.add(pydicom.DataElement("PhysicalDeltaX", "LO", "abc"))
    for one in (seconds, text):
        (view,) = find_views(image(one))
        assert view.spacing is None


def test_negative_delta_is_a_direction():
    (view,) = find_views(image(region(spacing=(-0.5, 0.25))))
    assert view.spacing == pytest.approx((0.5, 0.25))


def test_two_pictures_side_by_side_are_apart():
    one, other = find_views(image(region(RIGHT, (0.4, 0.4)), region(LEFT)))
    assert one.box == (slice(0, 200), slice(0, 150)) and one.spacing == pytest.approx((0.5, 0.25))
    assert other.box == (slice(0, 200), slice(150, 300)) and other.spacing == pytest.approx((0.4, 0.4))
    assert "only its own region" in one.notes[0]


def test_the_same_region_twice():
    (view,) = find_views(image(region(), region()))
    assert view.spacing == pytest.approx((0.5, 0.25))
    (view,) = find_views(image(region(), region(spacing=(0.7, 0.7))))
    assert view.spacing is None


def test_regions_that_overlap_and_contradict_each_other():
    left, right = (0, 0, 199, 199), (60, 0, 299, 199)
    assert find_views(image(region(left), region(right)))[0].spacing == (0.5, 0.25)
    assert find_views(image(region(left), region(right, (0.5, 0.5))))[0].spacing is None
    inset = region((20, 20, 99, 99), (1, 1))  # a small picture in the picture says nothing of the large one
    assert find_views(image(region(), inset))[0].spacing == (0.5, 0.25)


def test_doppler_and_m_mode():
    for shape, data, words in ((3, 3, "spectral Doppler"), (2, 1, "M-mode"), (1, 2, "colour Doppler")):
        with pytest.raises(FrameError, match=words):
            find_views(image(region(shape=shape, data=data)))
    with pytest.raises(FrameError, match="colour Doppler"):
        find_views(image(region(), region((50, 50, 150, 200), data=2)))
    (view,) = find_views(image(region((0, 0, 100, 300)), region((100, 0, 200, 300), shape=2)))
    assert view.box == (slice(0, 100), slice(0, 300))
    (view,) = find_views(image(region(LEFT), region(RIGHT), region(RIGHT, data=2)))
    assert view.box == (slice(0, 200), slice(0, 150))


@pytest.mark.parametrize("left, beside", [(148, True), (147, False)])
def test_colour_beside_the_picture_may_share_its_border(left, beside):
    regions = image(region(LEFT), region((0, left, 200, 300), data=2))
    if beside:
        (view,) = find_views(regions)
        assert view.box == (slice(0, 200), slice(0, 150))
    else:
        with pytest.raises(FrameError, match="colour Doppler"):
            find_views(regions)


def test_regions_outside_the_frame_or_tiny_do_not_count():
    (view,) = find_views(image(region((500, 500, 600, 600)), region((0, 0, 8, 8)), region((0, 0, 999, 999))))
    assert view.box is None and view.spacing == pytest.approx((0.5, 0.25))
