/** What one layer reads at one position: its candidates with bars, entropy, divergence, words followed, channels. */

import { el, keepingFocus, named, pieceNode, pieceTitle } from "./dom";
import { channelField, isPlaced } from "../state/field";
import type { Pane } from "../state/pane";
import { placeName, placeNode } from "../reading/place";
import type { Reading } from "../reading/reading";
import { toggled, type State } from "../state/store";
import { nats, percent, visible, visibleText } from "../reading/text";

export class Panel {
  readonly node: HTMLElement;
  private readonly reading: Reading;
  private readonly live = el("p", { class: "unseen", "aria-live": "polite" });
  private readonly title = el("h2");
  private readonly body = el("div");
  private timer = 0;

  constructor(private readonly pane: Pane) {
    this.reading = pane.reading;
    this.node = named(el("section", { class: "card panel" }), this.title);
    this.node.append(this.title, this.body, this.live);
    pane.store.watch(
      (state) => [pane.row(state), pane.focus(state), state.followed, state.pick],
      (state) => keepingFocus(this.body, () => this.draw(state)),
    );
  }

  private draw(state: State): void {
    const position = this.pane.focus(state);
    const row = this.pane.row(state);
    const top = this.reading.top(row, position);
    this.title.replaceChildren(placeNode(this.reading, position));
    this.body.replaceChildren(
      el("p", { class: "sub" }, `Layer ${this.reading.layerName(row)} would say`),
      el("ol", { class: "bars" }, ...top.map((c) => this.bar(c.token, c.logprob, position, state))),
      this.facts(row, position, state),
    );
    window.clearTimeout(this.timer);
    this.timer = window.setTimeout(() => {
      const said = top.slice(0, 3).map((c) => `${visible(this.reading.piece(c.token))} ${percent(c.logprob)}`);
      this.live.textContent = `${placeName(this.reading, position)}, layer ${this.reading.layerName(row)}: ${said.join(", ")}`;
    }, 400);
  }

  private bar(token: number, logprob: number, position: number, state: State): HTMLElement {
    const final = this.reading.finalToken(position) === token;
    const piece = this.reading.piece(token);
    const fill = el("span", { class: "fill" });
    fill.style.width = `${100 * Math.exp(logprob)}%`;
    const title = `${pieceTitle(piece, this.reading.header.token_ids[token] ?? -1)}: follow it over the layers`;
    const pressed = String(state.followed.includes(piece));
    const word = el("button", { type: "button", class: "word", title, "aria-pressed": pressed }, pieceNode(piece));
    word.addEventListener("click", () => {
      const { store } = this.pane;
      store.set({ followed: toggled(store.get().followed, piece) });
    });
    return el(
      "li",
      { class: final ? "final" : null },
      word,
      el("span", { class: "track" }, fill),
      el("span", { class: "number" }, percent(logprob)),
    );
  }

  private facts(row: number, position: number, state: State): HTMLElement {
    const facts = el("dl", { class: "facts" });
    const add = (name: string, title: string, value: string): void => {
      facts.append(el("div", { title }, el("dt", {}, name), el("dd", {}, value)));
    };
    add("entropy", "How undecided this layer is, in nats", `${nats(this.reading.entropy(row, position))} nats`);
    add("KL to final", "How far it is from what the model says in the end", `${nats(this.reading.kl(row, position))} nats`);
    this.reading.header.targets.forEach((target, i) => {
      const rank = this.reading.targetRank(row, position, i) + 1;
      const word = visibleText(target.word);
      const name = target.whole ? word : `${word} (${visible(this.reading.piece(target.token))}…)`;
      const title = target.whole ? "A word followed" : "A word followed: its first token stands for it";
      add(name, title, `${percent(this.reading.targetLogprob(row, position, i))}, rank ${rank.toLocaleString("en")}`);
    });
    for (const channel of this.reading.channels) {
      if (!isPlaced(channel) || channel.axes.includes("vision")) continue;
      const field = channelField(channel, state.pick);
      add(visibleText(channel.name), visibleText(channel.description), field.text(field.at(row, position)));
    }
    return facts;
  }
}
