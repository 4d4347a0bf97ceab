/** The bar that chooses what lies over the pictures: words, a field, searched words; with its key. */

import { tellingWords } from "../reading/telling";
import { fold, visibleText } from "../reading/text";
import { freeAxes, channelOf, isPlaced, type Fields } from "../state/field";
import type { Pane } from "../state/pane";
import type { Mode, State, Store } from "../state/store";
import { el } from "./dom";
import { letter } from "./heading";
import { choice, MEASURES, ramp } from "./widgets";

const SUGGESTED = 300;
const OFFERED = 10;

const MODES: readonly (readonly [Mode, string, string])[] = [
  ["words", "Words", "The likeliest word of every patch; larger is surer"],
  ["entropy", "Entropy", "How undecided every patch is"],
  ["kl", "KL to final", "How far every patch is from what is read there in the end"],
  ["search", "Find words", "Where words are read"],
];
export class OverlayBar {
  readonly node: HTMLElement;
  private readonly search: HTMLInputElement;
  private readonly measure: HTMLSelectElement;
  private offered: string[] | null = null;
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
    for (const { reading } of this.panes) reading.header.targets.forEach(({ word }) => visibleText(word) === word && words.add(word));
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
    if (state.mode === "search" && this.isBlank(state.query)) return this.offers();
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
    return [...notes];
  }

  /** Words that stand for others, and words that are not there. */
  private isBlank(query: string): boolean {
    const { found, unknown } = this.panes[0]!.lexicon.find(query);
    return found.length + unknown.length === 0;
  }

  /** Words to begin with, each a button. */
  private offers(): (Node | string)[] {
    this.offered ??= [...new Set(this.panes.flatMap((pane) => tellingWords(pane.reading, pane.patches(), OFFERED)))];
    const buttons = this.offered.slice(0, OFFERED).map((word) => {
      const button = el("button", { type: "button", class: "offer", dir: "auto" }, visibleText(word));
      button.addEventListener("click", () => this.store.set({ query: word }));
      return button;
    });
    return ["Type a word to see where it is read", ...(buttons.length > 0 ? [", or take one that patches are sure of:", ...buttons] : ["."])];
  }

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

function note(text: string): HTMLElement {
  return el("span", { class: "note" }, text);
}
