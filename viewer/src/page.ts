/** The page put together from a reading. */

import { Chart } from "./chart";
import { Lexicon } from "./concept";
import { LayerBar, OverlayBar } from "./controls";
import { el } from "./dom";
import { heading } from "./heading";
import { heatMap, type HeatMap } from "./overlay";
import { Panel } from "./panel";
import { Patches } from "./patches";
import { PictureView } from "./picture";
import type { Reading } from "./reading";
import { Strip } from "./strip";
import { Store, type State } from "./store";
import { visibleText } from "./text";

const NO_WORDS =
  "This model looks at the picture by cross-attention: its patches are not positions of the sequence, " +
  "so they have no words of their own. The grid shows how the model cuts the picture; what is read from it appears at the tokens.";

const NO_PATCHES = "No patch is among the positions of this reading; read again with all positions to see words here.";

export function show(reading: Reading, root: HTMLElement): Store {
  const { header } = reading;
  const speaking = header.positions.kind.includes(1);
  const home = reading.home();
  const store = new Store({
    layer: firstLayer(reading, home),
    mode: "words",
    query: "",
    hover: null,
    pin: null,
    step: home,
  });
  const lexicon = new Lexicon(reading);
  const heat = heatSource(reading, lexicon);
  const places = speaking ? header.positions : header.vision;
  const views = header.pictures.map(
    (spec, image) =>
      new PictureView(reading, store, {
        spec,
        patches: new Patches(places ?? header.positions, image),
        speaking,
        heat,
      }),
  );
  const strip = new Strip(reading, store, (image) => views[image]?.node.querySelector<HTMLElement>(".stage")?.focus());
  const panel = new Panel(reading, store).node;
  const chart = new Chart(reading, store).node;
  const left = el("div", { class: views.length > 0 ? "left" : "left wide" });
  if (speaking) left.append(new OverlayBar(reading, store, lexicon, heat).node);
  left.append(...views.map((view) => view.node));
  if (!speaking && views.length > 0) left.append(el("p", { class: "explain" }, header.vision ? NO_WORDS : NO_PATCHES));
  left.append(strip.node);
  root.replaceChildren(
    heading(header),
    new LayerBar(reading, store).node,
    el("main", {}, left, ...(views.length > 0 ? [el("div", { class: "right" }, panel, chart)] : [chart, panel])),
  );
  document.title = `${visibleText(header.prompt)} · ${visibleText(header.model.name)} · patchlens`;
  document.addEventListener("keydown", (event) => pageKey(event, reading, store));
  store.draw();
  return store;
}

/** Where to begin: the layer from which the answer is first, else the last one. */
function firstLayer(reading: Reading, home: number): number {
  const leads = reading.leadsFrom(reading.finalToken(home), home);
  return leads < 0 ? reading.nLayers - 1 : leads;
}

/** The heat map of a state's mode, made once per mode and query. */
function heatSource(reading: Reading, lexicon: Lexicon): (state: State) => HeatMap | null {
  const patches = reading.header.positions.kind.flatMap((kind, position) => (kind === 1 ? [position] : []));
  const made = new Map<string, HeatMap | null>();
  const make = (state: State): HeatMap | null => {
    if (state.mode === "entropy") return heatMap(reading, patches, (l, p) => reading.entropy(l, p));
    if (state.mode !== "search") return null;
    const { tokens } = lexicon.find(state.query);
    return heatMap(reading, patches, (l, p) => reading.logprobOfAny(tokens, l, p));
  };
  return (state) => {
    const key = `${state.mode} ${state.query}`;
    if (!made.has(key)) made.set(key, make(state));
    return made.get(key) ?? null;
  };
}

function pageKey(event: KeyboardEvent, reading: Reading, store: Store): void {
  const { target } = event;
  const own = target instanceof HTMLInputElement || (target instanceof HTMLElement && target.matches(".scroll"));
  if (own || event.ctrlKey || event.metaKey || event.altKey) return;
  const { layer } = store.get();
  if (event.key === "ArrowRight") store.set({ layer: Math.min(layer + 1, reading.nLayers - 1) });
  else if (event.key === "ArrowLeft") store.set({ layer: Math.max(layer - 1, 0) });
  else if (event.key === "Escape") store.set({ pin: null, hover: null });
}
