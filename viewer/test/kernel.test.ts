import assert from "node:assert/strict";
import { test } from "node:test";

import { follow, type Model } from "../src/kernel";
import { Pane } from "../src/state/pane";
import type { Reading } from "../src/reading/reading";
import { START, Store } from "../src/state/store";

let frame: (() => void) | null = null;
Object.assign(globalThis, {
  requestAnimationFrame: (act: () => void) => ((frame = act), 1),
  cancelAnimationFrame: () => (frame = null),
});

/** A model as a notebook has it: setting a value tells all who listen, saving sends what has changed. */
class Shared implements Model {
  readonly sent: Record<string, unknown>[] = [];
  private unsaved: Record<string, unknown> = {};
  private readonly listeners = new Map<string, Set<() => void>>();

  constructor(private readonly values: Record<string, unknown>) {}

  get(name: string): unknown {
    return this.values[name];
  }

  set(name: string, value: unknown): void {
    this.unsaved[name] = value;
    this.hear({ [name]: value });
  }

  /** New values from the kernel: all are there before anyone is told. */
  hear(values: Record<string, unknown>): void {
    const names = Object.keys(values).filter((name) => this.values[name] !== values[name]);
    Object.assign(this.values, values);
    for (const name of names) this.listeners.get(`change:${name}`)?.forEach((act) => act());
  }

  save_changes(): void {
    this.sent.push(this.unsaved);
    this.unsaved = {};
  }

  on(event: string, act: () => void): void {
    this.listeners.set(event, (this.listeners.get(event) ?? new Set()).add(act));
  }

  off(event: string, act: () => void): void {
    this.listeners.get(event)?.delete(act);
  }
}

/** A page of one reading of layers 0, 4, 8 and of positions 10 to 13; another pane's positions have no twin here. */
function page(): { store: Store; panes: Pane[] } {
  const places = { kind: [0, 0, 0, 0], index: [10, 11, 12, 13], image: [-1, -1, -1, -1], box: [] };
  const header = { layers: [0, 4, 8], tokens: [], targets: [], pictures: [], positions: places, vision: null };
  const store = new Store({ ...START, stop: 1 });
  const links = [(position: number) => position, () => null];
  return { store, panes: [new Pane({ header } as unknown as Reading, store, 0, [[0], [1], [2]], links)] };
}

function draw(): void {
  const act = frame;
  frame = null;
  act?.();
}

test("the page tells the kernel where it begins", () => {
  const model = new Shared({ layer: null, position: null, query: "" });
  follow(model, page());
  assert.deepEqual(model.sent, [{ layer: 4 }]);
});

test("what the kernel holds already goes before the page's beginning", () => {
  const model = new Shared({ layer: 8, position: 12, query: "cat" });
  const shown = page();
  follow(model, shown);
  const { stop, pin, query, mode } = shown.store.get();
  assert.deepEqual({ stop, pin, query, mode }, { stop: 2, pin: { pane: 0, position: 2 }, query: "cat", mode: "search" });
  assert.deepEqual(model.sent, []);
});

test("the page's changes are sent once each, and only those", () => {
  const model = new Shared({ layer: 4, position: null, query: "" });
  const { store, panes } = page();
  follow(model, { store, panes });
  panes[0]!.goTo(2);
  draw();
  panes[0]!.toggle(3);
  store.set({ query: "dog" });
  draw();
  panes[0]!.hover(1);
  draw();
  assert.deepEqual(model.sent, [{ layer: 8 }, { position: 13, query: "dog" }]);
});

test("the kernel's changes move the page, several at once too, and are not sent back", () => {
  const model = new Shared({ layer: 4, position: 11, query: "" });
  const { store, panes } = page();
  follow(model, { store, panes });
  model.hear({ layer: 0, position: 13, query: "cat" });
  draw();
  const { stop, pin, query, mode } = store.get();
  assert.deepEqual({ stop, pin, query, mode }, { stop: 0, pin: { pane: 0, position: 3 }, query: "cat", mode: "search" });
  model.hear({ position: null, query: "" });
  draw();
  assert.equal(store.get().pin, null);
  assert.equal(store.get().query, "");
  assert.deepEqual(model.sent, []);
});

test("a pin in the other reading that has no twin here stays, and is no position here", () => {
  const model = new Shared({ layer: 4, position: 11, query: "" });
  const { store, panes } = page();
  follow(model, { store, panes });
  store.set({ pin: { pane: 1, position: 7 } });
  draw();
  assert.deepEqual(model.sent, [{ position: null }]);
  assert.deepEqual(store.get().pin, { pane: 1, position: 7 });
});

test("two views of one widget follow each other without an echo", () => {
  const model = new Shared({ layer: 4, position: null, query: "" });
  const [one, other] = [page(), page()];
  follow(model, one);
  follow(model, other);
  one.panes[0]!.goTo(2);
  one.store.draw();
  assert.equal(other.store.get().stop, 2);
  other.store.draw();
  assert.deepEqual(model.sent, [{ layer: 8 }]);
});

test("a closed page hears nothing more", () => {
  const model = new Shared({ layer: 4, position: null, query: "" });
  const { store, panes } = page();
  const part = follow(model, { store, panes });
  part();
  model.hear({ layer: 8, position: 12, query: "cat" });
  assert.equal(store.get().stop, 1);
  assert.equal(store.get().pin, null);
});
