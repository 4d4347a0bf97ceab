/** A small card by the pointer: what one layer reads at one position. */

import { el, pieceNode } from "../parts/dom";
import { beside } from "./layout";
import type { Reading } from "../reading/reading";
import { rowName } from "./rows";
import { nats, percent } from "../reading/text";

export class Tip {
  readonly node = el("div", { class: "tip", "aria-hidden": "true", hidden: true });
  private shown = "";

  constructor(private readonly reading: Reading) {}

  /** Show a cell's words beside a point of the screen, inside the part of the page that holds the card. */
  show(row: number, position: number, { clientX, clientY }: { clientX: number; clientY: number }): void {
    this.fill(row, position);
    this.node.hidden = false;
    const room = this.node.parentElement!;
    const bounds = room.getBoundingClientRect();
    this.node.style.left = `${beside(clientX - bounds.left, this.node.offsetWidth, room.clientWidth)}px`;
    this.node.style.top = `${beside(clientY - bounds.top, this.node.offsetHeight, room.clientHeight)}px`;
  }

  hide(): void {
    this.node.hidden = true;
  }

  private fill(row: number, position: number): void {
    const key = `${row} ${position}`;
    if (key === this.shown) return;
    this.shown = key;
    const { reading } = this;
    const final = reading.finalToken(position);
    const words = reading.top(row, position).map(({ token, logprob }) => bar(reading.piece(token), logprob, token === final));
    this.node.replaceChildren(
      el("p", {}, el("b", {}, rowName(reading, position, false)), el("small", {}, `layer ${reading.layerName(row)}`)),
      el("ol", {}, ...words),
      el("p", {}, el("small", {}, `entropy ${nats(reading.entropy(row, position))} · KL to final ${nats(reading.kl(row, position))}`)),
    );
  }
}

function bar(piece: string, logprob: number, final: boolean): HTMLElement {
  const fill = el("span", { class: "fill" });
  fill.style.width = `${100 * Math.exp(logprob)}%`;
  return el(
    "li",
    { class: final ? "final" : null },
    pieceNode(piece),
    el("span", { class: "track" }, fill),
    el("span", { class: "number" }, percent(logprob)),
  );
}
