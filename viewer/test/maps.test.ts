import assert from "node:assert/strict";
import { test } from "node:test";

import type { Field } from "../src/state/field";
import { drawMaps, mapSize, sheetSize, type MapPlan } from "../src/drawing/maps";
import type { Pen } from "../src/drawing/pen";

const ruler = { font: "", measureText: (text: string) => ({ width: 10 * text.length }) };
Object.assign(globalThis, { document: { createElement: () => ({ getContext: () => ruler }) } });

const VEIL = 0.78;
const THEME = { ink: "ink", soft: "soft", line: "line", surface: "surface", accent: "accent", mark: "mark" };
const PATCHES = [0, 1].map((col) => ({ entry: col, tile: 0, row: 0, col, box: { left: 50 * col, top: 0, right: 50 * col + 50, bottom: 40 } }));

/** Two patches side by side in the upper half of a picture; the layer's number is known at one of them. */
const PLAN: MapPlan = {
  field: { palette: "heat" } as Field,
  ends: ["low", "high"],
  share: (row, entry) => (entry === row % 2 ? row / 8 : NaN),
  patches: PATCHES,
  size: { width: 100, height: 80 },
  under: null,
};

test("maps have the same area whatever the picture's shape, except for extreme ones", () => {
  const areas = [[100, 100], [400, 100], [300, 400]].map(([width, height]) => mapSize({ width: width!, height: height! }));
  for (const { width, height } of areas) assert.ok(Math.abs(width * height - 104 ** 2) < 150);
  assert.equal(mapSize({ width: 10000, height: 10 }).width, 208);
});

test("each map has its patches in its own place, with a name above, all within the sheet", () => {
  const rects: number[][] = [];
  const names: { text: string; x: number; y: number }[] = [];
  const pen = {
    snap: Math.round,
    rect: (x: number, y: number, width: number, height: number, _: string, alpha = 1) => alpha === VEIL && rects.push([x, y, x + width, y + height]),
    text: (text: string, x: number, y: number) => names.push({ text, x, y }),
  };
  const layers = Array.from({ length: 9 }, (_, layer) => `l${layer}`);
  drawMaps(pen as unknown as Pen, PLAN, layers, "title", THEME);
  const map = mapSize(PLAN.size);
  const sheet = sheetSize(PLAN.size, layers.length);
  assert.equal(rects.length, layers.length);
  rects.forEach(([left, top, right, bottom], row) => {
    const name = names.find(({ text }) => text === layers[row])!;
    const corner = { left: name.x - map.width / 2, top: name.y + 10 };
    assert.ok(Math.abs(left! - corner.left - (row % 2) * (map.width / 2)) < 2);
    assert.ok(Math.abs(top! - corner.top) < 2 && Math.abs(bottom! - top! - map.height / 2) < 2);
    assert.ok(right! <= sheet.width && corner.top + map.height <= sheet.height);
  });
});
