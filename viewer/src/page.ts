/** The page put together from one reading, or from several side by side with their layers locked. */

import { Address } from "./state/address";
import { Chart } from "./parts/chart";
import { LayerBar } from "./parts/layer-bar";
import { OverlayBar } from "./parts/overlay-bar";
import { el } from "./parts/dom";
import { Fields, isPlaced } from "./state/field";
import { heading, letter } from "./parts/heading";
import { link } from "./state/links";
import { Matrix } from "./matrix/matrix";
import { Multiples } from "./parts/multiples";
import { Pane } from "./state/pane";
import { Panel } from "./parts/panel";
import { PictureView } from "./parts/picture";
import type { Reading } from "./reading/reading";
import { stopsOf } from "./state/stops";
import { saveMenu } from "./drawing/save";
import type { Sheet } from "./drawing/sheet";
import { Store, START, type State } from "./state/store";
import { Strip } from "./parts/strip";
import { visibleText } from "./reading/text";
import { Tools } from "./parts/tools";
import { Trajectory } from "./parts/trajectory";

const NO_WORDS =
  "This model looks at the picture by cross-attention: its patches are not positions of the sequence, " +
  "so they have no words of their own. The grid shows how the model cuts the picture; what is read from it appears at the tokens.";

const NO_PATCHES = "No patch is among the positions of this reading; read again with all positions to see words here.";

export interface Options {
  /** where keys for the whole page are heard */
  keys?: EventTarget;
  /** whether the address in the browser's bar keeps the state */
  address?: boolean;
}

export interface Handle {
  store: Store;
  panes: readonly Pane[];
  /** stop listening and drawing */
  close(): void;
}

export function show(readings: readonly Reading[], root: HTMLElement, options: Options = {}): Handle {
  const stops = stopsOf(readings.map(({ header, nLayers }) => ({ layers: header.layers, nLayers: header.model.n_layers || nLayers })));
  const store = new Store(START);
  const panes = readings.map(
    (reading, index) => new Pane(reading, store, index, stops, readings.map((other) => link(other, reading))),
  );
  const initial = beginning(panes, stops);
  store.set(initial);
  const closing = new AbortController();
  const bounds = {
    stops: stops.length,
    positions: readings.map(({ nPositions }) => nPositions),
    channels: readings.flatMap(({ channels }) => channels.map(({ name }) => name)),
  };
  const address = options.address ? new Address(store, initial, bounds, closing.signal) : null;
  const fields = new Fields(panes);
  const tools = new Tools(address);
  const layerBar = new LayerBar(store, panes, stops.length, tools.nodes);
  const overlayBar = new OverlayBar(store, panes, fields);
  const parts = panes.map((pane) => paneNode(pane, panes, fields));
  const headings = readings.map(({ header }, i) => heading(header, panes.length > 1 ? letter(i) : ""));
  root.classList.add("patchlens");
  root.dataset["panes"] = String(panes.length);
  root.replaceChildren(
    el("div", { class: "headings" }, ...headings),
    el("div", { class: "steering" }, layerBar.node, overlayBar.node),
    el("main", { class: "panes" }, ...parts.map(({ node }) => node)),
  );
  listen(options.keys ?? root, panes, { layerBar, overlayBar, tools }, closing.signal);
  store.draw();
  afterPaint(() => {
    parts.forEach((part) => part.complete());
    store.draw();
    performance.mark("patchlens:whole");
    inSpareTime(parts.flatMap((part) => part.spare()), closing.signal);
  }, closing.signal);
  return {
    store,
    panes,
    close() {
      closing.abort();
      layerBar.stop();
      store.cancel();
      parts.forEach((part) => part.close());
    },
  };
}

/** Do small pieces of work one after another, none while the person waits for something. */
function inSpareTime(work: readonly (() => void)[], signal: AbortSignal): void {
  const [first, ...rest] = work;
  if (!first || signal.aborted) return;
  const later = window.requestIdleCallback ?? ((act: () => void) => window.setTimeout(act, 20));
  later(() => {
    first();
    inSpareTime(rest, signal);
  });
}

/** Do something once what was drawn can be seen. */
function afterPaint(act: () => void, signal: AbortSignal): void {
  requestAnimationFrame(() => window.setTimeout(() => signal.aborted || act()));
}

/** Where to begin: the layer from which the answer is first, else the last one; words, else a channel of the patches. */
function beginning(panes: readonly Pane[], stops: readonly (readonly number[])[]): State {
  const [pane] = panes;
  if (!pane) return START;
  const { reading } = pane;
  const home = reading.home();
  const leads = reading.leadsFrom(reading.finalToken(home), home);
  const stop = leads < 0 ? -1 : stops.findIndex((rows) => rows[0] === leads);
  const channel = panes.some(({ speaking }) => speaking) ? undefined : reading.channels.find(isPlaced);
  return { ...START, stop: stop < 0 ? stops.length - 1 : stop, mode: channel ? `channel:${channel.name}` : START.mode };
}

interface Part {
  node: HTMLElement;
  close(): void;
}

interface PaneParts extends Part {
  /** put in what lies further down and need not be there at first sight */
  complete(): void;
  /** small pieces of work that make later drawing faster */
  spare(): (() => void)[];
}

function paneNode(pane: Pane, panes: readonly Pane[], fields: Fields): PaneParts {
  const { header } = pane.reading;
  const views = header.pictures.map((_, image) => new PictureView(pane, fields, image));
  const multiples = header.pictures.map((_, image) => new Multiples(pane, fields, image));
  const strip = new Strip(pane, (image) => views[image]?.focus());
  const chart = new Chart(pane);
  const left = el("div", { class: "left" }, ...views.flatMap((view, image) => [view.node, multiples[image]!.node]));
  if (!pane.speaking && views.length > 0) left.append(el("p", { class: "explain" }, header.vision ? NO_WORDS : NO_PATCHES));
  left.append(strip.node);
  const right = el("div", { class: "right" }, new Panel(pane).node, chart.node);
  const node = section(pane, panes.length > 1, el("div", { class: "inner" }, left, right));
  views.forEach((view) => saves(view, "the picture", pane));
  multiples.forEach((maps) => saves(maps, "the maps", pane));
  saves(chart, "the layers", pane);
  const open: { close(): void }[] = [...views, ...multiples];
  const complete = (): void => {
    const trajectory = new Trajectory(pane, panes);
    const matrix = new Matrix(pane, panes, fields);
    right.append(trajectory.node);
    node.append(matrix.node);
    saves(trajectory, "the words", pane);
    saves(matrix, "the matrix", pane);
    open.push(trajectory, matrix);
  };
  const spare = (): (() => void)[] =>
    views.flatMap((view) => Array.from({ length: pane.reading.nLayers }, (_, row) => () => view.anticipate(row)));
  return { node, complete, spare, close: () => open.forEach((part) => part.close()) };
}

function section(pane: Pane, several: boolean, inner: HTMLElement): HTMLElement {
  const { pictures, model } = pane.reading.header;
  const name = several ? `Reading ${letter(pane.index)}: ${visibleText(model.name)}` : "Reading";
  const node = el("section", { class: pictures.length > 0 ? "pane" : "pane wordless", "aria-label": name });
  if (several) node.append(el("p", { class: "pane-name" }, el("span", { class: "letter" }, letter(pane.index)), visibleText(model.name)));
  node.append(inner);
  return node;
}

/** Put a menu on a part that saves what it shows. */
function saves(part: { node: HTMLElement; sheet(): Sheet }, name: string, pane: Pane): void {
  const stem = (): string => {
    const { reading } = pane;
    const picture = reading.header.pictures[0]?.name.replace(/\.[^.]*$/, "") ?? "text";
    return `${picture}-${reading.header.lens}-layer${reading.header.layers[pane.row(pane.store.get())]}`;
  };
  part.node.append(saveMenu(name, stem, () => part.sheet()));
}

interface Steered {
  layerBar: LayerBar;
  overlayBar: OverlayBar;
  tools: Tools;
}

function listen(
  target: EventTarget,
  panes: readonly Pane[],
  { layerBar, overlayBar, tools }: Steered,
  signal: AbortSignal,
): void {
  const { store } = panes[0]!;
  const acts: Record<string, () => void> = {
    ArrowRight: () => panes[0]!.step(1),
    ArrowLeft: () => panes[0]!.step(-1),
    p: () => layerBar.toggle(),
    Escape: () => store.set({ pin: null, hover: null }),
    "/": () => overlayBar.startSearch(),
    "?": () => tools.showKeys(),
  };
  const hear = (event: Event): void => {
    if (!(event instanceof KeyboardEvent) || event.defaultPrevented) return;
    const act = acts[event.key];
    if (!act || event.ctrlKey || event.metaKey || event.altKey || typing(event)) return;
    act();
    event.preventDefault();
  };
  target.addEventListener("keydown", hear, { signal });
  const theme = window.matchMedia("(prefers-color-scheme: dark)");
  theme.addEventListener("change", () => store.draw(true), { signal });
}

/** Whether a key belongs to the element it is pressed in. */
function typing(event: KeyboardEvent): boolean {
  const [target] = event.composedPath();
  if (!(target instanceof HTMLElement)) return false;
  return target.matches("input:not([type=range]), select, .scroll") || (target.matches("input") && event.key.startsWith("Arrow"));
}
