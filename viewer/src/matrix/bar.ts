/** Above the matrix: which positions it lists, which words it looks for, and what its colours mean. */

import { choice, ramp } from "../parts/widgets";
import { el } from "../parts/dom";
import type { Tint } from "./tint";
import type { Pane } from "../state/pane";
import { passes } from "./rows";
import type { Colour, Filter, State } from "../state/store";
import { visibleText } from "../reading/text";

const FILTERS: readonly (readonly [Filter, string])[] = [
  ["all", "All"],
  ["patch", "Patches"],
  ["text", "Text"],
  ["generated", "Generated"],
];
const COLOURS: readonly (readonly [Colour, string])[] = [
  ["probability", "Probability"],
  ["entropy", "Entropy"],
  ["kl", "KL to final"],
  ["rank", "Rank of the final word"],
  ["overlay", "As over the picture"],
];

export class MatrixBar {
  readonly node: HTMLElement;
  private readonly filters: ReadonlyMap<Filter, HTMLElement>;
  private readonly find = el("input", { type: "search", class: "find", placeholder: "Rows with words", "aria-label": "List rows that hold these words" });
  private readonly colour: HTMLSelectElement;
  private readonly count = el("span", { "aria-live": "polite", class: "count" });
  private readonly key = el("span", { class: "key" });

  constructor(private readonly pane: Pane) {
    const { reading, store, speaking } = pane;
    const positions = Array.from({ length: reading.nPositions }, (_, position) => position);
    const some = FILTERS.filter(([filter]) => positions.some((position) => passes(reading, position, filter)));
    this.filters = new Map(some.map(([filter, name]) => [filter, this.filterButton(filter, name)]));
    this.find.addEventListener("input", () => store.set({ find: this.find.value }));
    const colours = COLOURS.filter(([colour]) => speaking || colour !== "overlay");
    this.colour = choice("Colour of the cells", colours, (colour) => store.set({ colour }));
    this.node = el(
      "div",
      { class: "matrix-bar" },
      el("div", { class: "segments", role: "group", "aria-label": "Positions listed" }, ...this.filters.values()),
      this.find,
      el("label", {}, "Colour ", this.colour),
      el("div", { class: "matrix-key" }, this.count, this.key),
    );
  }

  /** Say which rows are listed. */
  tell(state: State, listed: number): void {
    this.filters.forEach((button, filter) => button.setAttribute("aria-pressed", String(filter === state.filter)));
    if (this.find.value !== state.find) this.find.value = state.find;
    const { reading, lexicon } = this.pane;
    const query = lexicon.find(state.find);
    const starts = query.found.flatMap(({ word, start }) => (start ? [`${visibleText(word)} by its start “${visibleText(start)}”`] : []));
    const unknown = query.unknown.length > 0 ? [`in no top ${reading.k}: ${query.unknown.map(visibleText).join(", ")}`] : [];
    this.count.textContent = [`${listed} of ${reading.nPositions} positions`, ...starts, ...unknown].join("; ");
  }

  /** Say what the colours mean. */
  explain(state: State, tint: Tint | null): void {
    this.colour.value = state.colour;
    const note = tint?.note ?? (state.colour === "overlay" ? "nothing but words lies over the picture" : "no values to colour by");
    const [low = "", high = ""] = tint?.ends ?? [];
    this.key.replaceChildren(...(tint ? [el("span", {}, low), ramp(tint.palette), el("span", {}, high)] : []), el("span", {}, note));
  }

  private filterButton(filter: Filter, name: string): HTMLElement {
    const button = el("button", { type: "button" }, name);
    button.addEventListener("click", () => this.pane.store.set({ filter }));
    return button;
  }
}
