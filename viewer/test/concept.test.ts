import assert from "node:assert/strict";
import { test } from "node:test";

import { Lexicon } from "../src/reading/concept";

const TOKENS = ["▁Cat", "cat", "▁dog", "▁gira", "ffe", "猫", "▁", "▁Sav"];
const TARGETS = [
  { word: "Katze", token: 0, whole: true },
  { word: "savanna", token: 7, whole: false },
];
const LEXICON = new Lexicon({ header: { tokens: TOKENS, targets: TARGETS } });

test("words mean every spelling of a token, and targets", () => {
  assert.deepEqual(LEXICON.find(" CAT "), { found: [{ word: "cat", tokens: [0, 1], start: null }], tokens: [0, 1], unknown: [] });
  assert.deepEqual(LEXICON.find("katze").tokens, [0]);
});

test("words are parted by commas of any script, each told once, and a token counts once", () => {
  const { found, tokens, unknown } = LEXICON.find("cat,Katze, 猫，dog、zebra،Dog;,");
  assert.deepEqual(found.map(({ word }) => word), ["cat", "katze", "猫", "dog"]);
  assert.deepEqual(tokens, [0, 1, 5, 2]);
  assert.deepEqual(unknown, ["zebra"]);
  assert.deepEqual(LEXICON.find(" , ▁"), { found: [], tokens: [], unknown: [] });
});

test("a word that is no token is found by its longest start of three letters or more, and says so", () => {
  assert.deepEqual(LEXICON.find("Giraffe").found, [{ word: "giraffe", tokens: [3], start: "gira" }]);
  assert.deepEqual(LEXICON.find("doge, do, ffer").found.map(({ word, start }) => [word, start]), [["doge", "dog"], ["ffer", "ffe"]]);
  assert.deepEqual(LEXICON.find("do").unknown, ["do"]);
});

test("a target of several tokens is its first one, and says so", () => {
  assert.deepEqual(LEXICON.find("savanna").found, [{ word: "savanna", tokens: [7], start: "sav" }]);
});
