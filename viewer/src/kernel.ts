/** What a notebook's kernel and the page tell each other: the first reading's layer and pin, and the words searched. */

import type { Handle } from "./page";

/** The state that a host of widgets shares with the kernel. */
export interface Model {
  get(name: string): unknown;
  set(name: string, value: unknown): void;
  save_changes(): void;
  on(event: string, act: () => void): void;
  off(event: string, act: () => void): void;
}

interface Told {
  /** number of the layer shown */
  layer: number;
  /** index in the sequence of the position pinned */
  position: number | null;
  query: string;
}

const NAMES = ["layer", "position", "query"] as const;

/** Keep both in step until the function returned is called; the kernel's state goes first where it has any. */
export function follow(model: Model, { store, panes }: Pick<Handle, "store" | "panes">): () => void {
  const [pane] = panes;
  if (!pane) throw new Error("the widget holds no reading");
  const { layers, positions } = pane.reading.header;

  const told = (): Told => {
    const state = store.get();
    const pin = pane.pinned(state);
    const position = pin === null ? null : positions.index[pin]!;
    return { layer: layers[pane.row(state)]!, position, query: state.query };
  };
  const hear: Record<keyof Told, (value: unknown) => void> = {
    layer: (layer) => {
      const row = layers.indexOf(layer as number);
      if (row >= 0) pane.goTo(row);
    },
    position: (index) => {
      const position = positions.index.indexOf(index as number);
      store.set({ pin: position < 0 ? null : { pane: pane.index, position } });
    },
    query: (query) => store.set(query ? { query: String(query), mode: "search" } : { query: "" }),
  };
  // What the page has just told comes back as a change, and must not be taken for the kernel's wish.
  const listeners = NAMES.map((name) => () => model.get(name) !== told()[name] && hear[name](model.get(name)));
  const tell = (): void => {
    const now = told();
    const news = NAMES.filter((name) => model.get(name) !== now[name]);
    news.forEach((name) => model.set(name, now[name]));
    if (news.length > 0) model.save_changes();
  };

  listeners.forEach((listen, i) => {
    listen();
    model.on(`change:${NAMES[i]}`, listen);
  });
  store.watch(() => Object.values(told()), tell);
  store.draw();
  return () => listeners.forEach((listen, i) => model.off(`change:${NAMES[i]}`, listen));
}
