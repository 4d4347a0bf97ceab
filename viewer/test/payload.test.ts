import assert from "node:assert/strict";
import { test } from "node:test";
import { deflateSync } from "node:zlib";

import { Coded, FORMAT, integers, magnitudes, unpack } from "../src/decode";
import { Lexicon } from "../src/concept";
import { Reading } from "../src/reading";
import type { ArraySpec, Header } from "../src/payload";

// 2 layers x 3 positions x top-2 of 300 tokens, so that ids need two byte planes.
const TOP_TOKENS = [
  [[299, 1, 2], [7, 1, 2]],
  [[0, 7, 0], [299, 0, 299]],
];
const HEADER = {
  format: FORMAT,
  model: { name: "m", revision: "", family: "llava", dtype: "float32", n_layers: 4 },
  layers: [0, 4],
  tokens: Array.from({ length: 300 }, (_, i) => (i === 7 ? "▁Cat" : i === 299 ? "cat" : `t${i}`)),
  targets: [{ word: "Katze", token: 7, whole: false }],
  answer: { text: "cat", tokens: [7] },
  positions: { kind: [0, 1, 0], step: [-1, -1, 0] },
};

async function sample(): Promise<Reading> {
  const body: number[] = [];
  const ids = TOP_TOKENS.flat(2);
  const integersSpec = (values: number[], shape: number[], planes: number): ArraySpec => {
    const offset = body.length;
    for (let plane = 0; plane < planes; plane++) body.push(...values.map((v) => (v >> (8 * plane)) & 255));
    return { offset, shape, planes, scale: 0 };
  };
  const codes = (values: number[], shape: number[], scale: number): ArraySpec => {
    const offset = body.length;
    body.push(...values);
    return { offset, shape, planes: 0, scale };
  };
  const arrays = {
    top_tokens: integersSpec(ids, [2, 2, 3], 2),
    top_logprobs: codes([0, 127, 254, 255, 10, 20, 254, 254, 254, 254, 254, 254], [2, 2, 3], 8),
    entropy: codes([0, 0, 0, 0, 0, 254], [2, 3], 3),
    kl_to_final: codes([0, 0, 0, 0, 0, 0], [2, 3], 1),
    target_logprobs: codes([1, 2, 3, 4, 5, 127], [1, 2, 3], 16),
    target_ranks: integersSpec([70000, 0, 0, 0, 0, 9], [1, 2, 3], 3),
  };
  const head = Buffer.from(JSON.stringify({ ...HEADER, arrays } satisfies Partial<Header> | object));
  const length = Buffer.alloc(4);
  length.writeUInt32LE(head.length);
  const packed = deflateSync(Buffer.concat([length, head, Buffer.from(body)]));
  return new Reading(await unpack(`\n${packed.toString("base64")}\n`));
}

test("byte planes are added, low plane first", () => {
  const spec = { offset: 1, shape: [2], planes: 3, scale: 0 };
  assert.deepEqual([...integers(Uint8Array.from([9, 1, 2, 1, 0, 0, 1]), spec)], [257, 65538]);
});

test("codes stand for squares of shares of the scale, and 255 for nothing", () => {
  const table = magnitudes(8);
  assert.equal(table[0], 0);
  assert.equal(table[254], 8);
  assert.equal(table[127], 2);
  assert.ok(Number.isNaN(table[255]));
  assert.ok(Number.isNaN(new Coded(Uint8Array.from([255]), { offset: 0, shape: [1], planes: 0, scale: 1 }).at(0)));
});

test("a reading answers by layer, position and rank", async () => {
  const reading = await sample();
  assert.deepEqual([reading.nLayers, reading.nPositions, reading.k], [2, 3, 2]);
  assert.equal(reading.topToken(0, 0, 0), 299);
  assert.equal(reading.topToken(1, 2, 0), 2);
  assert.equal(reading.topToken(1, 0, 1), 299);
  assert.equal(reading.topLogprob(0, 1, 0), -2);
  assert.ok(Number.isNaN(reading.topLogprob(1, 0, 0)));
  assert.equal(reading.entropy(1, 2), 3);
  assert.equal(reading.targetLogprob(1, 2, 0), -4);
  assert.equal(reading.targetRank(0, 0, 0), 70000);
  assert.equal(reading.layerName(0), "0 (embeddings)");
  assert.equal(reading.layerName(1), "4 (last)");
});

test("a target's log-probability is known everywhere, another token's only in the top-k", async () => {
  const reading = await sample();
  assert.equal(reading.logprob(7, 1, 2), -4);
  assert.equal(reading.logprob(1, 0, 1), -2);
  assert.ok(Number.isNaN(reading.logprob(1, 0, 2)));
  const both = Math.exp(-4) + Math.exp(reading.logprob(2, 1, 2));
  assert.equal(reading.logprobOfAny([7, 2], 1, 2), Math.log(both));
  assert.ok(Number.isNaN(reading.logprobOfAny([], 0, 1)));
});

test("the final word is the answer's, and is followed through the layers", async () => {
  const reading = await sample();
  assert.equal(reading.home(), 2);
  assert.equal(reading.finalToken(2), 7);
  assert.equal(reading.finalToken(1), 1);
  assert.equal(reading.entersAt(1, 1), 0);
  assert.equal(reading.leadsFrom(1, 1), 0);
  assert.equal(reading.entersAt(7, 2), -1);
  assert.equal(reading.leadsFrom(7, 2), -1);
});

test("words mean every spelling of a token, and targets", async () => {
  const lexicon = new Lexicon(await sample());
  assert.deepEqual(lexicon.find(" CAT "), { tokens: [7, 299], unknown: [] });
  assert.deepEqual(lexicon.find("katze, t3,, zebra"), { tokens: [7, 3], unknown: ["zebra"] });
});

test("another format or a cut payload is refused", async () => {
  const head = Buffer.from('{"format":99}');
  const length = Buffer.alloc(4);
  length.writeUInt32LE(head.length);
  const packed = deflateSync(Buffer.concat([length, head])).toString("base64");
  await assert.rejects(unpack(packed), /format 99/);
  await assert.rejects(unpack(packed.slice(0, 12)));
});
