// Copyright (c) pe_monai contributors. SPDX-License-Identifier: Apache-2.0
// The list of frames; only the rows in sight are in the document, so that ten thousand are as quick as ten.

const ROW = 30;

export class FrameList {
  constructor(onChoose) {
    this.box = document.getElementById("list");
    this.rows = document.getElementById("rows");
    this.search = document.getElementById("search");
    this.filter = document.getElementById("filter");
    this.frames = [];
    this.places = new Map();
    this.shown = [];
    this.current = null;
    this.changed = new Set();
    this.box.addEventListener("scroll", () => this.draw());
    new ResizeObserver(() => this.draw()).observe(this.box);
    this.search.addEventListener("input", () => this.arrange());
    this.filter.addEventListener("change", () => this.arrange());
    this.rows.addEventListener("click", (event) => {
      const row = event.target.closest(".frame");
      if (row) onChoose(row.dataset.id);
    });
  }

  set(frames) {
    this.frames = frames.map(([id, clip, done]) => ({ id, clip, done }));
    this.places = new Map(this.frames.map((frame, place) => [frame.id, place]));
    this.arrange();
  }

  // files without a frame that can be used; a folder of another kind of DICOM may hold thousands
  leaveOut(files) {
    const box = document.getElementById("left-out");
    box.hidden = files.length === 0;
    box.querySelector("summary").textContent = `${files.length} ${files.length === 1 ? "file" : "files"} left out`;
    const lines = files.slice(0, 100).map(([name, reason]) => `${name}: ${reason}`);
    if (files.length > lines.length) lines.push(`and ${files.length - lines.length} more`);
    box.querySelector("ul").replaceChildren(
      ...lines.map((line) => Object.assign(document.createElement("li"), { textContent: line })),
    );
  }

  find(id) {
    return this.frames[this.places.get(id)];
  }

  // frames of the same clip, in order
  clip(id) {
    const frame = this.find(id);
    return frame?.clip ? this.frames.filter((other) => other.clip === frame.clip) : [];
  }

  // the shown frame before (-1) or after (1) a frame, which may be hidden itself: saved, it is no longer "to do"
  neighbour(id, step) {
    const here = this.places.get(id) ?? -1;
    const isBeyond = (frame) => (this.places.get(frame.id) - here) * step > 0;
    return (step > 0 ? this.shown.find(isBeyond) : this.shown.findLast(isBeyond))?.id;
  }

  arrange() {
    const wanted = this.search.value.trim().toLowerCase();
    const state = this.filter.value;
    this.shown = this.frames.filter(
      (frame) => (state === "all" || (state === "done") === frame.done) && frame.id.toLowerCase().includes(wanted),
    );
    this.rows.style.height = `${this.shown.length * ROW}px`;
    const done = this.frames.filter((frame) => frame.done).length;
    document.getElementById("counts").textContent = `${done} of ${this.frames.length} labelled`;
    this.draw();
  }

  mark(id, { done, changed }) {
    const frame = this.find(id);
    if (frame && done !== undefined) frame.done = done;
    if (changed !== undefined) this.changed[changed ? "add" : "delete"](id);
    this.arrange();
  }

  choose(id) {
    this.current = id;
    const place = this.shown.findIndex((frame) => frame.id === id);
    if (place >= 0) {
      const top = place * ROW;
      if (top < this.box.scrollTop || top + ROW > this.box.scrollTop + this.box.clientHeight) {
        this.box.scrollTop = top - this.box.clientHeight / 2;
      }
    }
    this.draw();
  }

  draw() {
    const first = Math.max(0, Math.floor(this.box.scrollTop / ROW) - 5);
    const last = Math.min(this.shown.length, first + Math.ceil(this.box.clientHeight / ROW) + 10);
    this.rows.replaceChildren(
      ...this.shown.slice(first, last).map((frame, place) => {
        const row = document.createElement("div");
        row.className = "frame";
        row.classList.toggle("done", frame.done);
        row.classList.toggle("changed", this.changed.has(frame.id));
        row.classList.toggle("current", frame.id === this.current);
        row.style.top = `${(first + place) * ROW}px`;
        row.dataset.id = frame.id;
        row.title = row.textContent = frame.id;
        row.setAttribute("role", "option");
        row.setAttribute("aria-selected", frame.id === this.current);
        return row;
      }),
    );
  }
}
