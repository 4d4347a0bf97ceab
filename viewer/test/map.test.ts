import assert from "node:assert/strict";
import { test } from "node:test";

import { place, sizesFor, type Label } from "../src/drawing/labels";
import { Patches } from "../src/reading/patches";
import { colourOf, hull, isBright, luminance, rangeOf, shareOf } from "../src/drawing/scale";

const GRID = {
  kind: [0, 1, 1, 1, 1],
  image: [-1, 0, 0, 0, 1],
  tile: [-1, 0, 0, 0, 0],
  row: [-1, 0, 0, 1, 0],
  col: [-1, 0, 1, 0, 0],
  box: [null, null, null, null, 10, 0, 20, 10, 20, 0, 30, 10, 10, 10, 20, 20, 0, 0, 5, 5],
};

test("a point finds the patch whose box holds it, and none outside the crop", () => {
  const patches = new Patches(GRID, 0);
  assert.equal(patches.all.length, 3);
  assert.equal(patches.under(10, 0)?.entry, 1);
  assert.equal(patches.under(20, 9.9)?.entry, 2);
  assert.equal(patches.under(15, 19)?.entry, 3);
  assert.equal(patches.under(9, 5), undefined);
  assert.equal(patches.under(25, 15), undefined);
});

test("of overlapping patches the smallest is under the pointer", () => {
  const box = [...GRID.box.slice(0, 12), 0, 0, 100, 100, 0, 0, 5, 5];
  const patches = new Patches({ ...GRID, box }, 0);
  assert.equal(patches.under(12, 5)?.entry, 1);
  assert.equal(patches.under(90, 90)?.entry, 3);
});

test("arrow keys stop at the edge", () => {
  const patches = new Patches(GRID, 0);
  const first = patches.beside(undefined, 0, 1);
  assert.equal(first?.entry, 1);
  assert.equal(patches.beside(first, 0, 1)?.entry, 2);
  assert.equal(patches.beside(first, 1, 0)?.entry, 3);
  assert.equal(patches.beside(first, 0, -1), first);
});

test("placed words never overlap, and the surest is always placed", () => {
  const labels: Label[] = Array.from({ length: 400 }, (_, i) => ({
    x: 10 + (i % 20) * 20,
    y: 10 + Math.floor(i / 20) * 20,
    width: 20,
    height: 20,
    em: 0.6 + ((i * 7) % 11) * 0.5,
    certainty: ((i * 37) % 101) / 100,
  }));
  const placed = place(labels, 400);
  const boxes = placed.map(({ label, size }) => {
    const { x, y, em } = labels[label]!;
    return { left: x - (em * size) / 2, right: x + (em * size) / 2, top: y - size / 2, bottom: y + size / 2 };
  });
  boxes.forEach((a, i) =>
    boxes.slice(i + 1).forEach((b) =>
      assert.ok(a.right <= b.left || b.right <= a.left || a.bottom <= b.top || b.bottom <= a.top),
    ),
  );
  assert.equal(labels[placed[0]!.label]!.certainty, 1);
  assert.ok(placed.length > 100);
});

test("words that can be made to fit their patches are all placed", () => {
  const labels = Array.from({ length: 100 }, (_, i) => ({
    x: 17.5 + (i % 10) * 35,
    y: 17.5 + Math.floor(i / 10) * 35,
    width: 35,
    height: 35,
    em: 3.9,
    certainty: 1,
  }));
  assert.equal(place(labels, 350).length, 100);
});

test("font sizes stay readable and bounded", () => {
  assert.deepEqual(sizesFor(10), { small: 8, large: 11 });
  assert.deepEqual(sizesFor(200), { small: 12, large: 22 });
});

test("the heat scale grows lighter all the way", () => {
  const light = Array.from({ length: 21 }, (_, i) => luminance(colourOf(i / 20)));
  light.slice(1).forEach((value, i) => assert.ok(value > light[i]!, `step ${i}`));
});

test("the signed scale is darkest at zero and grows lighter both ways", () => {
  const light = Array.from({ length: 21 }, (_, i) => luminance(colourOf(i / 20, "signed")));
  light.slice(0, 10).forEach((value, i) => assert.ok(value > light[i + 1]!, `below zero, step ${i}`));
  light.slice(11).forEach((value, i) => assert.ok(value > light[i + 10]!, `above zero, step ${i}`));
  assert.notEqual(colourOf(0, "signed"), colourOf(1, "signed"));
});

test("text on a colour is black or white, whichever stands out more", () => {
  for (const palette of ["heat", "signed"] as const) {
    for (let i = 0; i <= 40; i++) {
      const under = luminance(colourOf(i / 40, palette));
      const [black, white] = [(under + 0.05) / 0.05, 1.05 / (under + 0.05)];
      if (Math.abs(black - white) > 0.05) assert.equal(isBright(i / 40, palette), black > white, `${palette} ${i}`);
    }
  }
});


test("a hull holds all ranges, whatever is missing", () => {
  assert.deepEqual(hull([{ low: 1, high: 2 }, null, { low: -1, high: 1.5 }]), { low: -1, high: 2 });
  assert.equal(hull([null]), null);
});

test("tiles that show the same pixels lie on sheets of their own", () => {
  const tile = [-1, 0, 1, 2, 0];
  const apart = new Patches({ ...GRID, tile }, 0);
  assert.equal(apart.sheets.length, 1);
  const box = [...GRID.box.slice(0, 12), 0, 0, 100, 100, 0, 0, 5, 5];
  const { sheets } = new Patches({ ...GRID, tile, box }, 0);
  assert.deepEqual(sheets.map((sheet) => sheet.map(({ entry }) => entry)), [[1, 2], [3]]);
});

test("ranges skip what is missing", () => {
  assert.deepEqual(rangeOf([NaN, -3, -1]), { low: -3, high: -1 });
  assert.equal(rangeOf([NaN]), null);
  assert.equal(shareOf(-2, { low: -3, high: -1 }), 0.5);
  assert.equal(shareOf(4, { low: 4, high: 4 }), 1);
});
