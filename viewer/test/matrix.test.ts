import assert from "node:assert/strict";
import { test } from "node:test";

import { Lexicon } from "../src/reading/concept";
import type { Field } from "../src/state/field";
import { beside, centre, fullSize, layOut, left, LINE, moved, reveal, seen, top, TOP, under } from "../src/matrix/layout";
import { extremes } from "../src/matrix/tint";
import { KINDS } from "../src/reading/payload";
import type { Reading } from "../src/reading/reading";
import { holds, listed, passes, rowName, rowTable, wanted } from "../src/matrix/rows";

const WIDE = layOut(2880, 33, 1200, 420);
const START = { left: 0, top: 0 };

test("columns share the room, within what can be read and what is needed", () => {
  assert.equal(WIDE.cell, 58);
  assert.equal(layOut(10, 9, 1200, 420).cell, Math.floor((1200 - WIDE.head) / 9));
  assert.equal(layOut(10, 2, 1200, 420).cell, 132);
  assert.ok(layOut(10, 33, 390, 420).head < WIDE.head);
});

test("the view is never larger than the matrix", () => {
  const small = layOut(3, 2, 1200, 420);
  assert.deepEqual({ width: small.width, height: small.height }, fullSize(small));
  assert.deepEqual([WIDE.width, WIDE.height], [1200, 420]);
  assert.deepEqual(fullSize(WIDE), { width: WIDE.head + 33 * 58, height: TOP + 2880 * LINE });
});

test("only what is at least partly in view counts as seen", () => {
  assert.deepEqual(seen(WIDE, START), { rows: [0, Math.ceil((420 - TOP) / LINE)], columns: [0, 18] });
  assert.deepEqual(seen(WIDE, { left: 57, top: LINE - 1 }).rows[0], 0);
  assert.deepEqual(seen(WIDE, { left: 58, top: LINE }).columns[0], 1);
  const end = { left: fullSize(WIDE).width - 1200, top: fullSize(WIDE).height - 420 };
  assert.equal(seen(WIDE, end).rows[1], 2880);
  assert.equal(seen(WIDE, end).columns[1], 33);
  assert.deepEqual(seen(layOut(0, 33, 1200, 420), START).rows, [0, 0]);
});

test("every cell in view is the one under its own middle", () => {
  const scroll = { left: 333, top: 12345 };
  const span = seen(WIDE, scroll);
  for (let row = span.rows[0] + 1; row < span.rows[1] - 1; row++) {
    for (let column = span.columns[0] + 1; column < span.columns[1] - 1; column++) {
      const [x, y] = [left(WIDE, scroll, column) + WIDE.cell / 2, top(scroll, row) + LINE / 2];
      assert.deepEqual(under(WIDE, scroll, x, y), { row, column });
    }
  }
});

test("headers stay put; beside the matrix lies nothing", () => {
  const scroll = { left: 333, top: 12345 };
  assert.deepEqual(under(WIDE, scroll, 3, 3), { row: -1, column: -1 });
  assert.equal(under(WIDE, scroll, WIDE.head + 1, 3)?.row, -1);
  assert.equal(under(WIDE, scroll, 3, TOP)?.row, Math.floor(12345 / LINE));
  assert.equal(under(WIDE, scroll, 1200, 50), null);
  assert.equal(under(WIDE, scroll, 50, -1), null);
  assert.equal(under(layOut(3, 2, 1200, 420), START, 50, TOP + 3 * LINE), null);
});

test("the scroll moves no more than a cell needs", () => {
  assert.deepEqual(reveal(WIDE, START, { row: 5, column: 5 }), START);
  const down = reveal(WIDE, START, { row: 100, column: -1 });
  assert.equal(top(down, 101), 420);
  assert.equal(down.left, 0);
  assert.equal(top(reveal(WIDE, down, { row: 50, column: 0 }), 50), TOP);
  const right = reveal(WIDE, START, { row: -1, column: 32 });
  assert.equal(left(WIDE, right, 33), 1200);
  assert.equal(right.top, 0);
});

test("what comes from out of view comes to the middle, what is in view stays", () => {
  assert.deepEqual(centre(WIDE, START, { row: 5, column: 5 }), START);
  const { top: down, left: across } = centre(WIDE, START, { row: 1000, column: -1 });
  assert.equal(across, 0);
  assert.ok(Math.abs(top({ left: 0, top: down }, 1000) + LINE / 2 - (420 + TOP) / 2) <= 1);
  assert.equal(centre(WIDE, { left: 900, top: 0 }, { row: -1, column: 0 }).left, 0);
});

test("keys move within the matrix", () => {
  const cell = { row: 7, column: 3 };
  assert.deepEqual(moved(WIDE, cell, "ArrowDown", false), { row: 8, column: 3 });
  assert.deepEqual(moved(WIDE, { row: 0, column: 0 }, "ArrowUp", false), { row: 0, column: 0 });
  assert.deepEqual(moved(WIDE, { row: 2879, column: 32 }, "ArrowRight", false), { row: 2879, column: 32 });
  assert.deepEqual(moved(WIDE, cell, "Home", false), { row: 7, column: 0 });
  assert.deepEqual(moved(WIDE, cell, "End", true), { row: 2879, column: 32 });
  const page = Math.floor((420 - TOP) / LINE) - 1;
  assert.deepEqual(moved(WIDE, cell, "PageDown", false), { row: 7 + page, column: 3 });
  assert.equal(moved(WIDE, cell, "x", false), null);
});

test("a box stays in its room, beside the point where it can", () => {
  assert.ok(beside(100, 250, 1000) > 100);
  assert.ok(beside(900, 250, 1000) + 250 < 900);
  assert.equal(beside(200, 250, 300), 0);
  assert.equal(beside(2000, 250, 300), 50);
});

// A special, two patches, a text and a generated position; two layers, top-2.
const TOKENS = ["<s>", "<image>", "▁what", "▁cat", "▁Cat", "▁sky", "▁gira"];
const TOPS = [
  [[5, 2], [5, 2], [5, 2], [5, 2], [5, 2]],
  [[0, 2], [5, 3], [0, 2], [6, 2], [0, 4]],
];
const READING = {
  nLayers: 2,
  nPositions: 5,
  k: 2,
  header: {
    layers: [0, 4],
    tokens: TOKENS,
    token_ids: TOKENS.map((_, token) => 100 + token),
    targets: [],
    pictures: [{}],
    positions: {
      kind: [3, 1, 1, 0, 0], index: [0, 1, 2, 3, 4], image: [-1, 0, 0, -1, -1], row: [-1, 0, 0, -1, -1], col: [-1, 0, 1, -1, -1],
      token: [0, 1, 1, 2, 5], generated: [0, 0, 0, 0, 1],
    },
  },
  kind: (position: number) => KINDS[READING.header.positions.kind[position]!],
  piece: (token: number) => TOKENS[token] ?? "",
  topToken: (row: number, position: number, rank: number) => TOPS[row]![position]![rank]!,
  topLogprob: () => Math.log(0.5),
  entropy: (row: number) => row,
  kl: () => NaN,
} as unknown as Reading;
const LEXICON = new Lexicon(READING);
const rows = (find: string): number[] => listed(READING, "all", wanted(LEXICON, find));

test("each position passes the filter of its kind", () => {
  const kinds = (["all", "patch", "text", "generated"] as const).map((filter) => listed(READING, filter, null));
  assert.deepEqual(kinds, [[0, 1, 2, 3, 4], [1, 2], [0, 3], [4]]);
  assert.ok(!passes(READING, 4, "text"));
});

test("rows are listed where any layer holds a word in any case, or where it stands itself", () => {
  assert.deepEqual(rows("cat"), [1, 4]);
  assert.deepEqual(rows("<s>"), [0, 2, 4]);
  assert.deepEqual(rows("giraffe"), [3]);
  assert.deepEqual(rows("<image>, cat"), [1, 2, 4]);
  assert.deepEqual(rows("zebra"), []);
  assert.deepEqual(rows(" , "), [0, 1, 2, 3, 4]);
  assert.deepEqual(listed(READING, "generated", wanted(LEXICON, "cat")), [4]);
});

test("a cell holds the words of its own top-k alone", () => {
  const tokens = wanted(LEXICON, "cat")!;
  assert.deepEqual([holds(READING, tokens, 0, 1), holds(READING, tokens, 1, 1)], [false, true]);
});

test("rows are named by patch or by piece", () => {
  assert.equal(rowName(READING, 2, false), "▦ row 0, col 1");
  assert.equal(rowName(READING, 2, true), "▦ 0, 1");
  assert.equal(rowName(READING, 3, false), "▁what");
  assert.equal(rowName(READING, 4, false), "↳ ▁sky");
});

test("the table holds every layer of the rows listed", () => {
  const table = rowTable(READING, [2, 4]);
  assert.equal(table.length, 5);
  assert.ok(table.every((line) => line.length === table[0]!.length));
  assert.deepEqual(table[2]!.slice(0, 10), [2, "patch", 0, 1, 101, "<image>", 4, 100, "<s>", 0.5]);
  assert.deepEqual(table[3]!.slice(0, 9), [4, "text", "", "", 105, "▁sky", 0, 105, "▁sky"]);
});

test("the ends of a scale are values that are there, and none where nothing is known", () => {
  const values = [[NaN, 3], [2, 7], [1, 5]];
  const field = { at: (row, position) => values[row]![position]!, height: (rank) => -Math.log(rank) } as Field;
  assert.deepEqual(extremes(field, { nLayers: 3, nPositions: 2 }), [7, 1]);
  assert.deepEqual(extremes({ ...field, at: () => NaN }, { nLayers: 2, nPositions: 2 }), []);
});
