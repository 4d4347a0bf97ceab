/** One picture with its overlay; pointer and keys choose a patch. */

import { el } from "./dom";
import type { Fields } from "../state/field";
import { drawField, drawGrid, drawWords, FILTERS, measureWords, type Drawing } from "../drawing/overlay";
import type { Pane } from "../state/pane";
import type { Patch, Patches } from "../reading/patches";
import { prepare, type Pen } from "../drawing/pen";
import type { PictureSpec } from "../reading/payload";
import type { Sheet } from "../drawing/sheet";
import type { State } from "../state/store";
import { percent, visible, visibleText } from "../reading/text";

const MOVES: Record<string, readonly [number, number]> = {
  ArrowUp: [-1, 0],
  ArrowDown: [1, 0],
  ArrowLeft: [0, -1],
  ArrowRight: [0, 1],
};

export class PictureView {
  readonly node: HTMLElement;
  private readonly stage: HTMLElement;
  private readonly picture: HTMLImageElement | null;
  private readonly canvas = el("canvas", { "aria-hidden": "true" });
  private readonly cursors = { hover: el("div", { class: "cursor hover" }), pin: el("div", { class: "cursor pin" }) };
  private readonly told = el("span", { class: "told" });
  private readonly spec: PictureSpec;
  private readonly patches: Patches;
  private readonly watcher: ResizeObserver;
  private drawnWidth = 0;
  /** which of several layers of tiles is drawn */
  private level = 0;
  /** vision state under the pointer, where patches are no positions */
  private looked: Patch | undefined;

  constructor(
    private readonly pane: Pane,
    private readonly fields: Fields,
    image: number,
  ) {
    this.spec = pane.reading.header.pictures[image]!;
    this.patches = pane.pictures[image]!;
    const { name, width, height, rows, cols, src } = this.spec;
    this.picture = src ? el("img", { src, alt: `The picture ${visibleText(name)}`, draggable: "false" }) : null;
    this.stage = el("div", { class: "stage", tabindex: 0, role: "application" });
    this.stage.style.aspectRatio = `${width} / ${height}`;
    this.stage.style.setProperty("--ratio", String(width / height));
    if (this.picture) this.stage.append(this.picture);
    this.stage.append(this.canvas, this.cursors.hover, this.cursors.pin);
    const caption = `${visibleText(name)} · ${width} × ${height} px · ${rows} × ${cols} patches`;
    this.node = el("figure", { class: "picture", "data-image": image }, this.stage, el("figcaption", {}, caption, this.told));
    if (this.patches.sheets.length > 1) this.stage.before(this.levels());
    this.listen(visibleText(name));
    this.watcher = new ResizeObserver(() => {
      if (this.stage.clientWidth !== this.drawnWidth) this.draw(pane.store.get());
    });
    this.watcher.observe(this.stage);
    const { store } = pane;
    store.watch((state) => [pane.row(state), ...overlaid(state)], (state) => this.draw(state));
    store.watch((state) => [pane.hovered(state), pane.pinned(state)], (state) => this.mark(state));
    store.watch((state) => [pane.row(state), pane.hovered(state), ...overlaid(state)], (state) => this.tell(state));
  }

  focus(): void {
    this.stage.focus();
  }

  close(): void {
    this.watcher.disconnect();
  }

  /** Make a layer ready, so that it is drawn as fast at first as later. */
  anticipate(row: number): void {
    if (this.pane.speaking) measureWords(this.pane.reading, this.patches.sheets[this.level] ?? [], row);
  }

  /** What is seen now, at a chosen width in pixels. */
  sheet(width = 1000): Sheet {
    const state = this.pane.store.get();
    const height = (width * this.spec.height) / this.spec.width;
    return {
      name: "picture",
      width,
      height,
      draw: (pen) => {
        if (this.picture) pen.image(this.picture, 0, 0, width, height, FILTERS[this.drawing(state)]);
        this.paint(pen, state, width);
      },
      table: () => this.table(state),
    };
  }

  private table(state: State): (string | number)[][] {
    const { reading } = this.pane;
    const row = this.pane.row(state);
    const field = this.fields.over(this.pane, state);
    const columns = ["layer", "row", "column", "left", "top", "right", "bottom"];
    const told = field ? [field.name] : this.pane.speaking ? ["token", "piece", "probability"] : [];
    const lines = this.patches.all.map(({ entry, row: down, col, box }) => {
      const place = [reading.header.layers[row]!, down, col, box.left, box.top, box.right, box.bottom];
      if (field) return [...place, field.at(row, entry)];
      if (!this.pane.speaking) return place;
      const token = reading.topToken(row, entry, 0);
      return [...place, reading.header.token_ids[token]!, reading.piece(token), Math.exp(reading.topLogprob(row, entry, 0))];
    });
    return [[...columns, ...told], ...lines];
  }

  private levels(): HTMLElement {
    const buttons = this.patches.sheets.map((sheet, level) => {
      const button = el("button", { type: "button", "aria-pressed": String(level === 0) }, `${sheet.length} patches`);
      button.addEventListener("click", () => {
        this.level = level;
        buttons.forEach((other, i) => other.setAttribute("aria-pressed", String(i === level)));
        this.draw(this.pane.store.get());
      });
      return button;
    });
    return el("div", { class: "segments", role: "group", "aria-label": "Tiles that cover the same pixels" }, ...buttons);
  }

  private listen(name: string): void {
    const { stage, pane } = this;
    const keys = pane.speaking ? "Arrow keys move, Enter pins, Page Up and Page Down change the layer." : "Arrow keys move, Page Up and Page Down change the layer.";
    stage.setAttribute("aria-label", `Patches of ${name}. ${keys}`);
    stage.addEventListener("pointermove", (event) => {
      if (event.pointerType !== "touch") this.look(this.under(event));
    });
    stage.addEventListener("pointerleave", () => this.look(undefined));
    stage.addEventListener("blur", () => this.look(undefined));
    stage.addEventListener("click", (event) => this.pin(this.under(event)));
    stage.addEventListener("keydown", (event) => this.key(event));
  }

  private look(patch: Patch | undefined): void {
    if (this.pane.speaking) return this.pane.hover(patch?.entry ?? null);
    this.looked = patch;
    const state = this.pane.store.get();
    this.mark(state);
    this.tell(state);
  }

  private pin(patch: Patch | undefined): void {
    if (!patch) return;
    if (this.pane.speaking) this.pane.toggle(patch.entry);
    else this.look(patch);
  }

  private key(event: KeyboardEvent): void {
    const { pane } = this;
    const state = pane.store.get();
    const current = pane.speaking ? this.patches.of(pane.focus(state)) : this.looked;
    const move = MOVES[event.key];
    if (move) this.look(this.patches.beside(current, ...move));
    else if (event.key === "Enter" || event.key === " ") this.pin(current);
    else if (event.key === "PageDown") pane.step(1);
    else if (event.key === "PageUp") pane.step(-1);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  private under(event: MouseEvent): Patch | undefined {
    const bounds = this.stage.getBoundingClientRect();
    const scale = this.spec.width / bounds.width;
    const [x, y] = [(event.clientX - bounds.left) * scale, (event.clientY - bounds.top) * scale];
    return this.patches.under(x, y, this.patches.sheets[this.level]);
  }

  private drawing(state: State): Drawing {
    if (this.fields.over(this.pane, state)) return "field";
    if (!this.pane.speaking) return state.mode === "none" ? "none" : "grid";
    return state.mode === "words" ? "words" : "none";
  }

  private draw(state: State): void {
    const { clientWidth: width, clientHeight: height } = this.stage;
    if (width === 0) return;
    this.drawnWidth = width;
    const drawing = this.drawing(state);
    this.stage.dataset["drawing"] = drawing;
    if (this.picture) this.picture.style.filter = FILTERS[drawing];
    this.paint(prepare(this.canvas, width, height), state, width);
  }

  private paint(pen: Pen, state: State, width: number): void {
    const scale = width / this.spec.width;
    const row = this.pane.row(state);
    const patches = this.patches.sheets[this.level] ?? [];
    const field = this.fields.over(this.pane, state);
    const drawing = this.drawing(state);
    const share = field && this.fields.share(field, state);
    if (field && share) drawField(pen, patches, scale, (entry) => share(row, entry), field.palette);
    else if (drawing === "words") drawWords(pen, this.pane.reading, patches, scale, row, width);
    else if (drawing === "grid") drawGrid(pen, patches, scale);
  }

  private mark(state: State): void {
    const { pane, patches } = this;
    this.outline(this.cursors.hover, pane.speaking ? patches.of(pane.hovered(state)) : this.looked);
    this.outline(this.cursors.pin, pane.speaking ? patches.of(pane.pinned(state)) : undefined);
  }

  /** Under the picture: what the patch looked at holds. */
  private tell(state: State): void {
    const { pane, patches } = this;
    const patch = pane.speaking ? patches.of(pane.hovered(state)) : this.looked;
    const row = pane.row(state);
    const field = this.fields.over(this.pane, state);
    const parts = patch ? [`row ${patch.row}, column ${patch.col}`] : [];
    if (patch && field) parts.push(field.text(field.at(row, patch.entry)));
    else if (patch && pane.speaking) {
      const { reading } = pane;
      parts.push(`${visible(reading.piece(reading.topToken(row, patch.entry, 0)))} ${percent(reading.topLogprob(row, patch.entry, 0))}`);
    }
    this.told.textContent = parts.join(": ");
  }

  private outline(cursor: HTMLElement, patch: Patch | undefined): void {
    cursor.hidden = !patch;
    if (!patch) return;
    const { width, height } = this.spec;
    const { left, top, right, bottom } = patch.box;
    cursor.style.left = `${(100 * left) / width}%`;
    cursor.style.top = `${(100 * top) / height}%`;
    cursor.style.width = `${(100 * (right - left)) / width}%`;
    cursor.style.height = `${(100 * (bottom - top)) / height}%`;
  }
}

/** The parts of the state that decide what lies over a picture. */
export function overlaid({ mode, query, measure, pick }: State): readonly unknown[] {
  return [mode, query, measure, pick];
}
