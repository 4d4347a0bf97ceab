/** Top-k by layer at one position: a row per layer, read downwards from the embeddings to the last block. */

import { el, pieceNode, pieceTitle } from "./dom";
import type { Reading } from "./reading";
import { changed, charted, type State, type Store } from "./store";
import { nats, percent } from "./text";
import { placeName } from "./panel";

export class Chart {
  readonly node = el("section", { class: "card chart", "aria-labelledby": "chart-title" });
  private readonly chips = el("div", { class: "chips", role: "group", "aria-label": "Position shown" });
  private readonly story = el("p", { class: "sub" });
  private readonly body = el("tbody");
  private rows: HTMLElement[] = [];

  constructor(
    private readonly reading: Reading,
    private readonly store: Store,
  ) {
    const ranks = Array.from({ length: reading.k }, (_, i) => el("th", { scope: "col" }, String(i + 1)));
    const head = el("tr", {}, el("th", { scope: "col" }, "layer"), el("th", { scope: "col" }, "entropy"), ...ranks);
    const table = el("table", {}, el("thead", {}, head), this.body);
    table.style.setProperty("--ranks", String(reading.k));
    this.node.append(
      el("h2", { id: "chart-title" }, "Layer by layer"),
      this.chips,
      this.story,
      el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Top words by layer" }, table),
    );
    store.onChange((state, before) => {
      if (changed(state, before, "pin", "step")) this.draw(state);
      if (changed(state, before, "pin", "step", "layer")) this.markLayer(state);
    });
  }

  private draw(state: State): void {
    const position = charted(state);
    const final = this.reading.finalToken(position);
    const enters = this.reading.entersAt(final, position);
    this.chips.replaceChildren(...this.chipNodes(state));
    this.story.replaceChildren(...this.storyNodes(position, final, enters));
    this.rows = Array.from({ length: this.reading.nLayers }, (_, layer) => this.row(layer, position, final, enters));
    this.body.replaceChildren(...this.rows);
  }

  private chipNodes(state: State): HTMLElement[] {
    const { header } = this.reading;
    const chips: HTMLElement[] = this.reading.steps().map((position) => {
      const piece = this.reading.piece(this.reading.finalToken(position));
      const step = header.positions.step[position]! + 1;
      const chip = el(
        "button",
        { type: "button", "aria-pressed": String(charted(state) === position), title: `Answer token ${step}` },
        el("small", {}, String(step)),
        pieceNode(piece),
      );
      chip.addEventListener("click", () => this.store.set({ step: position, pin: null }));
      return chip;
    });
    if (chips.length > 0) chips.unshift(el("span", {}, "answer"));
    if (state.pin !== null) {
      const label = `${placeName(this.reading, state.pin)} ×`;
      const chip = el("button", { type: "button", "aria-pressed": "true", title: "Unpin (Escape)" }, label);
      chip.addEventListener("click", () => this.store.set({ pin: null }));
      chips.push(chip);
    }
    return chips;
  }

  private storyNodes(position: number, final: number, enters: number): (Node | string)[] {
    const word = pieceNode(this.reading.piece(final));
    word.classList.add("final");
    if (enters < 0) return [word, ` is in no layer's top ${this.reading.k}.`];
    const leads = this.reading.leadsFrom(final, position);
    const ending = leads < 0 ? ", but is not first at the end." : `, and is first from layer ${this.reading.layerName(leads)} on.`;
    return [word, ` enters the top ${this.reading.k} at layer ${this.reading.layerName(enters)}${ending}`];
  }

  private row(layer: number, position: number, final: number, enters: number): HTMLElement {
    const name = this.reading.layerName(layer);
    const button = el("button", { type: "button", title: `Show layer ${name}` }, name.replace("embeddings", "emb."));
    button.addEventListener("click", () => this.store.set({ layer }));
    const entropy = this.reading.entropy(layer, position);
    const cells = this.reading.top(layer, position).map((candidate) => {
      const piece = this.reading.piece(candidate.token);
      const id = this.reading.header.token_ids[candidate.token] ?? -1;
      const cell = el(
        "td",
        {
          class: candidate.token === final ? "final" : null,
          title: `${percent(candidate.logprob)} · ${pieceTitle(piece, id)}`,
        },
        pieceNode(piece),
      );
      cell.style.setProperty("--strength", Math.exp(candidate.logprob / 2).toFixed(3));
      return cell;
    });
    return el(
      "tr",
      { class: layer === enters ? "enters" : null },
      el("th", { scope: "row" }, button),
      el("td", { class: "number" }, nats(entropy)),
      ...cells,
    );
  }

  private markLayer(state: State): void {
    this.rows.forEach((row, layer) => row.setAttribute("aria-current", String(layer === state.layer)));
  }
}
