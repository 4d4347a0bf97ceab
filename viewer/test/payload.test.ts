import assert from "node:assert/strict";
import { test } from "node:test";
import { deflateSync } from "node:zlib";

import { Coded, FORMAT, bytesOf, bytesOfBase64, integers, magnitudes, signedValues, tokens, unpack } from "../src/reading/decode";
import { Reading } from "../src/reading/reading";
import type { ArraySpec } from "../src/reading/payload";
import sample from "./sample.json" with { type: "json" };

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
  vision: null,
  channels: [],
};

function spec(code: ArraySpec["code"], offset: number, shape: number[], more: Partial<ArraySpec> = {}): ArraySpec {
  return { code, offset, shape, planes: 1, stride: 0, scale: 0, ...more };
}

/** Every token is told as an escape, cell by cell; nothing is stored as differences. */
async function byHand(): Promise<Reading> {
  const body: number[] = [];
  const integersSpec = (values: number[], shape: number[], planes = 1): ArraySpec => {
    const offset = body.length;
    for (let plane = 0; plane < planes; plane++) body.push(...values.map((v) => (v >> (8 * plane)) & 255));
    return spec("integer", offset, shape, { planes });
  };
  const codes = (values: number[], shape: number[], scale: number): ArraySpec => {
    body.push(...values);
    return spec("magnitude", body.length - values.length, shape, { scale });
  };
  const cells = [0, 1].flatMap((layer) => [0, 1, 2].flatMap((at) => TOP_TOKENS.map((plane) => plane[layer]![at]!)));
  const arrays = {
    top_choices: { ...codes(Array<number>(12).fill(255), [2, 2, 3], 0), code: "byte" },
    top_escapes: integersSpec(cells, [12], 2),
    top_logprobs: codes([0, 127, 254, 255, 10, 20, 254, 254, 254, 254, 254, 254], [2, 2, 3], 8),
    entropy: codes([0, 0, 0, 0, 0, 254], [2, 3], 3),
    kl_to_final: codes([0, 0, 0, 0, 0, 0], [2, 3], 1),
    target_logprobs: codes([1, 2, 3, 4, 5, 127], [1, 2, 3], 16),
    target_ranks: integersSpec([70000, 0, 0, 0, 0, 9], [1, 2, 3], 3),
  };
  const positions = {
    kind: integersSpec([0, 1, 0], [3]),
    step: integersSpec([-1, -1, 0], [3]),
    box: integersSpec([-1, -1, -1, -1, 0, 50, 150, 1275, -1, -1, -1, -1], [3, 4], 2),
  };
  const head = Buffer.from(JSON.stringify({ ...HEADER, arrays, positions, token_ids: integersSpec([], [0]) }));
  const length = Buffer.alloc(4);
  length.writeUInt32LE(head.length);
  const packed = deflateSync(Buffer.concat([length, head, Buffer.from(body)]));
  return new Reading(await unpack(`\n${packed.toString("base64")}\n`));
}

test("byte planes are added, low plane first, the highest with its sign", () => {
  const planes = Uint8Array.from([9, 1, 2, 1, 0, 0, 1]);
  assert.deepEqual([...integers(planes, spec("integer", 1, [2], { planes: 3 }))], [257, 65538]);
  const negative = Uint8Array.from([0xff, 0x00, 0xff, 0x80]);
  assert.deepEqual([...integers(negative, spec("integer", 0, [2], { planes: 2 }))], [-1, -32768]);
  assert.deepEqual([...integers(Uint8Array.from([1, 2, 3, 0xff]), spec("integer", 0, [1], { planes: 4 }))], [-16580095]);
});

test("differences are added up over the stride, and wrap round", () => {
  const stored = Uint8Array.from([250, 1, 10, 255, 250, 0]);
  assert.deepEqual([...bytesOf(stored, spec("byte", 0, [3, 2], { stride: 2 }))], [250, 1, 4, 0, 254, 0]);
  assert.deepEqual([...stored], [250, 1, 10, 255, 250, 0]);
  assert.deepEqual([...integers(stored, spec("integer", 0, [3, 2], { stride: 2 }))], [-6, 1, 4, 0, -2, 0]);
  assert.deepEqual([...integers(Uint8Array.from([255, 1, 1, 0, 0, 0]), spec("integer", 0, [3], { planes: 2, stride: 1 }))], [255, 256, 257]);
});

test("tokens are told by their place among those beside them not yet taken, others as escapes", () => {
  // rank by rank, over layer 0: [5, 1], [1, 9]; layer 1: [1, 5], [9, 5]
  const choices = Uint8Array.from([255, 1, 1, 1, 255, 255, 0, 1]);
  assert.deepEqual([...tokens(choices, Int32Array.from([5, 1, 9]), [2, 2, 2], 10)], [5, 1, 1, 9, 1, 9, 5, 5]);
});

test("codes stand for squares of shares of the scale, and 255 for nothing", () => {
  const table = magnitudes(8);
  assert.equal(table[0], 0);
  assert.equal(table[254], 8);
  assert.equal(table[127], 2);
  assert.ok(Number.isNaN(table[255]));
  assert.ok(Number.isNaN(new Coded(Uint8Array.from([255]), spec("magnitude", 0, [1], { scale: 1 })).at(0)));
});

test("signed codes reach as far to both sides of zero", () => {
  const coded = new Coded(Uint8Array.from([0, 127, 254, 255]), spec("signed", 0, [4], { scale: 8 }));
  assert.deepEqual([0, 1, 2, 3].map((i) => coded.at(i)), [-8, 0, 8, NaN]);
  assert.ok(Math.abs(signedValues(8)[127 - 64]! + 8 * (64 / 127) ** 2) < 1e-12);
});

test("a reading answers by layer, position and rank", async () => {
  const reading = await byHand();
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
  const reading = await byHand();
  assert.equal(reading.logprob(7, 1, 2), -4);
  assert.equal(reading.logprob(1, 0, 1), -2);
  assert.ok(Number.isNaN(reading.logprob(1, 0, 2)));
  const both = Math.exp(-4) + Math.exp(reading.logprob(2, 1, 2));
  assert.equal(reading.logprobOfAny([7, 2], 1, 2), Math.log(both));
  assert.ok(Number.isNaN(reading.logprobOfAny([], 0, 1)));
});

test("the final word is the answer's, and is followed through the layers", async () => {
  const reading = await byHand();
  assert.equal(reading.home(), 2);
  assert.equal(reading.finalToken(2), 7);
  assert.equal(reading.finalToken(1), 1);
  assert.equal(reading.entersAt(1, 1), 0);
  assert.equal(reading.leadsFrom(1, 1), 0);
  assert.equal(reading.entersAt(7, 2), -1);
  assert.equal(reading.leadsFrom(7, 2), -1);
});

test("places come as they were written, without a box where there is none", async () => {
  const { positions } = (await byHand()).header;
  assert.deepEqual(positions.kind, [0, 1, 0]);
  assert.deepEqual(positions.step, [-1, -1, 0]);
  assert.deepEqual(positions.box, [null, null, null, null, 0, 0.5, 1.5, 12.75, null, null, null, null]);
});

test("what Python packs is unpacked to the same numbers", async () => {
  const packed = await unpack(sample.packed);
  const reading = new Reading(packed);
  const { header } = packed;
  sample.top_ids.forEach((positions, layer) =>
    positions.forEach((ids, position) => {
      const top = reading.top(layer, position);
      assert.deepEqual(top.map(({ token }) => header.token_ids[token]), ids);
      close(top.map(({ logprob }) => logprob), sample.top_logprobs[layer]![position]!);
      close([reading.entropy(layer, position)], [sample.entropy[layer]![position]!]);
      close([reading.kl(layer, position)], [sample.kl[layer]![position]!]);
    }),
  );
  const token = header.positions.token.map((place) => header.token_ids[place]);
  close(header.positions.box, sample.positions.box, 0.0051);
  close(header.vision!.box, sample.vision.box, 0.0051);
  assert.deepEqual({ ...header.positions, token, box: [] }, { ...sample.positions, box: [] });
  assert.deepEqual({ ...header.vision!, box: [] }, { ...sample.vision, box: [] });
  assert.equal(reading.channels.length, 2);
  reading.channels.forEach(({ at, ...facts }, i) => {
    const { values, ...expected } = sample.channels[i]!;
    assert.deepEqual(facts, expected);
    close(values.map((_, place) => at(place)), values);
  });
});

test("base64 is read alike with and without the browser's own reader", () => {
  const native = Uint8Array as unknown as { fromBase64?: unknown };
  const own = native.fromBase64;
  try {
    native.fromBase64 = undefined;
    assert.deepEqual(bytesOfBase64("\nAP+A\n"), Uint8Array.from([0, 255, 128]));
    native.fromBase64 = (text: string) => new Uint8Array(Buffer.from(text, "base64"));
    assert.deepEqual(bytesOfBase64("\nAP+A\n"), Uint8Array.from([0, 255, 128]));
  } finally {
    native.fromBase64 = own;
  }
});

test("another format or a cut payload is refused", async () => {
  const head = Buffer.from('{"format":99}');
  const length = Buffer.alloc(4);
  length.writeUInt32LE(head.length);
  const packed = deflateSync(Buffer.concat([length, head])).toString("base64");
  await assert.rejects(unpack(packed), /format 99/);
  await assert.rejects(unpack(packed.slice(0, 12)));
  await assert.rejects(unpack(sample.packed.slice(0, -4)));
});

function close(found: readonly (number | null)[], expected: readonly (number | null)[], tolerance = 1e-9): void {
  assert.equal(found.length, expected.length);
  found.forEach((value, i) => {
    if (expected[i] == null) assert.ok(value === null || Number.isNaN(value));
    else assert.ok(Math.abs(value! - expected[i]) < tolerance, `${i}: ${value}, expected ${expected[i]}`);
  });
}
