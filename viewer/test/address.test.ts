import assert from "node:assert/strict";
import { test } from "node:test";

import { decode, encode } from "../src/state/address";
import { START, type State } from "../src/state/store";

const BOUNDS = { stops: 33, positions: [600, 20], channels: ["attention image"] };
const INITIAL: State = { ...START, stop: 30 };

test("the state at the start needs no address", () => {
  assert.equal(encode(INITIAL, INITIAL), "");
  assert.deepEqual(decode("", INITIAL, BOUNDS), INITIAL);
});

test("every part of the state but the pointer comes back, whatever the words hold", () => {
  const state: State = {
    stop: 7,
    mode: "channel:attention image",
    query: "neck, Hals & шея = #猫%",
    measure: "rank",
    pick: { head: 3, "query=1": 0 },
    multiples: true,
    hover: null,
    pin: { pane: 1, position: 19 },
    step: 2,
    followed: ["▁a&b", "\n", ""],
    colour: "kl",
    filter: "patch",
    find: "=?",
  };
  assert.deepEqual(decode(`#${encode({ ...state, hover: { pane: 0, position: 3 } }, INITIAL)}`, INITIAL, BOUNDS), state);
  assert.deepEqual(Object.keys(state).sort(), Object.keys(START).sort(), "a new part of the state belongs into the address");
});

test("what does not fit these readings is not taken", () => {
  for (const hash of [
    "stop=33", "stop=-1", "stop=1e1", "stop=x", "show=nonsense", "show=channel:other", "measure=sum", "pin=2.0",
    "pin=0.600", "pin=1", "pin=1.20", "colour=red", "list=none", "step=-1", "other=1", "at.head=-2", "%E0%A4%A",
  ]) {
    assert.deepEqual(decode(`#${hash}`, INITIAL, BOUNDS), INITIAL, hash);
  }
});
