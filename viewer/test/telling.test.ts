import assert from "node:assert/strict";
import { test } from "node:test";

import type { Reading } from "../src/reading/reading";
import { tellingWords } from "../src/reading/telling";

const PIECES = ["▁neck", "▁Neck", "▁and", "ffe", ".", "\n", "猫", "▁a", "<0xE2>", "▁12", "<image>"];

/** Layers of patches, each cell a token and its probability. */
function reading(layers: [number, number][][]): Reading {
  return {
    nLayers: layers.length,
    topToken: (row: number, position: number) => layers[row]![position]![0],
    topLogprob: (row: number, position: number) => Math.log(layers[row]![position]![1]),
    piece: (token: number) => PIECES[token]!,
  } as unknown as Reading;
}

test("the surest words of the deeper half come first, each spelling once, no punctuation, marker or number", () => {
  const deep: [number, number][] = [[0, 0.9], [1, 0.8], [2, 0.3], [3, 0.7], [4, 1], [5, 1], [6, 0.6], [7, 1], [8, 1], [9, 1], [10, 1]];
  const shallow = deep.map((): [number, number] => [2, 1]);
  const all = deep.map((_, i) => i);
  assert.deepEqual(tellingWords(reading([shallow, deep]), all, 9), ["neck", "ffe", "猫", "and"]);
  assert.deepEqual(tellingWords(reading([shallow, deep]), all, 2), ["neck", "ffe"]);
  assert.deepEqual(tellingWords(reading([shallow, deep]), [4, 5], 9), []);
});
