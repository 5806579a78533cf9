# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The interactive network: what was clicked keeps, and corrections help."""

from __future__ import annotations

import numpy as np
import pytest

from pe_monai.data import phantom_frame
from pe_monai.errors import FrameError
from pe_monai.interactive import Click, InteractivePredictor
from pe_monai.interactive.evaluation import Session, correct, summarise
from pe_monai.measure import dice
from pe_monai.paths import bundle_dir
from pe_monai.transforms import put_click

pytestmark = pytest.mark.skipif(
    not (bundle_dir() / "models" / "interactive" / "model.pt").is_file(), reason="no interactive weights here"
)


@pytest.fixture(scope="module")
def interactive() -> InteractivePredictor:
    return InteractivePredictor(device="cpu")


@pytest.fixture(scope="module")
def phantom():
    return phantom_frame(seed=40, thickness_mm=18)


def inside(interactive, phantom):
    """A pixel of the sector far from effusion."""
    free = interactive.predict(phantom.image, []).sector & (phantom.mask == 0)
    rows, columns = np.nonzero(free)
    place = len(rows) // 2
    return int(rows[place]), int(columns[place])


def test_clicks_keep_what_they_say(interactive, phantom):
    row, column = inside(interactive, phantom)
    start = np.zeros(phantom.image.shape[:2], bool)
    added = interactive.predict(phantom.image, [Click(row, column, True)], start)
    assert added.mask[row, column] and added.mask.shape == start.shape and added.mask.dtype == bool
    taken = interactive.predict(phantom.image, [Click(row, column, True), Click(row, column, False)], start)
    assert not taken.mask[row, column]
    assert not start.any()


def test_a_click_changes_nothing_far_from_it(interactive, phantom):
    row, column = inside(interactive, phantom)
    start = np.zeros(phantom.image.shape[:2], bool)
    corner = phantom.mask > 0
    start |= corner
    after = interactive.predict(phantom.image, [Click(row, column, True)], start).mask
    from skimage.measure import label

    changes = label(after ^ start, connectivity=2)
    rows, columns = np.ogrid[: start.shape[0], : start.shape[1]]
    near = np.hypot(rows - row, columns - column) < 12
    assert set(np.unique(changes)) - {0} <= set(np.unique(changes[near]))


@pytest.mark.parametrize("positive", [True, False])
@pytest.mark.parametrize("away", [1, 4, 9])
def test_a_click_moves_the_outline_by_twice_its_distance_at_most(interactive, phantom, monkeypatch, positive, away):
    sector = interactive.predict(phantom.image, []).sector
    middle = sector.shape[0] // 2
    start = np.zeros_like(sector)
    start[:middle] = sector[:middle]  # what lies above the middle
    last = middle - 1 if positive else middle  # row on the outline's other side, from which the click is `away`
    row = last + away if positive else last - away
    probability = np.full(sector.shape, float(positive), np.float32)
    monkeypatch.setattr(interactive, "_run", lambda *_: probability)
    monkeypatch.setattr(interactive, "_known", type(interactive._known)())
    after = interactive.predict(phantom.image, [Click(row, sector.shape[1] // 2, positive)], start).mask
    changed = np.nonzero(after[:, sector.shape[1] // 2] != start[:, sector.shape[1] // 2])[0]
    assert abs(changed - last).min() == 1 and abs(changed - last).max() == 2 * away


@pytest.mark.parametrize("positive", [True, False])
@pytest.mark.parametrize(
    ("away", "sure", "changed"),
    [(4, 0.3, 7), (4, 0.2, 1), (1, 0.3, 1), (12, 0.3, 1)],
    ids=["near", "no", "next", "far"],
)
def test_a_click_near_the_outline_takes_what_lies_around_it_unless_the_network_is_sure_of_the_contrary(
    interactive, phantom, monkeypatch, positive, away, sure, changed
):
    sector = interactive.predict(phantom.image, []).sector
    row, column = sector.shape[0] // 2, sector.shape[1] // 2
    start = np.zeros_like(sector)
    edge = row - away + 1 if positive else row + away
    start[:edge] = sector[:edge]
    probability = np.full(sector.shape, sure if positive else 1 - sure, np.float32)
    monkeypatch.setattr(interactive, "_run", lambda *_: probability)
    monkeypatch.setattr(interactive, "_known", type(interactive._known)())
    after = interactive.predict(phantom.image, [Click(row, column, positive)], start).mask
    rows = np.nonzero((after != start)[:, column])[0]
    assert len(rows) in (changed, changed + 2) and rows.mean() == row  # a pixel's own disk is 1 or 3 wide
    assert after[row, column] == positive


def test_answers_do_not_depend_on_what_was_asked_before(interactive, phantom):
    row, column = inside(interactive, phantom)
    clicks = [Click(row, column, True), Click(row - 8, column - 8, False), Click(row + 3, column + 10, True)]
    step = [interactive.predict(phantom.image, clicks[:count]).mask for count in (1, 2, 3)][-1]
    fresh = InteractivePredictor(device="cpu").predict(phantom.image, clicks).mask
    assert np.array_equal(step, fresh)


def test_one_more_click_is_one_more_run_however_many_there_are(interactive, phantom, monkeypatch):
    runs = []
    sector = interactive.predict(phantom.image, []).sector
    monkeypatch.setattr(interactive, "_run", lambda *_: runs.append(1) or np.zeros(sector.shape, np.float32))
    monkeypatch.setattr(interactive, "_known", type(interactive._known)())
    rows, columns = np.nonzero(sector)
    clicks = [Click(int(rows[place]), int(columns[place]), True) for place in range(0, 8100, 100)]
    start = np.zeros_like(sector)
    interactive.predict(phantom.image, clicks[:-1], start)
    runs.clear()
    last = interactive.predict(phantom.image, clicks, start).mask
    assert len(runs) == 1 and all(last[click.row, click.column] for click in clicks)


def test_clicks_sent_at_once_are_each_drawn_once(interactive, phantom, monkeypatch):
    drawn = []

    def draw(inputs, mask, click):
        drawn.append(click)
        return put_click(inputs, mask, click)

    sector = interactive.predict(phantom.image, []).sector
    monkeypatch.setattr("pe_monai.interactive.predictor.put_click", draw)
    rows, columns = np.nonzero(sector)
    clicks = [Click(int(rows[place]), int(columns[place]), place % 200 > 0) for place in range(0, 2000, 100)]
    interactive.predict(phantom.image, clicks, np.zeros_like(sector))
    assert len([click for click in drawn if click is not None]) == len(clicks)


def test_answers_are_kept_up_to_a_size(interactive, phantom, monkeypatch):
    sector = interactive.predict(phantom.image, []).sector
    monkeypatch.setattr(interactive, "_run", lambda *_: np.zeros(sector.shape, np.float32))
    monkeypatch.setattr(interactive, "_known", type(interactive._known)())
    monkeypatch.setattr("pe_monai.kept.MOST_BYTES", 20 * 5 * sector.size)
    rows, columns = np.nonzero(sector)
    clicks = [Click(int(rows[place]), int(columns[place]), True) for place in range(0, 4000, 100)]
    for count in range(1, len(clicks) + 1):
        interactive.predict(phantom.image, clicks[:count], np.zeros_like(sector))
    answers = [value for key, value in interactive._known.items() if key[0] == "mask"]
    assert 10 < len(answers) < 20
    assert any(key[-1] == tuple(clicks) for key in interactive._known)


def test_without_a_click_the_mask_stays(interactive, phantom):
    start = phantom.mask > 0
    assert np.array_equal(interactive.predict(phantom.image, [], start).mask, start)


@pytest.mark.parametrize(
    ("click", "reason"),
    [
        (Click(300, 20, True), "swapped"),
        (Click(-5, 20, False), "outside the frame"),
        (Click(10, 5000, True), "outside the frame"),
        (Click(0, 0, True), "outside the ultrasound sector"),
    ],
)
def test_clicks_that_cannot_be_meant_are_explained(interactive, phantom, click, reason):
    with pytest.raises(FrameError, match=reason):
        interactive.predict(phantom.image, [click])


def test_mask_of_another_size_is_refused(interactive, phantom):
    with pytest.raises(FrameError, match="10 x 20"):
        interactive.predict(phantom.image, [], np.zeros((20, 10)))


def test_corrections_of_an_empty_outline_help(interactive, phantom):
    truth = phantom.mask > 0
    session = correct(interactive, phantom.image, truth, np.zeros_like(truth), most=8)
    assert session.dice[0] == 0 and session.dice[-1] > 0.5


def test_truth_outside_the_sector_is_not_clicked_but_counts(interactive, phantom):
    truth = ~interactive.predict(phantom.image, []).sector
    session = correct(interactive, phantom.image, truth, np.zeros_like(truth), most=2)
    assert session.dice == (0.0,)


def test_summary_by_hand():
    assert dice(np.zeros((2, 2), bool), np.zeros((2, 2), bool)) == 1
    found = summarise([Session((0.5, 0.9, 0.8), (0.1, 0.1)), Session((0.95,), ())], most=2, goals=(0.9,))
    assert found["mean_dice"] == [0.725, 0.925, 0.875]
    assert found["noc_90"] == 0.5 and found["never_90"] == 0 and found["worse_share"] == 0.5
    with pytest.raises(ValueError, match="no frame"):
        summarise([])
