/** The bars above the pictures: layer, overlay, search, legend. They steer every reading shown. */

import { el } from "./dom";
import { freeAxes, channelOf, isPlaced, type Fields } from "./field";
import { letter } from "./heading";
import type { Pane } from "./pane";
import { colourOf } from "./scale";
import type { Measure, Mode, State, Store } from "./store";
import { fold, visibleText } from "./text";

const STEP_MS = 450;
const SUGGESTED = 300;

export class LayerBar {
  readonly node: HTMLElement;
  private timer = 0;
  private readonly play = el("button", { type: "button", class: "play", "aria-label": "Play the layers" }, "▶");

  constructor(
    private readonly store: Store,
    private readonly panes: readonly Pane[],
    private readonly stops: number,
    tools: readonly HTMLElement[],
  ) {
    const slider = el("input", { type: "range", class: "layer", min: 0, max: stops - 1, step: 1, "aria-label": "Layer" });
    // The slider itself says its value; a second live voice would only repeat it.
    const output = el("output", { "aria-live": "off" });
    slider.addEventListener("input", () => store.set({ stop: Number(slider.value) }));
    this.play.addEventListener("click", () => (this.timer ? this.stop() : this.start()));
    this.node = el("div", { class: "layer-bar" }, this.play, el("span", { class: "layer-name" }, "Layer ", output), slider, ...tools);
    store.watch((state) => [state.stop], (state) => {
      const names = panes.map((pane) => pane.reading.layerName(pane.row(state)));
      const name = new Set(names).size === 1 ? names[0]! : names.map((own, i) => `${letter(i)} ${own}`).join(" · ");
      slider.value = String(state.stop);
      slider.setAttribute("aria-valuetext", `layer ${name}`);
      output.textContent = name;
    });
  }

  toggle(): void {
    if (this.timer) this.stop();
    else this.start();
  }

  stop(): void {
    window.clearInterval(this.timer);
    this.timer = 0;
    this.play.textContent = "▶";
    this.play.setAttribute("aria-label", "Play the layers");
  }

  private start(): void {
    if (this.store.get().stop === this.stops - 1) this.store.set({ stop: 0 });
    this.play.textContent = "❚❚";
    this.play.setAttribute("aria-label", "Pause");
    this.timer = window.setInterval(() => {
      if (this.store.get().stop + 1 < this.stops) this.panes[0]!.step(1);
      else this.stop();
    }, STEP_MS);
  }
}

const MODES: readonly (readonly [Mode, string, string])[] = [
  ["words", "Words", "The likeliest word of every patch; larger is surer"],
  ["entropy", "Entropy", "How undecided every patch is"],
  ["kl", "KL to final", "How far every patch is from what is read there in the end"],
  ["search", "Find words", "Where words are read"],
];
export const MEASURES: readonly (readonly [Measure, string])[] = [
  ["logprob", "log-probability"],
  ["probability", "probability"],
  ["rank", "rank"],
];

export class OverlayBar {
  readonly node: HTMLElement;
  private readonly search: HTMLInputElement;
  private readonly measure: HTMLSelectElement;
  private readonly picks = el("span", { class: "picks" });
  private readonly legend = el("div", { class: "legend", "aria-live": "polite" });

  constructor(
    private readonly store: Store,
    private readonly panes: readonly Pane[],
    private readonly fields: Fields,
  ) {
    this.search = this.searchBox();
    this.measure = choice("How the words are measured", MEASURES, (value) => store.set({ measure: value }));
    const modes = this.modes().map((mode) => this.modeButton(...mode));
    this.node = el(
      "div",
      { class: "overlay-bar" },
      el("div", { class: "segments", role: "group", "aria-label": "Shown on the picture" }, ...modes),
      this.search,
      this.measure,
      this.picks,
      this.suggestions(),
      this.legend,
    );
    store.watch(({ mode, query, measure, pick }) => [mode, query, measure, pick], (state) => this.draw(state));
    store.watch(({ mode }) => [mode], (state) => this.showPicks(state));
  }

  /** Turn to searching, with the caret in the box. */
  startSearch(): void {
    this.store.set({ mode: "search" });
    this.search.hidden = false;
    this.search.focus();
    this.search.select();
  }

  private modes(): (readonly [Mode, string, string])[] {
    const speaking = this.panes.some((pane) => pane.speaking);
    const channels = this.panes.flatMap(({ reading }) => reading.channels.filter(isPlaced));
    const names = new Map(channels.map((channel) => [channel.name, channel]));
    return [
      ...(speaking ? MODES : []),
      ...[...names].map(
        ([name, { description }]) => [`channel:${name}`, visibleText(name.replaceAll("_", " ")), visibleText(description)] as const,
      ),
      ...(speaking || names.size > 0 ? [["none", "Picture", "The bare picture"] as const] : []),
    ];
  }

  private modeButton(mode: Mode, label: string, title: string): HTMLElement {
    const button = el("button", { type: "button", title }, label);
    button.addEventListener("click", () => (mode === "search" ? this.startSearch() : this.store.set({ mode })));
    this.store.watch((state) => [state.mode === mode], (state) => button.setAttribute("aria-pressed", String(state.mode === mode)));
    return button;
  }

  private searchBox(): HTMLInputElement {
    const box = el("input", {
      type: "search",
      class: "query",
      list: "patchlens-words",
      placeholder: "a word, or several, with commas",
      "aria-label": "Words to find on the picture",
      autocomplete: "off",
      spellcheck: "false",
      dir: "auto",
    });
    box.addEventListener("input", () => this.store.set({ query: box.value, mode: "search" }));
    return box;
  }

  private suggestions(): HTMLElement {
    const words = new Set<string>();
    for (const { reading } of this.panes) reading.header.targets.forEach((target) => words.add(target.word));
    for (const { reading } of this.panes) {
      for (const piece of reading.header.tokens) {
        if (words.size >= SUGGESTED) break;
        const word = fold(piece);
        if (/^\p{L}{2,}$/u.test(word)) words.add(word);
      }
    }
    return el("datalist", { id: "patchlens-words" }, ...[...words].map((value) => el("option", { value })));
  }

  private showPicks(state: State): void {
    const channel = this.panes.map(({ reading }) => channelOf(reading, state.mode)).find(Boolean);
    const boxes = (channel ? freeAxes(channel) : []).map(({ axis, length }) => {
      const box = el("input", { type: "number", min: 0, max: length - 1, value: state.pick[axis] ?? 0, "aria-label": visibleText(axis) });
      box.addEventListener("input", () => {
        const index = Math.min(Math.max(Math.trunc(Number(box.value) || 0), 0), length - 1);
        this.store.set({ pick: { ...this.store.get().pick, [axis]: index } });
      });
      return el("label", {}, `${visibleText(axis)} `, box, ` of 0–${length - 1}`);
    });
    this.picks.replaceChildren(...boxes);
  }

  private draw(state: State): void {
    const searching = state.mode === "search";
    this.search.hidden = this.measure.hidden = !searching;
    if (this.search.value !== state.query) this.search.value = state.query;
    this.measure.value = state.measure;
    this.legend.replaceChildren(...this.legendNodes(state));
  }

  private legendNodes(state: State): (Node | string)[] {
    const speaking = this.panes.some((pane) => pane.speaking);
    if (state.mode === "words") return speaking ? ["The likeliest word of each patch; larger is surer. Point at a patch for the rest."] : [];
    const field = this.panes.map((pane) => this.fields.of(pane, state)).find((made) => made !== null);
    if (!field) return [];
    const notes = state.mode === "search" ? this.searchNotes(state) : [];
    const ends = this.fields.ends(field, state);
    if (!ends) return this.absent(state, notes).map(note);
    const same = `${field.note}; same scale at all layers${this.fields.scale(state).gaps ? "; no colour: not known there" : ""}`;
    return [ends[0], ramp(field.palette), ends[1], note(visibleText(same)), ...notes.map(note)];
  }

  /** What to say where nothing can be coloured. */
  private absent(state: State, notes: readonly string[]): string[] {
    if (state.mode !== "search") return ["no values at the patches"];
    if (this.panes.some(({ lexicon }) => lexicon.find(state.query).found.length > 0)) return [...notes, "at no patch"];
    return notes.length > 0 ? [...notes] : ["Type a word to see where it is read."];
  }

  /** Words that stand for others, and words that are not there. */
  private searchNotes(state: State): string[] {
    const queries = this.panes.map(({ lexicon }) => lexicon.find(state.query));
    const starts = queries.flatMap(({ found }) =>
      found.flatMap(({ word, start }) => (start ? [`${visibleText(word)}: by its start “${visibleText(start)}”`] : [])),
    );
    const unknown = queries.flatMap(({ unknown }, i) => {
      const whose = queries.length > 1 ? `reading ${letter(i)}` : "this reading";
      return unknown.length > 0 ? [`in no top ${this.panes[i]!.reading.k} of ${whose}: ${unknown.map(visibleText).join(", ")}`] : [];
    });
    return [...new Set([...starts, ...unknown])];
  }
}

/** A drop-down list of named values. */
export function choice<T extends string>(
  label: string,
  values: readonly (readonly [T, string])[],
  chosen: (value: T) => void,
): HTMLSelectElement {
  const select = el("select", { "aria-label": label }, ...values.map(([value, name]) => el("option", { value }, name)));
  select.addEventListener("change", () => chosen(select.value as T));
  return select;
}

function note(text: string): HTMLElement {
  return el("span", { class: "note" }, text);
}

function ramp(palette: "heat" | "signed"): HTMLElement {
  const node = el("span", { class: "ramp", role: "img", "aria-label": "from low to high" });
  const stops = Array.from({ length: 9 }, (_, i) => colourOf(i / 8, palette));
  node.style.background = `linear-gradient(to right, ${stops.join(", ")})`;
  return node;
}
