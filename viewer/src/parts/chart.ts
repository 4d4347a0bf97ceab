/** Top-k by layer at one position: a row per layer, read downwards from the embeddings to the last block. */

import { el, keepingFocus, named, pieceNode, pieceTitle } from "./dom";
import type { Pane } from "../state/pane";
import { fit, type Pen } from "../drawing/pen";
import { placeName } from "../reading/place";
import type { Reading } from "../reading/reading";
import type { Sheet } from "../drawing/sheet";
import { toggled, type State } from "../state/store";
import { nats, percent, visible } from "../reading/text";

export class Chart {
  readonly node: HTMLElement;
  private readonly reading: Reading;
  private readonly chips = el("div", { class: "chips", role: "group", "aria-label": "Position shown" });
  private readonly story = el("p", { class: "sub" });
  private readonly body = el("tbody");
  private rows: HTMLElement[] = [];

  constructor(private readonly pane: Pane) {
    const { reading, store } = pane;
    this.reading = reading;
    const title = el("h2", {}, "Layer by layer");
    const ranks = Array.from({ length: reading.k }, (_, i) => el("th", { scope: "col" }, String(i + 1)));
    const head = el("tr", {}, el("th", { scope: "col" }, "layer"), el("th", { scope: "col" }, "entropy"), ...ranks);
    const table = el("table", {}, el("thead", {}, head), this.body);
    table.style.setProperty("--ranks", String(reading.k));
    this.node = named(el("section", { class: "card chart" }), title);
    const scroll = el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Top words by layer" }, table);
    this.node.append(title, this.chips, this.story, scroll);
    store.watch((state) => [pane.charted(state), pane.pinned(state)], (state) => keepingFocus(this.node, () => this.draw(state)));
    store.watch((state) => [pane.charted(state), pane.row(state)], (state) => this.markLayer(state));
  }

  /** The same as a drawing and a table. */
  sheet(): Sheet {
    const { reading } = this;
    const position = this.pane.charted(this.pane.store.get());
    const { layers, token_ids } = reading.header;
    const lines = layers.flatMap((layer, row) =>
      reading.top(row, position).map(({ rank, token, logprob }) => [
        layer, reading.header.positions.index[position]!, rank + 1, token_ids[token]!, reading.piece(token), Math.exp(logprob), reading.entropy(row, position),
      ]),
    );
    return {
      name: "layers",
      width: LABEL + reading.k * CELL + 8,
      height: (reading.nLayers + 1) * LINE + 8,
      draw: (pen) => drawChart(pen, reading, position),
      table: () => [["layer", "position", "rank", "token", "piece", "probability", "entropy"], ...lines],
    };
  }

  private draw(state: State): void {
    const position = this.pane.charted(state);
    const final = this.reading.finalToken(position);
    const enters = this.reading.entersAt(final, position);
    this.chips.replaceChildren(...this.chipNodes(state));
    this.story.replaceChildren(...this.storyNodes(position, final, enters));
    this.rows = Array.from({ length: this.reading.nLayers }, (_, row) => this.row(row, position, final, enters));
    this.body.replaceChildren(...this.rows);
  }

  private chipNodes(state: State): HTMLElement[] {
    const { header } = this.reading;
    const { store } = this.pane;
    const charted = this.pane.charted(state);
    const pinned = this.pane.pinned(state);
    const chips: HTMLElement[] = this.reading.steps().map((position) => {
      const piece = this.reading.piece(this.reading.finalToken(position));
      const step = header.positions.step[position]!;
      const attributes = { type: "button", "aria-pressed": String(charted === position), title: `Answer token ${step + 1}` };
      const chip = el("button", attributes, el("small", {}, String(step + 1)), pieceNode(piece));
      chip.addEventListener("click", () => store.set({ step, pin: null }));
      return chip;
    });
    if (chips.length > 0) chips.unshift(el("span", {}, "answer"));
    if (pinned !== null) {
      const label = `${placeName(this.reading, pinned)} ×`;
      const chip = el("button", { type: "button", "aria-pressed": "true", title: "Unpin (Escape)" }, label);
      chip.addEventListener("click", () => store.set({ pin: null }));
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

  private row(row: number, position: number, final: number, enters: number): HTMLElement {
    const name = this.reading.layerName(row);
    const button = el("button", { type: "button", title: `Show layer ${name}` }, name.replace("embeddings", "emb."));
    button.addEventListener("click", () => this.pane.goTo(row));
    const cells = this.reading.top(row, position).map(({ token, logprob }) => this.cell(token, logprob, final));
    return el(
      "tr",
      { class: row === enters ? "enters" : null },
      el("th", { scope: "row" }, button),
      el("td", { class: "number" }, nats(this.reading.entropy(row, position))),
      ...cells,
    );
  }

  private cell(token: number, logprob: number, final: number): HTMLElement {
    const piece = this.reading.piece(token);
    const title = `${percent(logprob)} · ${pieceTitle(piece, this.reading.header.token_ids[token] ?? -1)}`;
    const cell = el("td", { class: token === final ? "final" : null, title }, pieceNode(piece));
    cell.style.setProperty("--strength", Math.exp(logprob / 2).toFixed(3));
    const { store } = this.pane;
    cell.addEventListener("click", () => store.set({ followed: toggled(store.get().followed, piece) }));
    return cell;
  }

  private markLayer(state: State): void {
    const now = this.pane.row(state);
    this.rows.forEach((element, row) => element.setAttribute("aria-current", String(row === now)));
  }
}

const [LABEL, CELL, LINE, SIZE] = [92, 92, 20, 12];

/** The chart on plain paper: shade tells probability, a frame the word said in the end. */
function drawChart(pen: Pen, reading: Reading, position: number): void {
  const final = reading.finalToken(position);
  const enters = reading.entersAt(final, position);
  pen.rect(0, 0, LABEL + reading.k * CELL + 8, (reading.nLayers + 1) * LINE + 8, "#ffffff");
  for (let rank = 0; rank < reading.k; rank++) {
    pen.text(String(rank + 1), LABEL + rank * CELL + 6, LINE / 2 + 4, { size: SIZE, fill: "#61656d" });
  }
  for (let row = 0; row < reading.nLayers; row++) {
    const y = 4 + (row + 1) * LINE;
    const name = `${row === enters ? "▸ " : ""}${reading.layerName(row).replace("embeddings", "emb.")}`;
    pen.text(name, LABEL - 8, y + LINE / 2, { size: SIZE, fill: "#61656d", align: "right" });
    for (const { rank, token, logprob } of reading.top(row, position)) {
      const x = LABEL + rank * CELL;
      pen.rect(x, y, CELL - 1, LINE - 1, "#7aa3e8", Math.exp(logprob / 2) * 0.8);
      if (token === final) pen.frame(x + 1, y + 1, CELL - 3, LINE - 3, "#b3440a", 1.5);
      const word = fit(visible(reading.piece(token)), CELL - 12, SIZE);
      pen.text(word, x + 6, y + LINE / 2, { size: SIZE, fill: "#1b1c1f" });
    }
  }
}
