// Copyright (c) pe_monai contributors. SPDX-License-Identifier: Apache-2.0
// The page: one frame in hand, its outline, what was done to it, and the buttons and keys.

import { DRAFT, get, loadLabel, named, originOf, post, request, revisionOf, saveDraftOf, saveLabel } from "./api.js";
import { FrameList } from "./list.js";
import { base64, decode, encode, paint } from "./mask.js";
import { startTraining } from "./training.js";
import { View } from "./view.js";

const $ = (id) => document.getElementById(id);
const list = new FrameList((id) => open(id));
const view = new View($("canvas"), { press, drag, release, cancel });

let tool = "add";
let canClick = false;
let turn = 0; // answers to requests of an earlier turn are dropped
let heading = null; // the frame that was asked for last: in hand, or on its way
let edit = null; // { id, width, height, saved, draft, mask, clicks, base, waiting, past, future, changed }
let stroke = null;
let sending = Promise.resolve();
let unsent = 0;
let ready = Promise.resolve(); // settled once the frame in hand has its outline
let asked = 0;
const timers = {};

// ---- one frame ----

async function open(id, carry = false) {
  const mine = ++turn;
  heading = id;
  if (edit?.changed && edit.waiting) await ready.catch(() => {}); // what the last click changes is to be kept, too
  const carried = carry ? edit.mask : null;
  await saveDraft();
  if (mine !== turn) return;
  list.choose(id);
  say("");
  try {
    if (!list.find(id)) await refresh(); // it came into the folder since
    const [answer, labels] = await Promise.all([
      request(`effusion/frame?${named(id)}`),
      get(`effusion/labels?${named(id)}&draft=${DRAFT}`), // the list may not know yet what someone else has saved
    ]);
    const frame = await createImageBitmap(await answer.blob());
    if (mine !== turn) return;
    const { width, height } = frame;
    const mask = new Uint8Array(width * height);
    if (stroke?.drawn) release(); // what is drawn from now on is of the next frame
    stroke = null;
    clearTimeout(timers.measure);
    saveDraft(); // of what was drawn while the frame came
    const saved = labels.draft ? originOf(id) ?? labels.saved : labels.saved;
    edit = { id, width, height, saved, mask, clicks: [], base: null, waiting: false, past: [], future: [], changed: false };
    view.show(frame);
    forgetMeasures();
    showEdit();
    showClip(id);
    ready = begin(labels, carried, mine);
    await ready;
  } catch (error) {
    if (mine !== turn) return;
    say(error.message, true);
    if (edit) {
      list.choose(edit.id); // the frame that is still in hand
      showClip(edit.id);
    }
  }
}

// what a frame begins with: a draft, its label, the outline of the frame before it, or the model's
async function begin({ saved, draft }, carried, mine) {
  list.mark(edit.id, { done: saved !== "", changed: draft });
  if (draft || saved) {
    const answer = await loadLabel(edit.id, draft ? DRAFT : "final");
    if (mine !== turn) return;
    const mask = await decode(await answer.blob(), edit.width, edit.height);
    if (mine !== turn) return;
    Object.assign(edit, { mask, base: mask, kept: mask, changed: draft, draft: draft ? revisionOf(answer) : null });
    showEdit();
    return measure();
  }
  if (carried && carried.length === edit.mask.length) {
    change(() => Object.assign(edit, { mask: carried.slice(), base: carried.slice() }));
    await measure();
  } else {
    await ask(mine);
  }
}

// the model's outline: by itself, or by the clicks on top of what was there before them
async function ask(mine = turn) {
  const asking = edit;
  asking.waiting = true; // until then the mask is not yet what the clicks say
  const { id, width, height, clicks, base } = asking;
  const point = (click) => [click.x, click.y];
  const number = ++asked;
  const wanted = () => edit === asking && edit.clicks === clicks && !stroke?.drawn;
  say("outlining …");
  try {
    const answer = await post("effusion/outline", {
      image: id,
      points: clicks.map(point),
      point_labels: clicks.map((click) => Number(click.positive)),
      mask: clicks.length && base ? await base64(await encode(base, width, height)) : null,
    });
    const mask = await decode(answer.mask, width, height);
    if (!wanted()) return;
    Object.assign(edit, { mask, waiting: false });
    if (!clicks.length) edit.base = mask;
    showEdit();
    showMeasures(answer.measurement, answer);
    $("model").textContent = `model ${answer.version}`;
    if (edit.changed) keepDraft();
    else edit.kept = mask; // nothing to keep until something was done to it
  } catch (error) {
    if (!wanted()) return;
    edit.waiting = false;
    // a click that was refused would be so again with every further one
    if (clicks.length && edit.past.length) Object.assign(edit, edit.past.pop());
    list.mark(id, { changed: edit.changed });
    if (edit.waiting) await ask(mine); // those before it are still to be answered
    if (edit !== asking) return;
    showEdit();
    say(error.message, true);
  } finally {
    if (number === asked && mine === turn && $("message").textContent === "outlining …") say("");
  }
}

async function measure() {
  const { id, mask, width, height } = edit;
  const mine = turn;
  try {
    const answer = await post("effusion/measure", { image: id, mask: await base64(await encode(mask, width, height)) });
    if (mine === turn && edit.mask === mask) showMeasures(answer.measurement, null);
  } catch (error) {
    if (mine === turn) say(error.message, true);
  }
}

// ---- changes, undone and done again ----

const state = () => {
  const { mask, clicks, base, waiting, changed } = edit;
  return { mask: mask.slice(), clicks, base, waiting, changed };
};

function change(act, before = state()) {
  edit.past.push(before);
  if (edit.past.length > 60) edit.past.shift();
  edit.future = [];
  ready = ready.catch(() => {}); // what is drawn can be saved, though a label could not be loaded
  act();
  touched();
}

function touched() {
  edit.changed = true;
  list.mark(edit.id, { changed: true });
  showEdit();
  keepDraft();
}

function step(from, to) {
  if (!edit || !edit[from].length) return;
  edit[to].push(state());
  Object.assign(edit, edit[from].pop());
  touched();
  if (edit.waiting) ready = ask(); // its answer was overtaken by what is undone now
  else measureSoon();
}

const later = (name, act, ms) => {
  clearTimeout(timers[name]);
  timers[name] = setTimeout(act, ms);
};
const measureSoon = () => later("measure", measure, 200);
const keepDraft = () => later("draft", saveDraft, 300);

// every change is kept on the server, so that neither a crash there nor here loses more than the last one
async function saveDraft() {
  clearTimeout(timers.draft);
  if (!edit?.changed || edit.kept === edit.mask) return;
  const kept = edit;
  const { mask } = kept;
  kept.kept = mask;
  await send(kept, mask, DRAFT).catch((error) => {
    kept.kept = null; // to be tried again
    say(error.message, true);
  });
}

// one after the other: a draft that is overtaken by its label would come back
function send(from, mask, tag) {
  const { id, width, height } = from;
  const sent = sending.catch(() => {}).then(async () => {
    const picture = await encode(mask, width, height);
    if (tag === DRAFT) from.draft = await saveDraftOf(id, picture, from.saved);
    else from.saved = await saveLabel(id, picture, from.saved, from.draft);
  });
  sending = sent;
  unsent++;
  return sent.finally(() => unsent--);
}

async function save() {
  if (!edit) return false;
  const saved = edit;
  try {
    await ready; // the outline that is on its way is what is to be saved
    if (edit !== saved) return false;
    clearTimeout(timers.draft);
    const { id, mask } = saved;
    await send(saved, mask, "final");
    const changed = saved.mask !== mask; // while it was sent
    Object.assign(saved, { changed, kept: mask });
    list.mark(id, { done: true, changed });
    say("saved");
    later("saved", () => $("message").textContent === "saved" && say(""), 1500);
    return true;
  } catch (error) {
    say(`not saved: ${error.message}`, true);
    if (error.status === 412) await showTheirs(saved).catch((problem) => say(problem.message, true));
    return false;
  }
}

// the label that someone else saved meanwhile; the draft of one's own stays as it is
async function showTheirs(mine) {
  const answer = await loadLabel(mine.id, "final");
  const mask = await decode(await answer.blob(), mine.width, mine.height);
  if (edit !== mine) return;
  edit.past.push(state());
  edit.future = [];
  const saved = revisionOf(answer);
  Object.assign(edit, { saved, mask, base: mask, kept: mask, clicks: [], waiting: false, changed: false });
  showEdit();
  await measure();
  say("not saved: someone else saved this frame meanwhile. This is theirs; undo brings yours back", true);
}

async function nextBest() {
  const mine = turn;
  say("looking for the next frame …");
  try {
    const answer = await post(`activelearning/${$("strategy").value}`, {});
    if (mine !== turn) return; // another frame was opened meanwhile
    if (answer.id) await open(answer.id);
    else say("every frame has a label");
  } catch (error) {
    if (mine === turn) say(error.message, true);
  }
}

// ---- pointer ----

function press(place, right) {
  if (!edit) return;
  const draws = tool === "brush" || tool === "eraser" || !canClick;
  if (draws && edit.waiting && edit.clicks.length) return say("the click is not yet answered; draw again", true);
  stroke = { place, right, before: state(), drawn: false };
  if (draws) draw(place);
}

function drag(place) {
  if (stroke?.drawn) draw(place);
}

function draw(place) {
  const erase = tool === "eraser" || tool === "remove" || (stroke.right && tool !== "eraser");
  if (!stroke.drawn) edit.mask = edit.mask.slice();
  const radius = view.brush || Number($("size").value);
  const box = paint(edit.mask, edit.width, edit.height, stroke.place, place, radius, erase ? 0 : 1);
  Object.assign(stroke, { place, drawn: true });
  view.setMask(edit.mask, box);
}

function release(place) {
  if (!stroke) return;
  const { before, drawn, right } = stroke;
  stroke = null;
  if (drawn) {
    const mask = edit.mask.slice(); // a draft may have been made of it while it was drawn
    change(() => Object.assign(edit, { mask, clicks: [], base: mask, waiting: false }), before);
    measureSoon();
  } else if (view.inside(place)) {
    const click = { x: Math.round(place.x), y: Math.round(place.y), positive: (tool === "add") !== right };
    change(() => (edit.clicks = [...edit.clicks, click]), before);
    ready = ask();
  } else {
    say("that is outside the frame", true);
  }
}

function cancel() {
  const { before, drawn } = stroke ?? {};
  stroke = null;
  if (drawn) Object.assign(edit, before);
  if (drawn && edit.waiting) ready = ask(); // its answer may have been dropped meanwhile
  if (edit) showEdit();
}

// ---- what is shown ----

function say(text, bad = false) {
  $("message").textContent = text;
  $("message").classList.toggle("bad", bad);
}

function showEdit() {
  view.clicks = edit.clicks;
  view.setMask(edit.mask);
  $("undo").disabled = !edit.past.length;
  $("redo").disabled = !edit.future.length;
}

function showMeasures(found, prediction) {
  const number = (value, digits, unit) => `${value.toFixed(digits)} ${unit}`;
  const none = !found.area_px;
  $("thickness").textContent = none ? "none" : found.thickness_mm === null
    ? number(found.thickness_px, 1, "px") : number(found.thickness_mm, 1, "mm");
  $("area").textContent = none ? "none" : found.area_cm2 === null
    ? number(found.area_px, 0, "px") : number(found.area_cm2, 2, "cm²");
  $("share").textContent = found.sector_share === null ? "–" : number(100 * found.sector_share, 1, "%");
  $("score").textContent = prediction ? prediction.score.toFixed(2) : "–";
  $("uncertainty").textContent = prediction ? prediction.uncertainty.toFixed(2) : "–";
  $("reason").textContent = found.reason;
  view.callipers = found.regions.slice(0, 1).map((region) => region.calliper);
  view.draw();
}

function forgetMeasures() {
  for (const name of ["thickness", "area", "share", "score", "uncertainty"]) $(name).textContent = "–";
  $("reason").textContent = "";
  view.callipers = [];
}

function showClip(id) {
  const frames = list.clip(id);
  $("scrub").hidden = !frames.length;
  if (!frames.length) return;
  const place = frames.findIndex((frame) => frame.id === id);
  $("slider").max = frames.length;
  $("slider").value = place + 1;
  $("place").textContent = `${place + 1} of ${frames.length}`;
}

function choose(name) {
  tool = name;
  for (const button of document.querySelectorAll("[data-tool]")) {
    button.classList.toggle("on", button.dataset.tool === name);
  }
  showBrush();
}

function showBrush() {
  view.brush = tool === "brush" || tool === "eraser" ? Number($("size").value) : 0;
  view.draw();
}

function turnTo(place) {
  const frames = list.clip(heading);
  const next = frames[Math.min(Math.max(place, 0), frames.length - 1)];
  if (!next || next.id === heading) return;
  showClip(next.id);
  const fresh = !next.done && !list.changed.has(next.id);
  open(next.id, $("carry").checked && fresh && edit && (edit.changed || list.find(edit.id).done));
}

function go(step) {
  if (!heading) return;
  const frames = list.clip(heading);
  if (frames.length) return turnTo(frames.findIndex((frame) => frame.id === heading) + step);
  const id = list.neighbour(heading, step);
  if (id) open(id);
}

function clear() {
  if (!edit) return;
  const none = new Uint8Array(edit.mask.length);
  change(() => Object.assign(edit, { mask: none, clicks: [], base: none, waiting: false }));
  measureSoon();
}

function outlineAgain() {
  if (!edit) return;
  change(() => Object.assign(edit, { clicks: [], base: null }));
  ready = ask();
}

const resize = (by) => {
  $("size").value = Number($("size").value) + by;
  showBrush();
};
const saveNext = async () => {
  const mine = turn;
  if ((await save()) && mine === turn) await nextBest();
};

const actions = {
  "next-best": nextBest, save, "save-next": saveNext, clear, outline: outlineAgain,
  undo: () => step("past", "future"), redo: () => step("future", "past"),
  "zoom-in": () => view.zoom(1.25), "zoom-out": () => view.zoom(0.8), "zoom-fit": () => view.fit(),
  previous: () => go(-1), following: () => go(1),
};
const keys = {
  ArrowLeft: () => go(-1), ArrowRight: () => go(1), ArrowUp: () => go(-1), ArrowDown: () => go(1),
  n: nextBest, s: save, Enter: saveNext, o: outlineAgain, Delete: clear, c: () => choose("add"), x: () => choose("remove"),
  b: () => choose("brush"), e: () => choose("eraser"), "[": () => resize(-1), "]": () => resize(1),
  "+": actions["zoom-in"], "=": actions["zoom-in"], "-": actions["zoom-out"], 0: actions["zoom-fit"],
  k: () => ($("carry").checked = !$("carry").checked), z: actions.undo, y: actions.redo,
  h: () => ((view.hidden = !view.hidden), view.draw()),
};

for (const [id, act] of Object.entries(actions)) $(id).addEventListener("click", act);
document.addEventListener("click", (event) => {
  if (event.detail) event.target.closest("button")?.blur(); // by the pointer: Enter is still the key of the page
});
for (const button of document.querySelectorAll("[data-tool]")) {
  button.addEventListener("click", () => choose(button.dataset.tool));
}
$("size").addEventListener("input", showBrush);
$("opacity").addEventListener("input", () => ((view.opacity = $("opacity").value / 100), view.draw()));
$("slider").addEventListener("change", () => turnTo(Number($("slider").value) - 1));
$("slider").addEventListener("input", () => ($("place").textContent = `${$("slider").value} of ${$("slider").max}`));
document.addEventListener("keydown", (event) => {
  const typing = event.target.matches("input[type=search], dialog *, select");
  const pressing = event.key === "Enter" && event.target.matches("button");
  const sliding = event.key.startsWith("Arrow") && event.target.matches("input[type=range]");
  const held = event.repeat && ["s", "Enter", "n"].includes(event.key); // would save frames that nobody has looked at
  if (typing || pressing || sliding || held || event.altKey || event.metaKey) return;
  if (event.ctrlKey && !["z", "y"].includes(event.key)) return;
  const act = keys[event.key] ?? keys[event.key.toLowerCase()];
  if (!act) return;
  event.preventDefault();
  act();
});
addEventListener("beforeunload", (event) => {
  const kept = !edit?.changed || (edit.kept === edit.mask && !edit.waiting);
  if (kept && !unsent) return;
  saveDraft();
  event.preventDefault(); // the browser asks whether to leave
});

async function refresh(again = false) {
  const { frames, left_out: leftOut } = await get(`effusion/frames?refresh=${again}&draft=${DRAFT}`);
  list.changed = new Set(frames.filter((frame) => frame[3] && frame[0] !== edit?.id).map((frame) => frame[0]));
  if (edit?.changed) list.changed.add(edit.id);
  list.set(frames);
  list.leaveOut(leftOut);
}

function showStatus(status) {
  $("model").textContent = `model ${status.version}`;
  canClick = status.clicks;
  for (const name of ["add", "remove"]) {
    const button = document.querySelector(`[data-tool=${name}]`);
    button.disabled = !canClick;
    if (!canClick) button.title = status.why_no_clicks;
  }
  if (!canClick && (tool === "add" || tool === "remove")) choose("brush");
}

choose("add");
try {
  showStatus(await get("effusion/status"));
  await refresh();
  startTraining({ showStatus, say });
  const silent = "the server does not answer";
  const heard = () => $("message").textContent === silent && say("");
  setInterval(() => refresh(true).then(heard, () => say(silent, true)), 30000);
  const first = list.frames.find((frame) => !frame.done) ?? list.frames[0];
  if (first) await open(first.id);
  else say("there is no frame in this folder", true);
} catch (error) {
  say(error.message, true);
}
