/** Under a picture: what lies over it, at all layers at once. */

import { el } from "./dom";
import { channelOf, type Fields } from "../state/field";
import { drawMap, drawMaps, mapSize, sheetSize, type MapPlan } from "../drawing/maps";
import type { Pane } from "../state/pane";
import type { Patch } from "../reading/patches";
import { prepare } from "../drawing/pen";
import { overlaid } from "./picture";
import type { Cell, Sheet } from "../drawing/sheet";
import type { State } from "../state/store";
import { visibleText } from "../reading/text";
import { themeOf } from "../drawing/theme";

const UNDER_WIDTH = 320;
const UNDER_FILTER = "grayscale(1) brightness(0.6)";

export class Multiples {
  readonly node: HTMLElement;
  private readonly opener: HTMLElement;
  private readonly grid: HTMLElement;
  private readonly maps: readonly { button: HTMLElement; canvas: HTMLCanvasElement }[];
  private readonly watcher: ResizeObserver;
  private under: HTMLImageElement | null = null;
  private fading = false;

  constructor(
    private readonly pane: Pane,
    private readonly fields: Fields,
    private readonly image: number,
  ) {
    const { reading, store } = pane;
    this.maps = reading.header.layers.map((_, row) => this.map(row));
    this.grid = el("div", { class: "maps", role: "group", "aria-label": "Layers" }, ...this.maps.map(({ button }) => button));
    this.grid.style.setProperty("--map", `${mapSize(this.spec).width}px`);
    this.opener = el("button", { type: "button", title: "The same for every layer, on the same scale" }, "All layers");
    this.opener.addEventListener("click", () => store.set({ multiples: !store.get().multiples }));
    this.node = el("section", { class: "multiples", "aria-label": "Maps of all layers" }, this.opener, this.grid);
    this.watcher = new ResizeObserver(() => this.draw(store.get()));
    this.watcher.observe(this.grid);
    store.watch((state) => [state.multiples, ...overlaid(state)], (state) => this.show(state));
    store.watch((state) => [pane.row(state)], (state) => this.mark(state));
  }

  close(): void {
    this.watcher.disconnect();
  }

  sheet(): Sheet {
    const { reading, store } = this.pane;
    const state = store.get();
    const plan = this.plan(state);
    const names = reading.header.layers.map((_, row) => this.name(row));
    return {
      name: "maps",
      ...sheetSize(this.spec, names.length),
      draw: (pen) => plan && drawMaps(pen, plan, names, visibleText(plan.field.name), themeOf(this.node, "light")),
      table: () => [["layer", "row", "column", plan?.field.name ?? "value"], ...(plan ? this.lines(plan) : [])],
    };
  }

  private get spec(): { width: number; height: number; src: string | null } {
    return this.pane.reading.header.pictures[this.image]!;
  }

  private get patches(): readonly Patch[] {
    return this.pane.pictures[this.image]!.sheets[0] ?? [];
  }

  private lines({ field, patches }: MapPlan): Cell[][] {
    const { layers } = this.pane.reading.header;
    return layers.flatMap((layer, row) => patches.map((patch) => [layer, patch.row, patch.col, field.at(row, patch.entry)]));
  }

  /** What to draw; null where nothing lies over the picture that differs from layer to layer. */
  private plan(state: State): MapPlan | null {
    const field = this.fields.over(this.pane, state);
    const channel = channelOf(this.pane.reading, state.mode);
    const ends = field && this.fields.ends(field, state);
    if (!ends || (channel && !channel.axes.includes("layer"))) return null;
    return { field, ends, share: this.fields.share(field, state), patches: this.patches, size: this.spec, under: this.under };
  }

  private map(row: number): { button: HTMLElement; canvas: HTMLCanvasElement } {
    const canvas = el("canvas", { "aria-hidden": "true" });
    canvas.style.aspectRatio = `${this.spec.width} / ${this.spec.height}`;
    const button = el("button", { type: "button" }, canvas, this.name(row));
    button.addEventListener("click", () => this.pane.goTo(row));
    return { button, canvas };
  }

  private name(row: number): string {
    return this.pane.reading.layerName(row).replace("embeddings", "emb.");
  }

  private show(state: State): void {
    const plan = this.plan(state);
    this.node.hidden = !plan;
    this.opener.setAttribute("aria-expanded", String(state.multiples));
    this.grid.hidden = !state.multiples;
    if (!plan || !state.multiples) return;
    this.maps.forEach(({ button }, row) => button.setAttribute("aria-label", this.spoken(plan, row)));
    this.draw(state);
    void this.fade();
  }

  private draw(state: State): void {
    const { clientWidth: width, clientHeight: height } = this.maps[0]!.canvas;
    const plan = width > 0 ? this.plan(state) : null;
    if (!plan) return;
    const start = performance.now();
    this.maps.forEach(({ canvas }, row) => drawMap(prepare(canvas, width, height), plan, row, [0, 0], width));
    performance.clearMeasures("patchlens:maps");
    performance.measure("patchlens:maps", { start });
  }

  /** The layer shown is the one that Tab reaches; the focus goes with it. */
  private mark(state: State): void {
    const now = this.pane.row(state);
    const inside = this.maps.some(({ button }) => button.matches(":focus"));
    this.maps.forEach(({ button }, row) => {
      button.setAttribute("aria-current", String(row === now));
      button.tabIndex = row === now ? 0 : -1;
    });
    if (inside) this.maps[now]!.button.focus();
  }

  private spoken({ field, patches, share }: MapPlan, row: number): string {
    const best = brightest(patches, (entry) => share(row, entry));
    const name = `layer ${this.pane.reading.layerName(row)}`;
    if (!best) return `${name}: no value`;
    return `${name}, brightest at row ${best.row}, column ${best.col}: ${field.text(field.at(row, best.entry))}`;
  }

  /** Make the picture small and grey once: filtering it under every map would take long. */
  private async fade(): Promise<void> {
    const { src } = this.spec;
    if (!src || this.fading) return;
    this.fading = true;
    this.under = await faded(src).catch(() => null);
    if (this.under) this.draw(this.pane.store.get());
  }
}

function brightest(patches: readonly Patch[], share: (entry: number) => number): Patch | null {
  let best: Patch | null = null;
  let most = -Infinity;
  for (const patch of patches) {
    const value = share(patch.entry);
    if (!(value > most)) continue;
    [best, most] = [patch, value];
  }
  return best;
}

/** A small grey copy of a picture. */
async function faded(src: string): Promise<HTMLImageElement> {
  const picture = el("img", { src });
  await picture.decode();
  const canvas = el("canvas", { width: UNDER_WIDTH, height: Math.round((UNDER_WIDTH * picture.naturalHeight) / picture.naturalWidth) });
  const context = canvas.getContext("2d")!;
  context.filter = UNDER_FILTER;
  context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  const copy = el("img", { src: canvas.toDataURL("image/jpeg", 0.8) });
  await copy.decode();
  return copy;
}
