// Copyright (c) pe_monai contributors. SPDX-License-Identifier: Apache-2.0
// A mask: one byte a pixel, row by row, 1 inside the effusion.

export async function decode(source, width, height) {
  const bytes = () => Uint8Array.from(atob(source), (letter) => letter.charCodeAt(0));
  const blob = typeof source === "string" ? new Blob([bytes()], { type: "image/png" }) : source;
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(await createImageBitmap(blob, { colorSpaceConversion: "none" }), 0, 0);
  const pixels = context.getImageData(0, 0, width, height).data;
  return Uint8Array.from({ length: width * height }, (_, place) => (pixels[4 * place] > 0 ? 1 : 0));
}

export async function encode(mask, width, height) {
  const image = new ImageData(width, height);
  for (let place = 0; place < mask.length; place++) {
    image.data.fill(mask[place] ? 255 : 0, 4 * place, 4 * place + 3);
    image.data[4 * place + 3] = 255;
  }
  const canvas = new OffscreenCanvas(width, height);
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas.convertToBlob({ type: "image/png" });
}

export async function base64(blob) {
  const bytes = new Uint8Array(await blob.arrayBuffer());
  let text = "";
  for (let start = 0; start < bytes.length; start += 8192) {
    text += String.fromCharCode(...bytes.subarray(start, start + 8192));
  }
  return btoa(text);
}

// Set a disc, and the way to it from the last one, so that a quick stroke has no gaps. Returns the box it lies in.
export function paint(mask, width, height, from, to, radius, value) {
  const steps = Math.max(1, Math.ceil(Math.hypot(to.x - from.x, to.y - from.y) / Math.max(radius / 2, 0.5)));
  for (let step = 0; step <= steps; step++) {
    const x = from.x + ((to.x - from.x) * step) / steps;
    const y = from.y + ((to.y - from.y) * step) / steps;
    for (let row = Math.max(0, Math.ceil(y - radius)); row <= Math.min(height - 1, y + radius); row++) {
      for (let column = Math.max(0, Math.ceil(x - radius)); column <= Math.min(width - 1, x + radius); column++) {
        if ((row - y) ** 2 + (column - x) ** 2 <= radius ** 2) mask[row * width + column] = value;
      }
    }
  }
  const first = (a, b) => Math.max(0, Math.floor(Math.min(a, b) - radius));
  const last = (a, b, size) => Math.min(size, Math.ceil(Math.max(a, b) + radius) + 1);
  return { left: first(from.x, to.x), top: first(from.y, to.y),
    right: last(from.x, to.x, width), bottom: last(from.y, to.y, height) };
}

// The edges between pixels inside and outside, above and left of the pixels of a square, as lines to stroke.
export function outline(mask, width, height, top, left, size) {
  const path = new Path2D();
  for (let row = top; row <= Math.min(height, top + size - 1); row++) {
    for (let column = left; column <= Math.min(width, left + size - 1); column++) {
      const place = row * width + column;
      const here = row < height && column < width && mask[place];
      if (!here !== !(row && column < width && mask[place - width])) {
        path.moveTo(column, row);
        path.lineTo(column + 1, row);
      }
      if (!here !== !(column && row < height && mask[place - 1])) {
        path.moveTo(column, row);
        path.lineTo(column, row + 1);
      }
    }
  }
  return path;
}
