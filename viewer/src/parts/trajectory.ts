/** How strongly words are read over the layers of one position: a chart, with a legend that tells the values. */

import { choice, MEASURES, SERIES } from "./widgets";
import { el, named } from "./dom";
import type { Pane } from "../state/pane";
import { prepare } from "../drawing/pen";
import { placeName } from "../reading/place";
import { drawPlot, drawSample, type Frame, type Plot } from "../drawing/plot";
import { contentOf, noteOf, seriesOf, spoken, type Content, type Series } from "../state/series";
import type { Cell, Sheet } from "../drawing/sheet";
import { toggled, type State } from "../state/store";
import { coloursOf, themeOf, type Scheme } from "../drawing/theme";

const SAMPLE = { width: 26, height: 14 };
const PAPER = { width: 760, height: 400 };

export class Trajectory {
  readonly node: HTMLElement;
  private readonly canvas = el("canvas", { role: "img" });
  private readonly hair = el("div", { class: "hair", hidden: true });
  private readonly stage: HTMLElement;
  private readonly legend = el("ul", { class: "series" });
  private readonly where = el("p", { class: "sub" });
  private readonly note = el("p", { class: "sub" });
  private readonly heading = el("span");
  private readonly watcher: ResizeObserver;
  private series: readonly Series[] = [];
  private content!: Content;
  private values: HTMLElement[] = [];
  private frame: Frame | null = null;
  /** row under the pointer, if any */
  private looked: number | null = null;
  private lit: number | null = null;

  /** All panes, as they share one scale and one set of colours. */
  constructor(
    private readonly pane: Pane,
    private readonly panes: readonly Pane[],
  ) {
    const { store } = pane;
    const title = el("h2", {}, "Words over the layers");
    const measure = choice("How the words of the chart are measured", MEASURES, (value) => store.set({ measure: value }));
    this.stage = el("div", { class: "plot", tabindex: 0, role: "group", "aria-label": "Chart; left and right change the layer" });
    this.stage.append(this.canvas, this.hair);
    this.node = named(el("section", { class: "card trajectory" }), title);
    this.node.append(el("div", { class: "head" }, title, measure), this.where, this.stage, this.legend, this.note);
    this.listen();
    this.watcher = new ResizeObserver(() => this.draw(store.get()));
    this.watcher.observe(this.stage);
    store.watch(
      (state) => [state.query, state.followed, state.measure, ...panes.map((other) => other.charted(state))],
      (state) => {
        measure.value = state.measure;
        this.make(state);
      },
    );
    store.watch((state) => [pane.row(state)], (state) => {
      this.draw(state);
      this.look(null);
    });
  }

  close(): void {
    this.watcher.disconnect();
  }

  sheet(): Sheet {
    const state = this.pane.store.get();
    return { name: "words", ...PAPER, draw: (pen) => void drawPlot(pen, this.plot(state, PAPER, "light")), table: () => this.table(state) };
  }

  private table(state: State): Cell[][] {
    const { reading } = this.pane;
    const position = this.pane.charted(state);
    const lines = this.series.flatMap(({ name, tokens }) =>
      reading.header.layers.map((layer, row) => [
        layer, reading.header.positions.index[position]!, name, reading.logprobOfAny(tokens, row, position), reading.rankOfAny(tokens, row, position) + 1,
      ]),
    );
    return [["layer", "position", "word", "log-probability", "rank"], ...lines];
  }

  private listen(): void {
    const { stage, pane } = this;
    const rowOf = (event: MouseEvent): number | null =>
      this.frame && this.frame.rowAt(event.clientX - stage.getBoundingClientRect().left);
    stage.addEventListener("pointermove", (event) => {
      if (event.pointerType !== "touch") this.look(rowOf(event));
    });
    stage.addEventListener("pointerleave", () => this.look(null));
    stage.addEventListener("click", (event) => {
      const row = rowOf(event);
      if (row !== null) pane.goTo(row);
    });
  }

  private look(row: number | null): void {
    this.looked = row;
    this.hair.hidden = row === null;
    if (row !== null && this.frame) this.hair.style.left = `${this.frame.x(row)}px`;
    this.tell(this.pane.store.get());
  }

  private make(state: State): void {
    const { reading } = this.pane;
    const position = this.pane.charted(state);
    const all = this.panes.map((other) => seriesOf(other, state));
    this.series = all[this.panes.indexOf(this.pane)]!;
    this.content = contentOf(this.pane, this.panes, all, state);
    this.where.textContent = `At ${placeName(reading, position)}`;
    this.canvas.setAttribute("aria-label", spoken(reading, this.series));
    this.note.textContent = noteOf(reading, this.series);
    this.draw(state);
    this.showLegend();
    this.tell(state);
  }

  private draw(state: State): void {
    const { clientWidth: width, clientHeight: height } = this.stage;
    if (width === 0) return;
    this.frame = drawPlot(prepare(this.canvas, width, height), this.plot(state, { width, height }));
  }

  private plot(state: State, size: { width: number; height: number }, scheme?: Scheme): Plot {
    return {
      ...size,
      ...this.content,
      layers: this.pane.reading.header.layers,
      now: this.pane.row(state),
      theme: themeOf(this.stage, scheme),
      colours: coloursOf(this.stage, SERIES, scheme),
      lit: this.lit,
    };
  }

  private showLegend(): void {
    const { lines } = this.content;
    const colours = coloursOf(this.stage, SERIES);
    this.values = this.series.map(() => el("span", { class: "number" }));
    const items = this.series.map((series, i) => {
      const sample = el("canvas", { "aria-hidden": "true" });
      sample.style.width = `${SAMPLE.width}px`;
      sample.style.height = `${SAMPLE.height}px`;
      drawSample(prepare(sample, SAMPLE.width, SAMPLE.height), lines[i]!.style, colours, SAMPLE.width, SAMPLE.height);
      const item = el("li", {}, sample, this.nameNode(series), this.values[i]!);
      if (series.piece !== null) item.append(this.remover(series.name, series.piece));
      for (const [event, lit] of [["pointerenter", i], ["pointerleave", null]] as const) {
        item.addEventListener(event, () => {
          this.lit = lit;
          this.draw(this.pane.store.get());
        });
      }
      return item;
    });
    this.legend.replaceChildren(el("li", { class: "at" }, this.heading), ...items);
  }

  private nameNode({ name, query }: Series): HTMLElement {
    const { store, speaking, lexicon } = this.pane;
    if (!speaking || lexicon.find(query).tokens.length === 0) return el("bdi", { class: "word" }, name);
    const button = el("button", { type: "button", class: "word", title: `Show on the picture where “${name}” is read` }, el("bdi", {}, name));
    button.addEventListener("click", () => {
      const words = lexicon.find(store.get().query).found.map(({ word }) => word);
      store.set(words.includes(query) ? { mode: "search" } : { mode: "search", query });
    });
    return button;
  }

  private remover(name: string, piece: string): HTMLElement {
    const { store } = this.pane;
    const button = el("button", { type: "button", class: "remove", "aria-label": `Stop following ${name}`, title: "Stop following" }, "×");
    button.addEventListener("click", () => store.set({ followed: toggled(store.get().followed, piece) }));
    return button;
  }

  /** The values at the layer pointed at, else at the layer shown. */
  private tell(state: State): void {
    const row = this.looked ?? this.pane.row(state);
    this.heading.textContent = `at layer ${this.pane.reading.layerName(row)}`;
    this.series.forEach(({ field, values }, i) => (this.values[i]!.textContent = field.text(values[row]!)));
  }
}
