// Copyright (c) pe_monai contributors. SPDX-License-Identifier: Apache-2.0
// The canvas: frame, outline, clicks and calliper, zoomed and moved; what the pointer does there is told on.

import { outline } from "./mask.js";

const TILE = 64; // side of the squares that the outline is kept in: a stroke changes few of them
const FILL = new Uint32Array(Uint8Array.of(53, 194, 165, 255).buffer)[0];

export class View {
  constructor(canvas, handlers) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.handlers = handlers;
    this.frame = null;
    this.fill = new OffscreenCanvas(1, 1);
    this.paths = new Map();
    this.clicks = [];
    this.callipers = [];
    this.opacity = 0.35;
    this.pointer = null;
    this.brush = 0;
    this.hidden = false;
    this.touches = new Map();
    new ResizeObserver(() => this.resize()).observe(canvas);
    this.listen();
  }

  show(frame) {
    const same = this.frame && this.frame.width === frame.width && this.frame.height === frame.height;
    this.frame = frame;
    if (same) return this.draw();
    this.fill = new OffscreenCanvas(frame.width, frame.height);
    this.paths.clear();
    this.fit();
  }

  // the whole mask, or the box of it that has changed
  setMask(mask, { left, top, right, bottom } = { left: 0, top: 0, right: this.frame.width, bottom: this.frame.height }) {
    if (left >= right || top >= bottom) return;
    const { width, height } = this.frame;
    const image = new ImageData(right - left, bottom - top);
    const pixels = new Uint32Array(image.data.buffer);
    for (let row = top, place = 0; row < bottom; row++) {
      for (let column = left; column < right; column++, place++) {
        if (mask[row * width + column]) pixels[place] = FILL;
      }
    }
    this.fill.getContext("2d").putImageData(image, left, top);
    // the edges below and to the right belong to the pixels beyond
    for (let row = top - (top % TILE); row <= bottom; row += TILE) {
      for (let column = left - (left % TILE); column <= right; column += TILE) {
        this.paths.set(`${row} ${column}`, outline(mask, width, height, row, column, TILE));
      }
    }
    this.draw();
  }

  // pixels of the canvas in one of the page; not the screen's own ratio, which changes with the screen
  get ratio() {
    return this.canvas.width / this.canvas.clientWidth || 1;
  }

  resize() {
    const ratio = window.devicePixelRatio || 1;
    this.canvas.width = Math.round(this.canvas.clientWidth * ratio);
    this.canvas.height = Math.round(this.canvas.clientHeight * ratio);
    this.fit();
  }

  fit() {
    if (!this.frame) return;
    const { width, height } = this.canvas;
    this.scale = Math.min(width / this.frame.width, height / this.frame.height) * 0.98;
    this.left = (width - this.frame.width * this.scale) / 2;
    this.top = (height - this.frame.height * this.scale) / 2;
    this.draw();
  }

  zoom(factor, x = this.canvas.width / 2, y = this.canvas.height / 2) {
    const scale = Math.min(Math.max(this.scale * factor, 0.2), 60);
    this.left = x - ((x - this.left) * scale) / this.scale;
    this.top = y - ((y - this.top) * scale) / this.scale;
    this.scale = scale;
    this.draw();
  }

  draw() {
    cancelAnimationFrame(this.waiting);
    this.waiting = requestAnimationFrame(() => this.paint());
  }

  paint() {
    const { context, canvas } = this;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, canvas.width, canvas.height);
    if (!this.frame) return;
    context.setTransform(this.scale, 0, 0, this.scale, this.left, this.top);
    context.imageSmoothingEnabled = this.scale < 3;
    context.drawImage(this.frame, 0, 0);
    const line = (pixels) => (pixels * this.ratio) / this.scale;
    if (!this.hidden) {
      context.imageSmoothingEnabled = false;
      context.globalAlpha = this.opacity;
      context.drawImage(this.fill, 0, 0);
      context.globalAlpha = 1;
      context.lineWidth = line(1.6);
      context.strokeStyle = "#35f0c4";
      for (const path of this.paths.values()) context.stroke(path);
      for (const [[row, column], [endRow, endColumn]] of this.callipers) {
        context.lineWidth = line(2);
        context.strokeStyle = "#ffcf70";
        context.beginPath();
        context.moveTo(column + 0.5, row + 0.5);
        context.lineTo(endColumn + 0.5, endRow + 0.5);
        context.stroke();
      }
      for (const click of this.clicks) {
        context.beginPath();
        context.arc(click.x + 0.5, click.y + 0.5, line(5), 0, 7);
        context.fillStyle = click.positive ? "#35f06a" : "#ff5c5c";
        context.fill();
        context.lineWidth = line(1.5);
        context.strokeStyle = "#000";
        context.stroke();
      }
    }
    if (this.pointer && this.brush) {
      context.beginPath();
      context.arc(this.pointer.x + 0.5, this.pointer.y + 0.5, this.brush, 0, 7);
      context.lineWidth = line(1);
      context.strokeStyle = "#fff";
      context.stroke();
    }
  }

  // pixel of the frame under the pointer; a pixel's centre is whole
  locate(event) {
    const [x, y] = this.device(event);
    return { x: (x - this.left) / this.scale - 0.5, y: (y - this.top) / this.scale - 0.5 };
  }

  device(event) {
    const box = this.canvas.getBoundingClientRect();
    return [(event.clientX - box.left) * this.ratio, (event.clientY - box.top) * this.ratio];
  }

  inside({ x, y }) {
    return this.frame && x >= -0.5 && y >= -0.5 && x < this.frame.width - 0.5 && y < this.frame.height - 0.5;
  }

  listen() {
    const { canvas } = this;
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoom(Math.exp(-event.deltaY / 400), ...this.device(event));
    }, { passive: false });
    canvas.addEventListener("pointerdown", (event) => {
      if (!this.frame) return;
      canvas.setPointerCapture(event.pointerId);
      canvas.focus();
      this.touches.set(event.pointerId, this.device(event));
      if (event.button === 1 || event.shiftKey || this.touches.size > 1) {
        if (this.mode === "tool") this.handlers.cancel();
        this.mode = "move";
        return;
      }
      this.mode = "tool";
      this.handlers.press(this.locate(event), event.button === 2);
    });
    canvas.addEventListener("pointermove", (event) => {
      this.pointer = this.locate(event);
      if (!this.touches.has(event.pointerId)) {
        if (this.brush) this.draw();
        return;
      }
      const before = [...this.touches.values()];
      this.touches.set(event.pointerId, this.device(event));
      if (this.mode === "tool") this.handlers.drag(this.pointer);
      else if (this.mode === "move") this.move(before, [...this.touches.values()]);
    });
    const end = (event, act) => {
      if (!this.touches.delete(event.pointerId)) return;
      if (this.mode === "tool") act();
      if (!this.touches.size) this.mode = null;
    };
    canvas.addEventListener("pointerup", (event) => end(event, () => this.handlers.release(this.locate(event))));
    // the system took the touch for a gesture of its own
    canvas.addEventListener("pointercancel", (event) => end(event, () => this.handlers.cancel()));
    canvas.addEventListener("pointerleave", () => {
      this.pointer = null;
      this.draw();
    });
  }

  // one pointer moves the frame, two stretch it
  move(before, after) {
    const middle = (points) => [0, 1].map((axis) => points.reduce((sum, point) => sum + point[axis], 0) / points.length);
    const [from, to] = [middle(before), middle(after)];
    this.left += to[0] - from[0];
    this.top += to[1] - from[1];
    if (after.length === 2) {
      const spread = ([a, b]) => Math.hypot(a[0] - b[0], a[1] - b[1]) || 1;
      this.zoom(spread(after) / spread(before), ...to);
    }
    this.draw();
  }
}
