/** The bar above the picture: layer, overlay, search, legend. */

import { Lexicon } from "./concept";
import { el } from "./dom";
import type { HeatMap } from "./overlay";
import type { Reading } from "./reading";
import { heat } from "./scale";
import { changed, type Mode, type State, type Store } from "./store";
import { fold, nats, percent } from "./text";

const STEP_MS = 450;
const SUGGESTED = 300;

export class LayerBar {
  readonly node: HTMLElement;
  private timer = 0;
  private readonly play = el("button", { type: "button", class: "play", "aria-label": "Play the layers" }, "▶");

  constructor(
    private readonly reading: Reading,
    private readonly store: Store,
  ) {
    const last = reading.nLayers - 1;
    const slider = el("input", { type: "range", id: "layer", min: 0, max: last, step: 1 });
    const output = el("output", { for: "layer" });
    slider.addEventListener("input", () => store.set({ layer: Number(slider.value) }));
    this.play.addEventListener("click", () => (this.timer ? this.stop() : this.start()));
    this.node = el("div", { class: "layer-bar" }, this.play, el("label", { for: "layer" }, "Layer ", output), slider);
    store.onChange((state, before) => {
      if (!changed(state, before, "layer")) return;
      slider.value = String(state.layer);
      slider.setAttribute("aria-valuetext", `layer ${reading.layerName(state.layer)}`);
      output.textContent = reading.layerName(state.layer);
    });
  }

  private start(): void {
    if (this.store.get().layer === this.reading.nLayers - 1) this.store.set({ layer: 0 });
    this.play.textContent = "❚❚";
    this.play.setAttribute("aria-label", "Pause");
    this.timer = window.setInterval(() => {
      const { layer } = this.store.get();
      if (layer + 1 < this.reading.nLayers) this.store.set({ layer: layer + 1 });
      else this.stop();
    }, STEP_MS);
  }

  private stop(): void {
    window.clearInterval(this.timer);
    this.timer = 0;
    this.play.textContent = "▶";
    this.play.setAttribute("aria-label", "Play the layers");
  }
}

const MODES: readonly (readonly [Mode, string, string])[] = [
  ["words", "Words", "The likeliest word of every patch; larger is surer"],
  ["entropy", "Entropy", "How undecided every patch is"],
  ["search", "Find a word", "Where a word is read"],
  ["none", "Picture", "The bare picture"],
];

export class OverlayBar {
  readonly node: HTMLElement;
  private readonly search: HTMLInputElement;
  private readonly legend = el("div", { class: "legend", "aria-live": "polite" });

  constructor(
    private readonly reading: Reading,
    store: Store,
    private readonly lexicon: Lexicon,
    private readonly heatOf: (state: State) => HeatMap | null,
  ) {
    const buttons = MODES.map(([mode, label, title]) => {
      const button = el("button", { type: "button", title }, label);
      button.addEventListener("click", () => {
        store.set({ mode });
        if (mode === "search") this.search.focus();
      });
      store.onChange((state) => button.setAttribute("aria-pressed", String(state.mode === mode)));
      return button;
    });
    this.search = el("input", {
      type: "search",
      list: "words",
      placeholder: "a word, or several, with commas",
      "aria-label": "Words to find on the picture",
      autocomplete: "off",
      spellcheck: "false",
      dir: "auto",
    });
    this.search.addEventListener("input", () => store.set({ query: this.search.value, mode: "search" }));
    this.node = el(
      "div",
      { class: "overlay-bar" },
      el("div", { class: "segments", role: "group", "aria-label": "Shown on the picture" }, ...buttons),
      this.search,
      this.suggestions(),
      this.legend,
    );
    store.onChange((state, before) => {
      if (changed(state, before, "mode", "query")) this.draw(state);
    });
  }

  private suggestions(): HTMLElement {
    const words = new Set(this.reading.header.targets.map((target) => target.word));
    for (const piece of this.reading.header.tokens) {
      if (words.size >= SUGGESTED) break;
      const word = fold(piece);
      if (/^\p{L}{2,}$/u.test(word)) words.add(word);
    }
    return el("datalist", { id: "words" }, ...[...words].map((value) => el("option", { value })));
  }

  private draw(state: State): void {
    this.search.hidden = state.mode !== "search";
    this.legend.replaceChildren(...this.legendNodes(state));
  }

  private legendNodes(state: State): (Node | string)[] {
    if (state.mode === "words") return ["The likeliest word of each patch; larger is surer. Point at a patch for the rest."];
    if (state.mode === "none") return [];
    const map = this.heatOf(state);
    const range = map?.range;
    if (state.mode === "entropy") {
      return range ? [nats(range.low), ramp(), `${nats(range.high)} nats`, note("bright: undecided; same scale at all layers")] : [];
    }
    const { tokens, unknown } = this.lexicon.find(state.query);
    const missing = unknown.length > 0 ? [note(`in no top ${this.reading.k} of this reading: ${unknown.join(", ")}`)] : [];
    if (tokens.length === 0) return missing.length > 0 ? missing : ["Type a word to see where it is read."];
    if (!range) return [note(`at no patch among the top ${this.reading.k}`), ...missing];
    const gaps = map?.gaps ? `; no colour: not in the top ${this.reading.k}` : "";
    const bare = note(`log scale, same at all layers${gaps}`);
    return [percent(range.low), ramp(), percent(range.high), bare, ...missing];
  }
}

function note(text: string): HTMLElement {
  return el("span", { class: "note" }, text);
}

function ramp(): HTMLElement {
  const node = el("span", { class: "ramp", role: "img", "aria-label": "from dark to bright" });
  const stops = Array.from({ length: 9 }, (_, i) => heat(i / 8));
  node.style.background = `linear-gradient(to right, ${stops.join(", ")})`;
  return node;
}
