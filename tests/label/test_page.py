# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The page in headless Chromium, with real clicks and keys."""

from __future__ import annotations

import io
import shutil
import time

import numpy as np
import pytest
from label_service import chromium, fill, keep, phantom_still, png, serve
from PIL import Image

pytestmark = pytest.mark.slow
pytest.importorskip("monailabel", reason="MONAI Label is not installed; see constraints-label.txt")
webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
requests = pytest.importorskip("requests")
exceptions = pytest.importorskip("selenium.common.exceptions")


@pytest.fixture(scope="module")
def page_server(tmp_path_factory):
    root = tmp_path_factory.mktemp("page")
    with serve(fill(root / "studies"), root / "log.txt", "--spacing", "0.5", "0.5") as server:
        yield server


@pytest.fixture
def browser(page_server):
    driver = chromium()
    driver.get(page_server.url)
    yield driver
    for folder in (page_server.folder / "labels").glob("draft-*"):  # no later browser has the name of this one
        shutil.rmtree(folder)
    problems = [entry for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]
    driver.quit()
    assert not problems


def wait(condition, seconds=15):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.1)
    raise AssertionError("what was waited for did not happen")


def text(driver, name):
    return driver.find_element("id", name).text


def settled(driver):
    wait(lambda: text(driver, "message") in ("", "saved") and text(driver, "area") != "–")
    time.sleep(0.5)


def open_frame(driver, name):
    def press():
        try:  # the list may be drawn anew between finding a row and clicking it
            driver.find_element("css selector", f'[data-id="{name}"]').click()
        except (exceptions.NoSuchElementException, exceptions.StaleElementReferenceException):
            return False
        return True

    wait(press)
    wait(lambda: driver.find_elements("css selector", f'.current[data-id="{name}"]'))
    settled(driver)


def open_cleared(browser, name):
    """Open a frame and clear its outline, ready to add by clicks."""
    open_frame(browser, name)
    keys(browser, webdriver.Keys.DELETE, "c")
    wait(lambda: text(browser, "area") == "none")


def from_middle(box, x, y):
    """How far a pixel of the frame of 320 x 224 lies from the middle of the canvas."""
    scale = min(box["width"] / 320, box["height"] / 224) * 0.98
    return (x + 0.5 - 160) * scale, (y + 0.5 - 112) * scale


def click(driver, x, y, right=False):
    """A real click on a pixel of the frame of 320 x 224."""
    canvas = driver.find_element("id", "canvas")
    dx, dy = map(round, from_middle(canvas.rect, x, y))
    chain = webdriver.ActionChains(driver)
    chain.move_to_element_with_offset(canvas, dx, dy)
    (chain.context_click() if right else chain.click()).perform()


def label(server, name, tag="final"):
    """The one label of a tag, or of any browser's drafts; None without one."""
    paths = list((server.folder / "labels").glob(f"{tag}*/{name}.png"))
    assert len(paths) < 2
    return np.asarray(Image.open(io.BytesIO(paths[0].read_bytes()))) > 0 if paths else None


def drafted(server, name, check):
    """Whether there is a draft and it is as wanted."""
    mask = label(server, name, "draft")
    return mask is not None and check(mask)


def keys(driver, *pressed):
    chain = webdriver.ActionChains(driver)
    for key in pressed:
        chain.send_keys(key)
    chain.perform()


def test_clicks_add_and_remove_and_are_saved_and_undone(browser, page_server):
    open_frame(browser, "stillb_001")
    assert "Research use only" in browser.page_source
    keys(browser, webdriver.Keys.DELETE)
    wait(lambda: text(browser, "area") == "none")
    click(browser, 160, 100)
    wait(lambda: text(browser, "area").endswith("cm²"))
    keep(browser, "click")
    assert text(browser, "thickness").endswith("mm")
    wait(lambda: label(page_server, "stillb_001", "draft") is not None)
    click(browser, 160, 100, right=True)
    wait(lambda: text(browser, "area") == "none")
    keys(browser, "z")
    wait(lambda: text(browser, "area") != "none")
    keys(browser, "s")
    wait(lambda: label(page_server, "stillb_001") is not None)
    mask = label(page_server, "stillb_001")
    rows, columns = np.ogrid[:224, :320]
    assert np.array_equal(mask, (rows - 100) ** 2 + (columns - 160) ** 2 <= 144)
    assert label(page_server, "stillb_001", "draft") is None
    wait(lambda: browser.find_elements("css selector", '.done[data-id="stillb_001"]'))


def test_brush_draws_and_eraser_removes(browser, page_server):
    open_frame(browser, "stillb_001")
    keys(browser, webdriver.Keys.DELETE, "b")
    click(browser, 60, 120)
    settled(browser)
    keys(browser, "s")
    wait(lambda: (mask := label(page_server, "stillb_001")) is not None and mask[120, 60])
    assert label(page_server, "stillb_001").sum() == pytest.approx(np.pi * 8**2, rel=0.1)
    keys(browser, "e")
    click(browser, 60, 120)
    settled(browser)
    keys(browser, "s")
    wait(lambda: not label(page_server, "stillb_001").any())


STROKE = """
const done = arguments[0], canvas = document.getElementById("canvas"), box = canvas.getBoundingClientRect();
const put = OffscreenCanvasRenderingContext2D.prototype.putImageData, boxes = [];
OffscreenCanvasRenderingContext2D.prototype.putImageData = function (image, ...place) {
  boxes.push(image.width * image.height);
  put.call(this, image, ...place);
};
canvas.setPointerCapture = () => {}; // of a pointer that there is not
const tell = (kind, x, y) => canvas.dispatchEvent(new PointerEvent(kind, {
  pointerId: 1, clientX: box.left + box.width / 2 + x, clientY: box.top + box.height / 2 + y,
}));
const painted = () => new Promise((resolve) =>
  requestAnimationFrame(() => setTimeout(() => resolve(canvas.toDataURL()))));
(async () => {
  const before = await painted();
  tell("pointerdown", -300, 0);
  for (let x = -300; x <= 100; x += 20) tell("pointermove", x, x / 3);
  const largest = Math.max(...boxes);
  const drawn = await painted();
  tell("pointerup", 100, 100 / 3);
  done([largest, drawn !== before, drawn === await painted()]);
})();
"""


def test_a_stroke_draws_only_what_it_changes(browser):
    open_frame(browser, "stillb_001")
    keys(browser, webdriver.Keys.DELETE, "b")
    wait(lambda: text(browser, "area") == "none")
    settled(browser)
    largest, changed, as_if_drawn_whole = browser.execute_async_script(STROKE)
    assert largest < 320 * 224 / 20
    assert changed and as_if_drawn_whole
    keys(browser, "z", "z")


def test_outline_is_carried_to_the_next_frame_of_a_clip(browser, page_server):
    open_frame(browser, "beat@001")
    assert text(browser, "place") == "1 of 6"
    browser.find_element("id", "carry").click()
    click(browser, 100, 60)
    settled(browser)
    keys(browser, "s")
    wait(lambda: label(page_server, "beat@001") is not None)
    browser.find_element("id", "following").click()
    wait(lambda: text(browser, "place") == "2 of 6")
    settled(browser)
    keep(browser, "clip")
    keys(browser, "s")
    wait(lambda: label(page_server, "beat@002") is not None)
    assert np.array_equal(label(page_server, "beat@001"), label(page_server, "beat@002"))


def test_a_draft_outlives_the_browser(browser, page_server):
    open_frame(browser, "stillc_001")
    click(browser, 200, 80)
    settled(browser)
    wait(lambda: label(page_server, "stillc_001", "draft") is not None)
    draft = label(page_server, "stillc_001", "draft")
    browser.refresh()
    open_frame(browser, "stillc_001")
    keys(browser, "s")
    wait(lambda: label(page_server, "stillc_001") is not None)
    assert np.array_equal(label(page_server, "stillc_001"), draft)


def slow(driver, milliseconds):
    """Let every request take so long."""
    conditions = {"offline": False, "latency": milliseconds, "downloadThroughput": -1, "uploadThroughput": -1}
    driver.execute_cdp_cmd("Network.enable", {})
    driver.execute_cdp_cmd("Network.emulateNetworkConditions", conditions)


def test_what_is_saved_is_the_outline_that_was_on_its_way(browser, page_server):
    wait(lambda: browser.find_elements("css selector", '[data-id="beat@005"]'))
    settled(browser)
    slow(browser, 1000)
    browser.find_element("css selector", '[data-id="beat@005"]').click()
    wait(lambda: text(browser, "message") == "outlining …")
    keys(browser, "s")
    wait(lambda: label(page_server, "beat@005") is not None)
    outlined = label(page_server, "beat@005")
    assert outlined.any()
    click(browser, 40, 200)
    keys(browser, "s")
    wait(lambda: label(page_server, "beat@005")[200, 40])
    slow(browser, 0)
    wait(lambda: label(page_server, "beat@005", "draft") is None)


def test_what_a_click_changed_is_kept_though_the_next_frame_is_wanted(browser, page_server):
    open_frame(browser, "beat@003")
    browser.find_element("id", "carry").click()
    slow(browser, 700)
    click(browser, 40, 200)
    keys(browser, webdriver.Keys.ARROW_RIGHT)
    wait(lambda: text(browser, "place") == "4 of 6")
    settled(browser)
    assert label(page_server, "beat@003", "draft")[200, 40]
    wait(lambda: label(page_server, "beat@004", "draft") is not None)
    assert label(page_server, "beat@004", "draft")[200, 40]
    slow(browser, 0)


def test_what_is_drawn_while_the_label_is_sent_stays_a_draft(browser, page_server):
    open_frame(browser, "beat@006")
    keys(browser, webdriver.Keys.DELETE, "b")
    settled(browser)
    slow(browser, 1000)
    keys(browser, "s")
    click(browser, 60, 120)
    wait(lambda: label(page_server, "beat@006") is not None and label(page_server, "beat@006", "draft") is not None)
    slow(browser, 0)
    wait(lambda: browser.find_elements("css selector", '.done.changed[data-id="beat@006"]'))
    open_frame(browser, "stillb_001")
    open_frame(browser, "beat@006")
    wait(lambda: text(browser, "area") != "none")


def test_the_browser_asks_before_it_leaves_what_is_not_yet_kept(browser, page_server):
    open_frame(browser, "stillc_001")
    asks = "return !dispatchEvent(new Event('beforeunload', { cancelable: true }))"
    assert not browser.execute_script(asks)
    slow(browser, 700)
    keys(browser, "b")
    click(browser, 60, 120)
    assert browser.execute_script(asks)
    wait(lambda: drafted(page_server, "stillc_001", lambda mask: mask[120, 60]))
    wait(lambda: not browser.execute_script(asks))
    keys(browser, "c")
    click(browser, 40, 200)
    assert browser.execute_script(asks)
    wait(lambda: drafted(page_server, "stillc_001", lambda mask: mask[200, 40]))
    wait(lambda: not browser.execute_script(asks))
    slow(browser, 0)


def test_a_frame_that_does_not_come_leaves_the_one_in_hand_chosen(browser):
    open_frame(browser, "beat@001")
    browser.execute_cdp_cmd("Network.enable", {})
    browser.execute_cdp_cmd("Network.setBlockedURLs", {"urls": ["*/effusion/frame?*"]})
    keys(browser, webdriver.Keys.ARROW_RIGHT)
    wait(lambda: text(browser, "message") == "the server does not answer")
    assert browser.find_element("css selector", ".current").get_attribute("data-id") == "beat@001"
    assert text(browser, "place") == "1 of 6"
    browser.execute_cdp_cmd("Network.setBlockedURLs", {"urls": []})
    keys(browser, webdriver.Keys.ARROW_RIGHT)  # past the one that did not come
    wait(lambda: text(browser, "place") == "3 of 6")
    settled(browser)
    browser.get_log("browser")  # tells of the frame that did not come


def test_a_refused_click_does_not_stay(browser):
    open_cleared(browser, "stillb_001")
    click(browser, 160, 2)
    wait(lambda: "outside the sector" in text(browser, "message"))
    click(browser, 160, 100)
    wait(lambda: text(browser, "area") != "none" and text(browser, "message") == "")
    browser.get_log("browser")  # tells of the refusal


@pytest.mark.parametrize("milliseconds", [0, 1000])
def test_a_refused_click_on_an_untouched_frame_leaves_no_draft(browser, page_server, milliseconds):
    open_frame(browser, "beat@002")
    assert label(page_server, "beat@002", "draft") is None
    slow(browser, milliseconds)
    click(browser, 160, 2)
    wait(lambda: "outside the sector" in text(browser, "message"))
    slow(browser, 0)
    time.sleep(0.5)
    open_frame(browser, "stilla_001")
    assert label(page_server, "beat@002", "draft") is None
    assert not browser.find_elements("css selector", '.changed[data-id="beat@002"]')
    browser.get_log("browser")  # tells of the refusal


def test_a_refused_click_on_a_saved_frame_leaves_no_draft(browser, page_server):
    open_frame(browser, "beat@004")
    keys(browser, "b")
    click(browser, 60, 120)
    keys(browser, "s")
    wait(lambda: text(browser, "message") == "saved")
    slow(browser, 1000)
    keys(browser, "c")
    click(browser, 160, 2)
    wait(lambda: "outside the sector" in text(browser, "message"))
    slow(browser, 0)
    open_frame(browser, "stilla_001")
    assert label(page_server, "beat@004", "draft") is None
    browser.get_log("browser")  # tells of the refusal


def test_undoing_a_click_leaves_the_answer_to_the_one_before(browser, page_server):
    open_cleared(browser, "stillc_001")
    slow(browser, 700)
    click(browser, 100, 60)
    click(browser, 220, 60)  # so soon that the first one's answer is dropped
    settled(browser)
    keys(browser, "z")
    wait(lambda: drafted(page_server, "stillc_001", lambda mask: mask[60, 100] and not mask[60, 220]))
    keys(browser, "z")
    wait(lambda: drafted(page_server, "stillc_001", lambda mask: not mask.any()))
    keys(browser, "y", "y")
    wait(lambda: drafted(page_server, "stillc_001", lambda mask: mask[60, 100] and mask[60, 220]))
    slow(browser, 0)


def test_a_refused_click_leaves_the_answer_to_the_one_before(browser, page_server):
    open_cleared(browser, "stillc_001")
    slow(browser, 700)
    click(browser, 100, 60)
    click(browser, 160, 2)
    wait(lambda: "outside the sector" in text(browser, "message"))
    wait(lambda: drafted(page_server, "stillc_001", lambda mask: mask[60, 100]))
    slow(browser, 0)
    browser.get_log("browser")  # tells of the refusal


def test_the_models_outline_asked_for_anew_is_kept(browser, page_server):
    open_frame(browser, "stillc_001")
    keys(browser, webdriver.Keys.DELETE)
    wait(lambda: text(browser, "area") == "none")
    wait(lambda: drafted(page_server, "stillc_001", lambda mask: not mask.any()))
    slow(browser, 700)
    keys(browser, "o")
    wait(lambda: drafted(page_server, "stillc_001", np.any))
    slow(browser, 0)


def test_every_press_of_an_arrow_counts(browser):
    open_frame(browser, "beat@001")
    slow(browser, 300)
    keys(browser, *[webdriver.Keys.ARROW_RIGHT] * 3)
    wait(lambda: browser.find_elements("css selector", '.current[data-id="beat@004"]'))
    assert text(browser, "place") == "4 of 6"
    slow(browser, 0)
    open_frame(browser, "stilla_001")
    slow(browser, 300)
    keys(browser, *[webdriver.Keys.ARROW_DOWN] * 2)
    wait(lambda: browser.find_elements("css selector", '.current[data-id="stillc_001"]'))
    slow(browser, 0)


def test_the_frame_after_one_that_is_no_longer_to_do_is_the_next(browser, page_server):
    for name in ("stillb_001", "stillc_001"):
        requests.delete(f"{page_server.url}/datastore/label?id={name}&tag=final", timeout=60)
    browser.refresh()
    open_frame(browser, "stillb_001")
    browser.find_element("css selector", '#filter [value="open"]').click()
    browser.find_element("id", "canvas").click()
    settled(browser)
    keys(browser, "s")
    wait(lambda: not browser.find_elements("css selector", '[data-id="stillb_001"]'))
    keys(browser, webdriver.Keys.ARROW_DOWN)
    current = wait(lambda: browser.execute_script("return document.querySelector('.current')?.dataset.id"))
    assert current == "stillc_001"
    settled(browser)
    requests.delete(f"{page_server.url}/datastore/label?id=stillb_001&tag=final", timeout=60)


def test_the_next_best_frame_does_not_take_one_out_of_the_hand(browser):
    open_frame(browser, "stillb_001")
    slow(browser, 1000)
    keys(browser, "n")
    browser.find_element("css selector", '[data-id="beat@002"]').click()
    wait(lambda: text(browser, "place") == "2 of 6")
    time.sleep(2)
    slow(browser, 0)
    settled(browser)
    assert text(browser, "place") == "2 of 6"
    assert browser.find_elements("css selector", '.current[data-id="beat@002"]')


def put_label(server, name, value):
    address = f"{server.url}/datastore/label?image={name}"
    file = "x.png", png(np.full((224, 320), value, np.uint8))
    assert requests.put(address, files={"label": file}, timeout=60).ok


def refused(driver):
    wait(lambda: text(driver, "message").startswith("not saved: someone else saved"))
    assert any("412" in entry["message"] for entry in driver.get_log("browser"))  # and the log is empty again


def test_a_label_that_the_list_does_not_know_yet_is_shown(browser, page_server):
    open_frame(browser, "stillb_001")
    put_label(page_server, "stilla_001", 255)
    open_frame(browser, "stilla_001")
    assert text(browser, "area").startswith("179.20")
    wait(lambda: browser.find_elements("css selector", '.done:not(.changed)[data-id="stilla_001"]'))


def test_files_that_are_left_out_are_told(browser, page_server):
    box = browser.find_element("id", "left-out")
    assert not box.is_displayed()
    film = page_server.folder / "film.mp4"
    film.write_bytes(b"")
    try:
        requests.get(f"{page_server.url}/effusion/frames?refresh=true", timeout=60)
        browser.refresh()
        wait(lambda: browser.find_element("id", "left-out").is_displayed())
        summary = browser.find_element("css selector", "#left-out summary")
        assert summary.text == "1 file left out"
        summary.click()
        assert browser.find_element("css selector", "#left-out li").text.startswith("film.mp4: is empty (0 bytes)")
    finally:
        film.unlink()
        requests.get(f"{page_server.url}/effusion/frames?refresh=true", timeout=60)


def test_a_label_saved_after_a_draft_is_only_replaced_on_purpose(browser, page_server):
    open_cleared(browser, "stillb_001")
    click(browser, 160, 100)
    settled(browser)
    wait(lambda: drafted(page_server, "stillb_001", np.any))
    open_frame(browser, "stilla_001")
    put_label(page_server, "stillb_001", 255)
    open_frame(browser, "stillb_001")
    assert not text(browser, "area").startswith("179.20")
    keys(browser, "s")
    refused(browser)
    assert text(browser, "area").startswith("179.20")
    assert label(page_server, "stillb_001").all() and not label(page_server, "stillb_001", "draft").all()
    keys(browser, "z", "s")
    wait(lambda: not label(page_server, "stillb_001").all())
    wait(lambda: label(page_server, "stillb_001", "draft") is None)


def test_two_people_at_one_frame_lose_nothing(browser, page_server):
    other = chromium()
    try:
        other.get(page_server.url)
        for driver, x in ((browser, 60), (other, 200)):
            open_frame(driver, "beat@001")
            keys(driver, webdriver.Keys.DELETE, "b")
            click(driver, x, 120)
        drafts = lambda: list((page_server.folder / "labels").glob("draft-*/beat@001.png"))  # noqa: E731
        wait(lambda: len(drafts()) == 2 and all(np.asarray(Image.open(path)).any() for path in drafts()))
        keys(browser, "s")
        wait(lambda: len(drafts()) == 1)
        mine = label(page_server, "beat@001")
        assert mine[120, 60] and not mine[120, 200]
        keys(other, "s")
        refused(other)
        keep(other, "overtaken")
        assert np.array_equal(label(page_server, "beat@001"), mine)
        assert len(drafts()) == 1
        keys(other, "z", "s")
        wait(lambda: label(page_server, "beat@001")[120, 200] and not drafts())
        keys(browser, "s")  # unchanged here, but no longer what is there
        refused(browser)
        keys(browser, "s")  # agreed
        wait(lambda: text(browser, "message") == "saved")
        assert not label(page_server, "beat@001")[120, 60]
    finally:
        other.quit()


def test_a_stroke_before_the_outline_leaves_no_message(browser):
    open_frame(browser, "stillb_001")
    slow(browser, 1000)
    keys(browser, "o", "b")
    click(browser, 60, 120)
    assert text(browser, "message") == "outlining …"
    wait(lambda: text(browser, "message") == "")
    slow(browser, 0)


def test_only_a_tap_is_a_click(browser):
    open_cleared(browser, "stillb_001")
    box = browser.find_element("id", "canvas").rect
    x, y = (round(box[side] + box[size] / 2) for side, size in (("x", "width"), ("y", "height")))

    def touch(kind, fingers):
        points = [{"x": x + 30 * finger, "y": y, "id": finger} for finger in range(fingers)]
        browser.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    for count in (1, 2, 3):
        touch("touchStart", count)
    touch("touchEnd", 0)
    touch("touchStart", 1)
    touch("touchCancel", 0)
    time.sleep(2)
    assert text(browser, "area") == "none"
    touch("touchStart", 1)
    touch("touchEnd", 0)
    wait(lambda: text(browser, "area") != "none")


def look_again(server):
    requests.get(f"{server.url}/effusion/frames?refresh=true", timeout=60)


def pointer(driver, kind, x, y):
    """A part of a stroke, in pixels of the frame of 320 x 224."""
    box = driver.find_element("id", "canvas").rect
    dx, dy = from_middle(box, x, y)
    place = {"x": box["x"] + box["width"] / 2 + dx, "y": box["y"] + box["height"] / 2 + dy}
    held = {"button": "left", "buttons": 1, "clickCount": 1}
    driver.execute_cdp_cmd("Input.dispatchMouseEvent", {"type": f"mouse{kind}", **place, **held})


def test_a_stroke_that_is_kept_while_it_is_drawn_is_kept_whole(browser, page_server):
    open_cleared(browser, "stillc_001")
    keys(browser, "b")
    for x in (60, 200):  # the second begins before the draft of the first is sent, and goes on after it
        pointer(browser, "Pressed", x, 60)
        pointer(browser, "Moved", x, 100)
        if x == 200:
            time.sleep(1)
            pointer(browser, "Moved", x, 160)
        pointer(browser, "Released", x, 160 if x == 200 else 100)
    wait(lambda: drafted(page_server, "stillc_001", lambda mask: mask[60, 60] and mask[160, 200]), 5)


def test_a_stroke_belongs_to_the_frame_it_began_on(browser, page_server):
    requests.delete(f"{page_server.url}/datastore/label?id=beat@003&tag=final", timeout=60)
    open_cleared(browser, "beat@002")
    slow(browser, 700)
    keys(browser, "b", webdriver.Keys.ARROW_RIGHT)
    pointer(browser, "Pressed", 60, 60)
    pointer(browser, "Moved", 60, 100)
    wait(lambda: text(browser, "place") == "3 of 6")
    time.sleep(2)
    pointer(browser, "Moved", 60, 160)
    pointer(browser, "Released", 60, 160)
    slow(browser, 0)
    settled(browser)
    wait(lambda: drafted(page_server, "beat@002", lambda mask: mask[100, 60] and not mask[160, 60]))
    assert label(page_server, "beat@003", "draft") is None
    assert browser.find_element("id", "undo").get_attribute("disabled")


def test_a_label_that_was_never_shown_is_only_replaced_on_purpose(browser, page_server):
    open_cleared(browser, "stillb_001")
    keys(browser, "b")
    click(browser, 60, 120)
    wait(lambda: drafted(page_server, "stillb_001", np.any))
    put_label(page_server, "stillb_001", 255)
    click(browser, 200, 120)  # a draft that is younger than the label
    wait(lambda: drafted(page_server, "stillb_001", lambda mask: mask[120, 200]))
    open_frame(browser, "stilla_001")
    open_frame(browser, "stillb_001")
    keys(browser, "s")
    refused(browser)
    assert label(page_server, "stillb_001").all()


def test_saving_in_one_tab_leaves_the_draft_of_another(browser, page_server):
    open_cleared(browser, "stilla_001")
    settled(browser)
    first = browser.current_window_handle
    browser.switch_to.new_window("tab")
    browser.get(page_server.url)
    open_frame(browser, "stilla_001")
    second = browser.current_window_handle
    browser.switch_to.window(first)
    keys(browser, "b")
    click(browser, 60, 120)
    wait(lambda: drafted(page_server, "stilla_001", lambda mask: mask[120, 60]))
    browser.switch_to.window(second)
    keys(browser, "s")
    wait(lambda: text(browser, "message") == "saved")
    assert label(page_server, "stilla_001", "draft")[120, 60]
    browser.close()
    browser.switch_to.window(first)


def test_a_brush_waits_for_the_answer_to_a_click(browser, page_server):
    open_cleared(browser, "stilla_001")
    slow(browser, 700)
    click(browser, 160, 100)
    keys(browser, "b")
    click(browser, 60, 120)
    assert text(browser, "message").startswith("the click is not yet answered")
    slow(browser, 0)
    wait(lambda: drafted(page_server, "stilla_001", lambda mask: mask[100, 160] and not mask[120, 60]))


def test_enter_saves_also_after_a_click_on_a_button(browser, page_server):
    requests.delete(f"{page_server.url}/datastore/label?id=stillb_001&tag=final", timeout=60)
    open_frame(browser, "stillb_001")
    browser.find_element("id", "clear").click()
    wait(lambda: text(browser, "area") == "none")
    keys(browser, webdriver.Keys.ENTER)
    wait(lambda: label(page_server, "stillb_001") is not None)


def test_the_pointer_is_where_it_is_on_another_screen(browser, page_server):
    open_cleared(browser, "stilla_001")
    size = browser.execute_script("return [innerWidth, innerHeight]")
    metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 2, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    keys(browser, "b")
    click(browser, 60, 120)
    wait(lambda: drafted(page_server, "stilla_001", lambda mask: mask[120, 60]))


def test_arrows_lead_away_from_a_frame_that_does_not_open(browser, page_server):
    broken = page_server.folder / "aaa.png"
    broken.write_bytes(b"no picture")
    look_again(page_server)
    try:
        browser.get(page_server.url)
        wait(lambda: "aaa" in text(browser, "message"))
        assert browser.find_elements("css selector", '[data-id="aaa"]')
        keys(browser, webdriver.Keys.ARROW_DOWN)
        settled(browser)
        assert browser.find_elements("css selector", ".current")
    finally:
        broken.unlink()
        look_again(page_server)
    browser.get_log("browser")  # tells of the frame that did not come


def test_training_is_started_followed_and_told(browser, page_server):
    Image.fromarray(phantom_still(0).image).save(page_server.folder / "still #4 & 100%.png")
    look_again(page_server)
    browser.get(page_server.url)
    for name in ("stilla_001", "beat@003", "still #4 & 100%"):
        open_frame(browser, name)
        keys(browser, "s")
        wait(lambda name=name: label(page_server, name) is not None)
    browser.find_element("id", "train").click()
    wait(lambda: "epoch" in text(browser, "training-text"), 60)
    keep(browser, "training")
    wait(lambda: "validation frames" in text(browser, "training-text"), 120)
    keep(browser, "trained")


def test_it_fits_a_tablet(browser):
    browser.set_window_size(820, 1180)
    open_frame(browser, "stilla_001")
    keep(browser, "tablet")
    assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    button = browser.find_element("id", "save").rect
    assert button["y"] + button["height"] <= 1180
