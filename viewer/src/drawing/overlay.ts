/** What is drawn over a picture: words on its patches, values as colours, or the bare grid. */

import { place, type Label } from "./labels";
import type { Patch } from "../reading/patches";
import { emWidth, type Pen, type Point } from "./pen";
import type { Reading } from "../reading/reading";
import { colourOf, type Palette } from "./scale";
import { isWord, short } from "../reading/text";

const LONGEST = 14;
const MUTED = 0.15;
const WEIGHT = 600;
const HALO = "rgb(8 8 12 / 82%)";
const VEIL = 0.78;

export type Drawing = "words" | "field" | "grid" | "none";

/** How the picture looks under each kind of drawing: quieter than what lies on it. */
export const FILTERS: Record<Drawing, string> = {
  words: "brightness(0.72) saturate(0.8)",
  field: "grayscale(1) brightness(0.8)",
  grid: "",
  none: "",
};

/** Values as colours; `share` is NaN where a patch has none. The picture's corner may lie elsewhere than at 0, 0. */
export function drawField(
  pen: Pen,
  patches: readonly Patch[],
  scale: number,
  share: (entry: number) => number,
  palette: Palette,
  [x, y]: Point = [0, 0],
): void {
  for (const { entry, box } of patches) {
    const value = share(entry);
    if (Number.isNaN(value)) continue;
    const [left, top] = [pen.snap(x + box.left * scale), pen.snap(y + box.top * scale)];
    const [right, bottom] = [pen.snap(x + box.right * scale), pen.snap(y + box.bottom * scale)];
    pen.rect(left, top, right - left, bottom - top, colourOf(value, palette), VEIL);
  }
}

export function drawGrid(pen: Pen, patches: readonly Patch[], scale: number): void {
  for (const [width, colour] of [[2, "rgb(0 0 0 / 35%)"], [0.8, "rgb(255 255 255 / 75%)"]] as const) {
    for (const { box } of patches) {
      const { left, top, right, bottom } = box;
      pen.frame(left * scale, top * scale, (right - left) * scale, (bottom - top) * scale, colour, width);
    }
  }
}

/** Top-1 words; size and strength tell how sure the lens is. */
export function drawWords(
  pen: Pen,
  reading: Reading,
  patches: readonly Patch[],
  scale: number,
  row: number,
  width: number,
): void {
  const words = patches.map(({ entry }) => wordOf(reading.piece(reading.topToken(row, entry, 0))));
  const labels = patches.map(({ entry, box }, i) => label(reading, words[i]!, entry, box, scale, row));
  for (const { label: index, size } of place(labels, width).reverse()) {
    const { x, y, certainty } = labels[index]!;
    const fill = `rgb(255 255 255 / ${10 * Math.round(6 + 4 * Math.sqrt(certainty))}%)`;
    pen.text(words[index]!, x, y, { size, fill, weight: WEIGHT, align: "center", halo: HALO });
  }
}

/** Measure the words of a layer ahead of its drawing, which then takes no longer than any other. */
export function measureWords(reading: Reading, patches: readonly Patch[], row: number): void {
  for (const { entry } of patches) emWidth(wordOf(reading.piece(reading.topToken(row, entry, 0))), WEIGHT);
}

function label(reading: Reading, word: string, entry: number, box: Patch["box"], scale: number, row: number): Label {
  const sure = Math.exp(reading.topLogprob(row, entry, 0));
  return {
    x: ((box.left + box.right) / 2) * scale,
    y: ((box.top + box.bottom) / 2) * scale,
    width: (box.right - box.left) * scale,
    height: (box.bottom - box.top) * scale,
    em: emWidth(word, WEIGHT),
    certainty: sure * (isWord(reading.piece(reading.topToken(row, entry, 0))) ? 1 : MUTED),
  };
}

const shown = new Map<string, string>();

function wordOf(piece: string): string {
  const known = shown.get(piece);
  if (known !== undefined) return known;
  const chars = [...short(piece)];
  const word = chars.length > LONGEST ? `${chars.slice(0, LONGEST - 1).join("")}…` : chars.join("");
  shown.set(piece, word);
  return word;
}
