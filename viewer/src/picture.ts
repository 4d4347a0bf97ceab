/** One picture with its overlay; pointer and keys choose a patch. */

import { el } from "./dom";
import { drawGrid, drawHeat, drawWords, prepare, type HeatMap } from "./overlay";
import type { Patch, Patches } from "./patches";
import type { PictureSpec } from "./payload";
import type { Reading } from "./reading";
import { changed, focus, type State, type Store } from "./store";
import { visibleText } from "./text";

const MOVES: Record<string, readonly [number, number]> = {
  ArrowUp: [-1, 0],
  ArrowDown: [1, 0],
  ArrowLeft: [0, -1],
  ArrowRight: [0, 1],
};

export interface PictureOptions {
  spec: PictureSpec;
  patches: Patches;
  /** whether its patches are positions of the reading, with words of their own */
  speaking: boolean;
  heat: (state: State) => HeatMap | null;
}

export class PictureView {
  readonly node: HTMLElement;
  private readonly stage: HTMLElement;
  private readonly canvas = el("canvas", { "aria-hidden": "true" });
  private readonly cursors = { hover: el("div", { class: "cursor" }), pin: el("div", { class: "cursor pin" }) };

  constructor(
    private readonly reading: Reading,
    private readonly store: Store,
    private readonly options: PictureOptions,
  ) {
    const { spec, speaking } = options;
    const name = visibleText(spec.name);
    this.stage = el("div", { class: "stage" });
    this.stage.style.aspectRatio = `${spec.width} / ${spec.height}`;
    this.stage.style.setProperty("--ratio", String(spec.width / spec.height));
    if (spec.src) this.stage.append(el("img", { src: spec.src, alt: `The picture ${name}`, draggable: "false" }));
    this.stage.append(this.canvas, this.cursors.hover, this.cursors.pin);
    const caption = `${name} · ${spec.width} × ${spec.height} px · ${spec.rows} × ${spec.cols} patches`;
    this.node = el("figure", { class: "picture" }, this.stage, el("figcaption", {}, caption));
    if (speaking) this.listen(name);
    new ResizeObserver(() => this.draw(store.get())).observe(this.stage);
    store.onChange((state, before) => {
      if (changed(state, before, "layer", "mode", "query")) this.draw(state);
      if (changed(state, before, "hover", "pin", "step")) this.mark(state);
    });
  }

  private listen(name: string): void {
    const { patches } = this.options;
    this.stage.tabIndex = 0;
    this.stage.setAttribute("role", "application");
    this.stage.setAttribute(
      "aria-label",
      `Patches of ${name}. Arrow keys move, Enter pins, Page Up and Page Down change the layer.`,
    );
    this.stage.addEventListener("pointermove", (event) => {
      const patch = this.under(event);
      if (event.pointerType !== "touch") this.store.set({ hover: patch?.entry ?? null });
    });
    this.stage.addEventListener("pointerleave", () => this.store.set({ hover: null }));
    this.stage.addEventListener("click", (event) => this.pin(this.under(event)));
    this.stage.addEventListener("blur", () => this.store.set({ hover: null }));
    this.stage.addEventListener("keydown", (event) => this.key(event, patches));
  }

  private key(event: KeyboardEvent, patches: Patches): void {
    const { layer, pin } = this.store.get();
    const current = patches.of(focus(this.store.get()));
    const move = MOVES[event.key];
    if (move) this.store.set({ hover: patches.beside(current, ...move)?.entry ?? null });
    else if (event.key === "Enter" || event.key === " ") this.pin(current);
    else if (event.key === "PageDown") this.store.set({ layer: Math.min(layer + 1, this.reading.nLayers - 1) });
    else if (event.key === "PageUp") this.store.set({ layer: Math.max(layer - 1, 0) });
    else if (event.key === "Escape" && pin !== null) this.store.set({ pin: null });
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  private pin(patch: Patch | undefined): void {
    if (!patch) return;
    this.store.set({ pin: this.store.get().pin === patch.entry ? null : patch.entry });
  }

  private under(event: MouseEvent): Patch | undefined {
    const bounds = this.stage.getBoundingClientRect();
    const scale = this.options.spec.width / bounds.width;
    return this.options.patches.under((event.clientX - bounds.left) * scale, (event.clientY - bounds.top) * scale);
  }

  private draw(state: State): void {
    const { spec, patches, speaking, heat } = this.options;
    const { clientWidth: width, clientHeight: height } = this.stage;
    if (width === 0) return;
    const scale = width / spec.width;
    const context = prepare(this.canvas, width, height);
    this.stage.dataset["mode"] = speaking ? state.mode : "grid";
    const map = speaking ? heat(state) : null;
    if (!speaking) drawGrid(context, patches, scale);
    else if (map) drawHeat(context, patches, scale, state.layer, map);
    else if (state.mode === "words") drawWords(context, this.reading, patches, scale, state.layer, width);
  }

  private mark(state: State): void {
    this.outline(this.cursors.hover, this.options.patches.of(state.hover));
    this.outline(this.cursors.pin, this.options.patches.of(state.pin));
  }

  private outline(cursor: HTMLElement, patch: Patch | undefined): void {
    cursor.hidden = !patch || !this.options.speaking;
    if (!patch) return;
    const { width, height } = this.options.spec;
    cursor.style.left = `${(100 * patch.box.left) / width}%`;
    cursor.style.top = `${(100 * patch.box.top) / height}%`;
    cursor.style.width = `${(100 * (patch.box.right - patch.box.left)) / width}%`;
    cursor.style.height = `${(100 * (patch.box.bottom - patch.box.top)) / height}%`;
  }
}
