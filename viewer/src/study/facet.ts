/** One small chart of curves, with a legend that tells the values at the layer pointed at. */

import type { Axis } from "../drawing/axis";
import { prepare } from "../drawing/pen";
import { drawPlot, drawSample, type Frame, type Plot } from "../drawing/plot";
import { saveMenu } from "../drawing/save";
import type { Cell, Sheet } from "../drawing/sheet";
import { coloursOf, themeOf, type Scheme } from "../drawing/theme";
import { el } from "../parts/dom";
import { SERIES } from "../parts/widgets";
import type { Facet, Line } from "./facets";
import { counted, withInterval } from "./telling";

const SAMPLE = { width: 26, height: 14 };
const PAPER = { width: 760, height: 400 };

export class FacetView {
  readonly node: HTMLElement;
  private readonly canvas = el("canvas", { role: "img" });
  private readonly hair = el("div", { class: "hair", hidden: true });
  private readonly stage: HTMLElement;
  private readonly where = el("li", { class: "at" });
  private readonly samples: HTMLCanvasElement[];
  private readonly values: HTMLElement[];
  private readonly watcher = new ResizeObserver(() => this.draw());
  private frame: Frame | null = null;
  private row: number;
  private lit: number | null = null;

  /** `looked` is told the layer under the pointer or the keys, null where there is none. */
  constructor(
    private readonly facet: Facet,
    private readonly axis: Axis,
    private readonly unit: string,
    private readonly quantity: string,
    private readonly looked: (layer: number | null) => void,
  ) {
    this.row = facet.layers.length - 1;
    this.stage = el("div", { class: "plot", tabindex: 0, role: "group", "aria-label": `${facet.title}; left and right go over the layers` });
    this.stage.append(this.canvas, this.hair);
    this.samples = facet.lines.map(() => el("canvas", { "aria-hidden": "true" }));
    this.values = facet.lines.map(() => el("span", { class: "number" }));
    const legend = el("ul", { class: "series", "aria-live": "polite" }, this.where, ...facet.lines.map((line, i) => this.entry(line, i)));
    this.node = el("figure", { class: "facet" }, el("figcaption", { dir: "auto" }, facet.title), this.stage, legend);
    this.node.append(saveMenu(facet.title, () => facet.title, () => this.sheet()));
    this.canvas.setAttribute("aria-label", `${axis.name} over the layers`);
    this.listen();
    this.watcher.observe(this.stage);
    this.tell();
  }

  close(): void {
    this.watcher.disconnect();
  }

  /** Tell of the row that is nearest to a layer; of the last one for null. */
  look(layer: number | null): void {
    const { layers } = this.facet;
    const found = layer === null ? -1 : layers.findLastIndex((own) => own <= layer);
    this.row = found < 0 ? layers.length - 1 : found;
    this.hair.hidden = layer === null;
    if (this.frame) this.hair.style.left = `${this.frame.x(this.row)}px`;
    this.tell();
  }

  draw(): void {
    const { clientWidth: width, clientHeight: height } = this.stage;
    if (width === 0) return;
    const colours = coloursOf(this.stage, SERIES);
    this.frame = drawPlot(prepare(this.canvas, width, height), this.plot({ width, height }));
    this.samples.forEach((sample, i) => {
      drawSample(prepare(sample, SAMPLE.width, SAMPLE.height), this.facet.lines[i]!.style, colours, SAMPLE.width, SAMPLE.height);
    });
  }

  private plot(size: { width: number; height: number }, scheme?: Scheme): Plot {
    const { layers, lines } = this.facet;
    const drawing = { theme: themeOf(this.stage, scheme), colours: coloursOf(this.stage, SERIES, scheme) };
    return { ...size, ...drawing, layers, lines, axis: this.axis, now: null, floor: null, lit: this.lit };
  }

  private sheet(): Sheet {
    const rows = this.facet.lines.flatMap(({ name, heights, band, items }) =>
      this.facet.layers.map((layer, row): Cell[] => [name, layer, heights[row]!, band!.low[row]!, band!.high[row]!, items[row]!]),
    );
    return {
      name: this.quantity,
      ...PAPER,
      draw: (pen) => void drawPlot(pen, this.plot(PAPER, "light")),
      table: () => [["line", "layer", "mean", "low", "high", "items"], ...rows],
    };
  }

  private entry({ name }: Line, i: number): HTMLElement {
    const sample = this.samples[i]!;
    sample.style.width = `${SAMPLE.width}px`;
    sample.style.height = `${SAMPLE.height}px`;
    const item = el("li", {}, sample, el("bdi", { class: "word", title: name }, name), this.values[i]!);
    for (const [event, lit] of [["pointerenter", i], ["pointerleave", null]] as const) {
      item.addEventListener(event, () => {
        this.lit = lit;
        this.draw();
      });
    }
    return item;
  }

  private listen(): void {
    const { stage } = this;
    stage.addEventListener("pointermove", (event) => {
      const row = this.frame?.rowAt(event.clientX - stage.getBoundingClientRect().left);
      if (row !== undefined) this.looked(this.facet.layers[row]!);
    });
    stage.addEventListener("pointerleave", () => this.looked(null));
    stage.addEventListener("blur", () => this.looked(null));
    stage.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (step === undefined) return;
      const row = Math.min(Math.max(this.row + step, 0), this.facet.layers.length - 1);
      this.looked(this.facet.layers[row]!);
      event.preventDefault();
    });
  }

  private tell(): void {
    const { layers, lines } = this.facet;
    const layer = layers[this.row]!;
    this.where.textContent = `at layer ${layer === 0 ? "0 (embeddings)" : layer}`;
    lines.forEach(({ heights, band, items }, i) => {
      const text = withInterval(heights[this.row]!, band!.low[this.row]!, band!.high[this.row]!, this.unit);
      this.values[i]!.textContent = text;
      this.values[i]!.title = counted(items[this.row]!, "item");
    });
  }
}
