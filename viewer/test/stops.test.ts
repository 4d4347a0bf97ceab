import assert from "node:assert/strict";
import { test } from "node:test";

import { stopsOf } from "../src/state/stops";

test("one reading: a stop per row", () => {
  assert.deepEqual(stopsOf([{ layers: [0, 2, 4], nLayers: 4 }]), [[0], [1], [2]]);
});

test("equal depth: layers with the same number stand together, those left out by the nearest", () => {
  const stops = stopsOf([{ layers: [0, 1, 2, 3, 4], nLayers: 4 }, { layers: [0, 4], nLayers: 4 }]);
  assert.deepEqual(stops, [[0, 0], [1, 0], [2, 0], [3, 1], [4, 1]]);
  assert.deepEqual(stopsOf([{ layers: [0, 2], nLayers: 2 }, { layers: [1], nLayers: 2 }]), [[0, 0], [0, 0], [1, 0]]);
});

test("unequal depth: by share of the depth, every row of the longer one once", () => {
  const stops = stopsOf([
    { layers: [0, 1, 2], nLayers: 2 },
    { layers: [0, 1, 2, 3, 4, 5, 6], nLayers: 6 },
  ]);
  assert.deepEqual(stops.map(([, deep]) => deep), [0, 1, 2, 3, 4, 5, 6]);
  assert.deepEqual(stops.map(([flat]) => flat), [0, 0, 1, 1, 1, 2, 2]);
});
