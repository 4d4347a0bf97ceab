import assert from "node:assert/strict";
import { test } from "node:test";

import { amountAxis, axisOf, layerTicks } from "../src/drawing/axis";
import type { Pen, Point, TextStyle } from "../src/drawing/pen";
import { drawPlot, frameOf, runsOf, spread, type Plot } from "../src/drawing/plot";

// Text is measured by a canvas, which there is none of here.
const ruler = { font: "", measureText: (text: string) => ({ width: 10 * text.length }) };
Object.assign(globalThis, { document: { createElement: () => ({ getContext: () => ruler }) } });

const COLOURS = ["c0", "c1", "c2"];
const PLOT: Plot = {
  width: 400,
  height: 300,
  layers: [0, 1, 2, 3, 4],
  now: 2,
  lines: [
    { name: "cat", heights: [-4, NaN, -3, -2, -1], enters: 2, style: 0 },
    { name: "dog", heights: [NaN, -5, NaN, NaN, NaN], enters: -1, style: 1 },
    { name: "sky", heights: [-9, -8, -7, -6, -1.01], enters: 0, style: 2 },
  ],
  floor: null,
  axis: axisOf("logprob", { low: -9, high: -1 }),
  theme: { ink: "ink", soft: "soft", line: "line", surface: "surface", accent: "accent", mark: "mark" },
  colours: COLOURS,
  lit: null,
};

class Record implements Pen {
  readonly lines: { points: readonly Point[]; stroke: string; thickness: number }[] = [];
  readonly areas: { points: readonly Point[]; fill: string }[] = [];
  readonly texts: { text: string; x: number; y: number; fill: string }[] = [];
  readonly rects: { x: number; y: number; width: number; height: number; fill: string }[] = [];

  line(points: readonly Point[], stroke: string, thickness: number): void {
    this.lines.push({ points, stroke, thickness });
  }
  text(text: string, x: number, y: number, { fill }: TextStyle): void {
    this.texts.push({ text, x, y, fill });
  }
  rect(x: number, y: number, width: number, height: number, fill: string): void {
    this.rects.push({ x, y, width, height, fill });
  }
  snap(value: number): number {
    return Math.round(value);
  }
  frame(): void {}
  area(points: readonly Point[], fill: string): void {
    this.areas.push({ points, fill });
  }
  dot(): void {}
  image(): void {}
}

function drawn(change: Partial<Plot> = {}): Record {
  const pen = new Record();
  drawPlot(pen, { ...PLOT, ...change });
  return pen;
}

test("known values that follow each other are one run", () => {
  assert.deepEqual(runsOf([1, NaN, 2, 3, NaN]), [[0], [2, 3]]);
  assert.deepEqual(runsOf([NaN, NaN]), []);
});

test("no line bridges a gap, and a value alone is a marker", () => {
  const { lines } = drawn();
  const frame = frameOf(PLOT);
  const curves = lines.filter(({ stroke, thickness }) => stroke === "c0" && thickness === 1.8);
  assert.deepEqual(curves.map(({ points }) => points.map(([x]) => frame.rowAt(x))), [[2, 3, 4]]);
  const alone = lines.filter(({ stroke }) => stroke === "c1");
  assert.equal(alone.length, 1);
  assert.ok(alone[0]!.points.every(([x, y]) => Math.abs(x - frame.x(1)) < 4 && Math.abs(y - frame.y(-5)) < 4));
});

test("a band runs along what is known of its interval, below all lines", () => {
  const frame = frameOf(PLOT);
  const band = { low: [-5, NaN, -4, -3, -2], high: [-3, NaN, -2, -1, -1] };
  const [cat, ...others] = PLOT.lines;
  const { areas, lines } = drawn({ lines: [{ ...cat!, band }, ...others] });
  assert.equal(areas.length, 1);
  assert.equal(areas[0]!.fill, "c0");
  assert.deepEqual(areas[0]!.points.slice(0, 3), [2, 3, 4].map((row) => [frame.x(row), frame.y(band.low[row]!)]));
  assert.deepEqual(areas[0]!.points.slice(3), [4, 3, 2].map((row) => [frame.x(row), frame.y(band.high[row]!)]));
  const alone = lines.find(({ thickness, stroke }) => thickness === 1 && stroke === "c0")!;
  assert.deepEqual(alone.points, [[frame.x(0), frame.y(-5)], [frame.x(0), frame.y(-3)]]);
  assert.deepEqual(drawn().areas, []);
});

test("no layer is marked where none is chosen", () => {
  const marks = (now: number | null): number => drawn({ now }).lines.filter(({ stroke }) => stroke === "accent").length;
  assert.deepEqual([marks(2), marks(null)], [1, 0]);
});

test("amounts begin at 0, or at a round number below it", () => {
  assert.deepEqual(amountAxis("x", { low: 0.4, high: 7.2 }).range, { low: 0, high: 8 });
  assert.deepEqual(amountAxis("x", { low: -0.13, high: 0.2 }).range, { low: -0.2, high: 0.2 });
  assert.deepEqual(amountAxis("x", { low: 0, high: 1 }, true).ticks.map(({ text }) => text), ["0%", "20%", "40%", "60%", "80%", "100%"]);
  for (const none of [null, { low: 0, high: 0 }]) {
    const { range, ticks } = amountAxis("x", none);
    assert.ok(range.low < range.high && ticks.length > 1 && ticks.every(({ text }) => text.length < 9));
  }
});

test("a ring stands where a word enters the top-k, and nowhere else", () => {
  const frame = frameOf(PLOT);
  const rings = drawn().lines.filter(({ thickness }) => thickness === 1.6);
  assert.deepEqual(rings.map(({ stroke, points }) => [stroke, frame.rowAt(points[6]![0])]), [["c0", 2], ["c2", 0]]);
});

test("names at the ends of lines do not touch, a line that ends early is named there", () => {
  const { texts } = drawn();
  const names = texts.filter(({ fill }) => COLOURS.includes(fill));
  const [cat, sky] = ["cat", "sky"].map((name) => names.find(({ text }) => text === name)!);
  assert.ok(Math.abs(cat!.y - sky!.y) >= 15);
  const frame = frameOf(PLOT);
  const dog = names.find(({ text }) => text === "dog")!;
  assert.ok(Math.abs(dog.x - frame.x(1)) < 20 && dog.y < frame.y(-5));
});

test("what is not known is grey from the weakest candidate down, layer by layer", () => {
  const floor = [-6, -5, -20, -2, -3];
  const frame = frameOf(PLOT);
  const grey = drawn({ floor }).rects.filter(({ fill }) => fill === "soft");
  assert.deepEqual(grey.map(({ y, height }) => [y, y + height]), [-6, -5, -2, -3].map((low) => [frame.y(low), frame.bottom]));
  assert.deepEqual(drawn().rects.filter(({ fill }) => fill === "soft"), []);
});

test("layers stand by their numbers, and the nearest is found; one layer stands in the middle", () => {
  const frame = frameOf({ ...PLOT, layers: [0, 1, 2, 3, 8] });
  assert.ok(Math.abs(frame.x(3) - frame.x(0) - 3 * (frame.x(1) - frame.x(0))) < 1e-9);
  assert.equal(frame.x(4), frame.right);
  assert.deepEqual([-50, frame.x(1) + 3, 1000].map(frame.rowAt), [0, 1, 4]);
  const one = frameOf({ ...PLOT, layers: [7], lines: [] });
  assert.equal(one.x(0), (one.left + one.right) / 2);
});

test("labels are spread as little as needed, in order, within the span", () => {
  assert.deepEqual(spread([10, 50, 90], 15, 0, 100), [10, 50, 90]);
  assert.deepEqual(spread([52, 50, 51], 15, 0, 100), [80, 50, 65]);
  assert.deepEqual(spread([99, 98, 100], 15, 0, 100), [85, 70, 100]);
  assert.deepEqual(spread([-5], 15, 0, 100), [0]);
});

test("log-probabilities end at round numbers and never above 0", () => {
  const axis = axisOf("logprob", { low: -7.3, high: -0.01 });
  assert.deepEqual(axis.range, { low: -8, high: 0 });
  assert.deepEqual(axis.ticks.map(({ text }) => text), ["-8", "-6", "-4", "-2", "0"]);
  const level = axisOf("logprob", { low: -2, high: -2 });
  assert.ok(level.range.low < level.range.high && level.ticks.length > 1);
});

test("probabilities begin at 0, in percent", () => {
  assert.deepEqual(axisOf("probability", { low: 0.1, high: 0.93 }).ticks.map(({ text }) => text), ["0%", "20%", "40%", "60%", "80%", "100%"]);
  assert.deepEqual(axisOf("probability", { low: 0, high: 0.004 }).ticks.at(-1), { at: 0.004, text: "0.4%" });
});

test("ranks have 1 on top, on a log scale", () => {
  const axis = axisOf("rank", { low: -Math.log(30), high: 0 });
  assert.equal(axis.range.high, 0);
  assert.ok(axis.range.low < -Math.log(30));
  assert.deepEqual(axis.ticks.map(({ text }) => text), ["1", "2", "5", "10", "20"]);
  assert.deepEqual(axisOf("rank", { low: -Math.log(31000), high: 0 }).ticks.map(({ text }) => text), ["1", "10", "100", "1,000", "10,000"]);
});

test("every measure has an axis where nothing is known", () => {
  for (const measure of ["logprob", "probability", "rank"] as const) {
    const { range, ticks } = axisOf(measure, null);
    assert.ok(range.low < range.high && ticks.length > 1);
  }
});

test("layers are named as far as there is room, the first as embeddings, the last always", () => {
  const all = Array.from({ length: 34 }, (_, i) => i);
  assert.deepEqual(layerTicks(all.slice(0, 33), 10).map(({ text }) => text), ["emb.", "4", "8", "12", "16", "20", "24", "28", "32"]);
  assert.deepEqual(layerTicks([0, 2, 7], 20).map(({ text }) => text), ["emb.", "2", "7"]);
  assert.deepEqual(layerTicks(all, 10).map(({ text }) => text).slice(-2), ["28", "33"]);
});
