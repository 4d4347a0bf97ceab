import assert from "node:assert/strict";
import { test } from "node:test";

import cases from "../../tests/views/visible.json";
import { fold, isWord, nats, percent, short, visible, visibleText } from "../src/reading/text";

for (const [piece, shown] of cases as [string, string][]) {
  test(`${JSON.stringify(piece)} is shown as ${shown}`, () => assert.equal(visible(piece), shown));
}

test("long text keeps spaces and lines but no direction override", () => {
  assert.equal(visibleText("a b\n\u202ec\ufffd"), "a b\n‹RLO›c\ufffd");
});

test("words on the picture drop the mark of a leading space, not a lone one", () => {
  assert.deepEqual(["▁cat", "▁", "\n", "", "<0xE2>"].map(short), ["cat", "▁", "⏎", "∅", "‹E2›"]);
});

test("words are told from punctuation and codes", () => {
  assert.deepEqual(["▁cat", "猫", "🦒", "7", ".", "\n", "<0xE2>", ""].map(isWord), [true, true, true, true, false, false, false, false]);
});

test("probabilities keep two telling digits", () => {
  const shown = [0, Math.log(0.999), Math.log(0.4), Math.log(0.012), Math.log(0.0004), Math.log(0.00004), Math.log(2e-9), NaN].map(percent);
  assert.deepEqual(shown, ["100%", "100%", "40%", "1.2%", "0.04%", "0.004%", "2·10⁻⁷%", "–"]);
});

test("nats and folding", () => {
  assert.deepEqual([nats(0), nats(9.94), nats(12.34), nats(NaN)], ["0.00", "9.94", "12.3", "–"]);
  assert.equal(fold("▁Cat "), "cat");
});
