/** What is drawn over a picture: words on its patches, or heat. */

import { place } from "./labels";
import type { Patch, Patches } from "./patches";
import type { Reading } from "./reading";
import { heat, rangeOf, shareOf, type Range } from "./scale";
import { isWord, short } from "./text";

const LONGEST = 14;
const MUTED = 0.15;
const FONT = 'system-ui, "Noto Sans", "Noto Sans CJK SC", "Noto Sans Arabic", sans-serif';

/** A value per patch with the range it has over all layers, so that layers can be compared by colour. */
export interface HeatMap {
  value(layer: number, position: number): number;
  range: Range | null;
  /** whether some patch of some layer has no value */
  gaps: boolean;
}

export function heatMap(
  reading: Reading,
  positions: readonly number[],
  value: (layer: number, position: number) => number,
): HeatMap {
  const values = Array.from({ length: reading.nLayers }, (_, layer) => positions.map((p) => value(layer, p))).flat();
  return { value, range: rangeOf(values), gaps: values.some(Number.isNaN) };
}

/** A canvas of the stage's size at the screen's resolution, cleared, in CSS pixels. */
export function prepare(canvas: HTMLCanvasElement, width: number, height: number): CanvasRenderingContext2D {
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const context = canvas.getContext("2d")!;
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  return context;
}

export function drawHeat(
  context: CanvasRenderingContext2D,
  patches: Patches,
  scale: number,
  layer: number,
  map: HeatMap,
): void {
  if (!map.range) return;
  for (const { entry, box } of patches.all) {
    const value = map.value(layer, entry);
    if (Number.isNaN(value)) continue;
    const [left, top] = [Math.round(box.left * scale), Math.round(box.top * scale)];
    context.globalAlpha = 0.78;
    context.fillStyle = heat(shareOf(value, map.range));
    context.fillRect(left, top, Math.round(box.right * scale) - left, Math.round(box.bottom * scale) - top);
  }
  context.globalAlpha = 1;
}

export function drawGrid(context: CanvasRenderingContext2D, patches: Patches, scale: number): void {
  for (const [width, colour] of [[2, "rgb(0 0 0 / 35%)"], [0.8, "rgb(255 255 255 / 75%)"]] as const) {
    context.lineWidth = width;
    context.strokeStyle = colour;
    for (const { box } of patches.all) {
      context.strokeRect(
        box.left * scale,
        box.top * scale,
        (box.right - box.left) * scale,
        (box.bottom - box.top) * scale,
      );
    }
  }
}

/** Top-1 words; size and strength tell how sure the lens is. */
export function drawWords(
  context: CanvasRenderingContext2D,
  reading: Reading,
  patches: Patches,
  scale: number,
  layer: number,
  width: number,
): void {
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.lineJoin = "round";
  const words = patches.all.map((patch) => word(reading, patch, layer));
  const labels = patches.all.map(({ entry, box }, i) => ({
    x: ((box.left + box.right) / 2) * scale,
    y: ((box.top + box.bottom) / 2) * scale,
    width: (box.right - box.left) * scale,
    height: (box.bottom - box.top) * scale,
    em: emWidth(context, words[i]!),
    certainty: Math.exp(reading.topLogprob(layer, entry, 0)) * (isWord(reading.piece(reading.topToken(layer, entry, 0))) ? 1 : MUTED),
  }));
  for (const { label, size } of place(labels, width).reverse()) {
    const { x, y, certainty } = labels[label]!;
    context.font = `600 ${size}px ${FONT}`;
    context.lineWidth = Math.max(2.5, size / 4);
    context.strokeStyle = "rgb(8 8 12 / 82%)";
    context.strokeText(words[label]!, x, y);
    context.fillStyle = `rgb(255 255 255 / ${Math.round(62 + 38 * Math.sqrt(certainty))}%)`;
    context.fillText(words[label]!, x, y);
  }
}

function word(reading: Reading, patch: Patch, layer: number): string {
  const shown = [...short(reading.piece(reading.topToken(layer, patch.entry, 0)))];
  return shown.length > LONGEST ? `${shown.slice(0, LONGEST - 1).join("")}…` : shown.join("");
}

const widths = new Map<string, number>();

function emWidth(context: CanvasRenderingContext2D, text: string): number {
  const known = widths.get(text);
  if (known !== undefined) return known;
  context.font = `600 20px ${FONT}`;
  const width = Math.max(context.measureText(text).width / 20, 0.1);
  widths.set(text, width);
  return width;
}
