/** What one layer reads at one position: its candidates with bars, entropy, divergence, and the words followed. */

import { el, pieceNode, pieceTitle } from "./dom";
import type { Reading } from "./reading";
import { changed, focus, type State, type Store } from "./store";
import { nats, percent, visible, visibleText } from "./text";

export class Panel {
  readonly node = el("section", { class: "card panel", "aria-labelledby": "panel-title" });
  private readonly live = el("p", { class: "unseen", "aria-live": "polite" });
  private readonly body = el("div");
  private timer = 0;

  constructor(
    private readonly reading: Reading,
    store: Store,
  ) {
    this.node.append(this.body, this.live);
    store.onChange((state, before) => {
      if (changed(state, before, "layer", "hover", "pin", "step")) this.draw(state);
    });
  }

  private draw(state: State): void {
    const position = focus(state);
    const top = this.reading.top(state.layer, position);
    this.body.replaceChildren(
      el("h2", { id: "panel-title" }, placeNode(this.reading, position)),
      el("p", { class: "sub" }, `Layer ${this.reading.layerName(state.layer)} would say`),
      el("ol", { class: "bars" }, ...top.map((c) => this.bar(c.token, c.logprob, position))),
      this.facts(state.layer, position),
    );
    window.clearTimeout(this.timer);
    this.timer = window.setTimeout(() => {
      const said = top.slice(0, 3).map((c) => `${visible(this.reading.piece(c.token))} ${percent(c.logprob)}`);
      this.live.textContent = `${placeName(this.reading, position)}, layer ${this.reading.layerName(state.layer)}: ${said.join(", ")}`;
    }, 400);
  }

  private bar(token: number, logprob: number, position: number): HTMLElement {
    const final = this.reading.finalToken(position) === token;
    const piece = this.reading.piece(token);
    const fill = el("span", { class: "fill" });
    fill.style.width = `${100 * Math.exp(logprob)}%`;
    return el(
      "li",
      { class: final ? "final" : null, title: pieceTitle(piece, this.reading.header.token_ids[token] ?? -1) },
      el("span", { class: "word" }, pieceNode(piece)),
      el("span", { class: "track" }, fill),
      el("span", { class: "number" }, percent(logprob)),
    );
  }

  private facts(layer: number, position: number): HTMLElement {
    const facts = el("dl", { class: "facts" });
    const add = (name: string, title: string, value: string | Node): void => {
      facts.append(el("div", { title }, el("dt", {}, name), el("dd", {}, value)));
    };
    add("entropy", "How undecided this layer is, in nats", `${nats(this.reading.entropy(layer, position))} nats`);
    add("KL to final", "How far it is from what the model says in the end", `${nats(this.reading.kl(layer, position))} nats`);
    this.reading.header.targets.forEach((target, i) => {
      const rank = this.reading.targetRank(layer, position, i) + 1;
      const logprob = this.reading.targetLogprob(layer, position, i);
      const word = visibleText(target.word);
      const name = target.whole ? word : `${word} (${visible(this.reading.piece(target.token))}…)`;
      const title = target.whole ? "A word followed" : "A word followed: its first token stands for it";
      add(name, title, `${percent(logprob)}, rank ${rank.toLocaleString("en")}`);
    });
    return facts;
  }
}

/** What a position is, in words. */
export function placeName(reading: Reading, position: number): string {
  const { row, col, image, index, step, token } = reading.header.positions;
  const where = `position ${index[position]}`;
  const kind = reading.kind(position);
  if (kind === "patch") {
    const which = reading.header.pictures.length > 1 ? `picture ${image[position]}, ` : "";
    return `patch ${which}row ${row[position]}, column ${col[position]}`;
  }
  const piece = visible(reading.piece(token[position]!));
  if (step[position]! >= 0) return `${piece}, ${where}, before answer token ${step[position]! + 1}`;
  return `${kind === "image_other" ? "image token" : "token"} ${piece}, ${where}`;
}

function placeNode(reading: Reading, position: number): Node {
  const { index, step, token } = reading.header.positions;
  if (reading.kind(position) === "patch") {
    const name = placeName(reading, position);
    return document.createTextNode(name[0]!.toUpperCase() + name.slice(1));
  }
  const node = document.createDocumentFragment();
  const piece = pieceNode(reading.piece(token[position]!));
  const where = `position ${index[position]}`;
  if (step[position]! < 0) node.append("At ", piece, el("small", {}, where));
  else node.append(`Answer token ${step[position]! + 1}`, el("small", {}, `read at `, piece, `, ${where}`));
  return node;
}
