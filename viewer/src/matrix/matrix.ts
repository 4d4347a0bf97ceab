/** The matrix of positions by layers, linked with the rest of the page; pointer and keys choose a cell. */

import { el, named } from "../parts/dom";
import type { Fields } from "../state/field";
import { MatrixBar } from "./bar";
import { centre, moved, reveal, seen, type Cell } from "./layout";
import { paint, type Scene } from "./paint";
import { Tints } from "./tint";
import { Tip } from "./tip";
import { Voice } from "./voice";
import type { Pane } from "../state/pane";
import { overlaid } from "../parts/picture";
import { listed, rowTable, wanted } from "./rows";
import type { Sheet } from "../drawing/sheet";
import type { State } from "../state/store";
import { themeOf, type Theme } from "../drawing/theme";
import { Viewport } from "./viewport";

const HINT = "The likeliest word of each cell. Point at a cell for the rest; click it to pin its position and go to its layer.";
const KEYS = "Arrow keys, Home, End, Page Up and Page Down move, Enter pins.";

type Point = Pick<MouseEvent, "clientX" | "clientY">;

export class Matrix {
  readonly node: HTMLElement;
  private readonly bar: MatrixBar;
  private readonly tints: Tints;
  private readonly tip: Tip;
  private readonly viewport: Viewport;
  private readonly voice: Voice;
  private theme: Theme | null = null;
  private asked = "";
  private listed: readonly number[] = [];
  private wanted: ReadonlySet<number> | null = null;
  /** the cell that keys move, while they do */
  private active: Cell | null = null;
  private pointer: Point | null = null;
  /** pinned position and layer that were brought into view, or chosen here */
  private settled: readonly [number | null, number] | null = null;

  constructor(
    private readonly pane: Pane,
    panes: readonly Pane[],
    fields: Fields,
  ) {
    const { reading, store } = pane;
    this.bar = new MatrixBar(pane);
    this.tints = new Tints(pane, panes, fields);
    this.tip = new Tip(reading);
    this.viewport = new Viewport(
      reading.nPositions,
      reading.nLayers,
      (pen) => this.theme && paint(pen, this.scene(this.theme)),
      () => this.update(),
    );
    this.voice = new Voice(this.viewport.node, reading);
    this.viewport.node.setAttribute("aria-label", `The likeliest word by position and layer. ${KEYS}`);
    this.viewport.view.append(this.voice.node);
    const title = el("h2", {}, "Every position, every layer");
    this.node = named(el("section", { class: "card matrix" }), title);
    this.node.append(title, el("p", { class: "sub" }, HINT), this.bar.node, this.viewport.node, this.tip.node);
    this.listen();
    const coloured = (state: State): readonly unknown[] => [state.colour, ...(state.colour === "overlay" ? overlaid(state) : [])];
    store.watch(() => [], () => (this.theme = themeOf(this.node)));
    store.watch(({ filter, find }) => [filter, find], (state) => this.list(state));
    store.watch(coloured, (state) => this.bar.explain(state, this.tints.of(state)));
    store.watch(
      (state) => [state.filter, state.find, pane.hovered(state), pane.pinned(state), pane.row(state), ...coloured(state)],
      (state) => {
        if (pane.hovered(state) === null) this.tip.hide();
        this.follow(state);
        this.draw();
      },
    );
  }

  close(): void {
    this.viewport.close();
  }

  /** What is in view, as a drawing on paper; all that is listed, as a table. */
  sheet(): Sheet {
    const { width, height } = this.viewport.layout;
    return {
      name: "matrix",
      width,
      height,
      draw: (pen) => paint(pen, { ...this.scene(themeOf(this.node, "light")), hovered: null, active: null }),
      table: () => rowTable(this.pane.reading, this.listed),
    };
  }

  private list(state: State): void {
    const asked = JSON.stringify([state.filter, state.find]);
    if (asked === this.asked) return;
    const { reading, lexicon } = this.pane;
    this.asked = asked;
    this.wanted = wanted(lexicon, state.find);
    this.listed = listed(reading, state.filter, this.wanted);
    this.activate(null);
    this.voice.list(this.listed.length);
    this.bar.tell(state, this.listed.length);
    this.viewport.list(this.listed.length);
    this.settled = null;
  }

  /** Bring what was pinned elsewhere, and the layer chosen elsewhere, into view. */
  private follow(state: State): void {
    if (this.viewport.layout.width === 0) return;
    const [position, column] = this.pair(state);
    const [before, columnBefore] = this.settled ?? [null, -1];
    this.settled = [position, column];
    const row = position === null || position === before ? -1 : this.listed.indexOf(position);
    this.viewport.bring({ row, column: column === columnBefore ? -1 : column }, centre);
  }

  private pair(state: State): readonly [number | null, number] {
    return [this.pane.pinned(state), this.pane.row(state)];
  }

  private update(): void {
    this.follow(this.pane.store.get());
    if (this.pointer) this.look(this.viewport.under(this.pointer), this.pointer);
    else if (this.active) this.look(this.active, this.viewport.middle(this.active));
    this.draw();
  }

  private draw(): void {
    this.viewport.draw();
    this.describe();
  }

  private scene(theme: Theme): Scene {
    const { pane, listed, wanted, active } = this;
    const { layout, scroll } = this.viewport;
    const state = pane.store.get();
    return {
      reading: pane.reading, listed, layout, scroll, theme, wanted, active,
      tint: this.tints.of(state),
      hovered: pane.hovered(state),
      pinned: pane.pinned(state),
      current: pane.row(state),
    };
  }

  /** What has been drawn, as data of the element. */
  private describe(): void {
    const { pane, listed, viewport } = this;
    const { rows, columns } = seen(viewport.layout, viewport.scroll);
    const state = pane.store.get();
    Object.assign(viewport.node.dataset, {
      rows: listed.length,
      first: listed[rows[0]] ?? "",
      drawn: (rows[1] - rows[0]) * (columns[1] - columns[0]),
      hovered: pane.hovered(state) ?? "",
      pinned: pane.pinned(state) ?? "",
      layer: pane.row(state),
    });
  }

  private listen(): void {
    const { node } = this.viewport;
    node.addEventListener("pointermove", (event) => {
      if (event.pointerType === "touch") return;
      this.pointer = event;
      this.look(this.viewport.under(event), event);
    });
    node.addEventListener("pointerleave", () => this.leave());
    node.addEventListener("blur", () => {
      this.activate(null);
      this.leave();
    });
    node.addEventListener("focus", () => {
      if (node.matches(":focus-visible")) this.go(this.beginning());
    });
    node.addEventListener("click", (event) => {
      const cell = this.viewport.under(event);
      if (cell) this.choose(cell);
    });
    node.addEventListener("keydown", (event) => this.key(event));
  }

  /** Turn to a cell: light up its position everywhere, and show its words beside a point. */
  private look(cell: Cell | null, point: Point): void {
    const position = cell ? (this.listed[cell.row] ?? null) : null;
    if (position !== this.pane.hovered(this.pane.store.get())) this.pane.hover(position);
    if (position !== null && cell!.column >= 0) this.tip.show(cell!.column, position, point);
    else this.tip.hide();
  }

  private leave(): void {
    this.pointer = null;
    this.pane.hover(null);
    this.tip.hide();
  }

  /** Pin the position and go to the layer; choosing the same cell again lets the position go. */
  private choose(cell: Cell): void {
    const { pane } = this;
    const [pinned, layer] = this.pair(pane.store.get());
    const position = this.listed[cell.row];
    if (position !== undefined && (position !== pinned || cell.column < 0 || cell.column === layer)) pane.toggle(position);
    if (cell.column >= 0) pane.goTo(cell.column);
    this.settled = this.pair(pane.store.get());
  }

  private key(event: KeyboardEvent): void {
    if (event.altKey || event.metaKey || this.listed.length === 0) return;
    const from = this.active ?? this.beginning();
    const next = moved(this.viewport.layout, from, event.key, event.ctrlKey);
    if (next) this.go(next);
    else if (event.key === "Enter" || event.key === " ") this.choose(from);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  /** Where keys begin: at the position and layer that the page looks at, else at the top of what is in view. */
  private beginning(): Cell {
    const state = this.pane.store.get();
    const row = this.listed.indexOf(this.pane.focus(state));
    const { rows } = seen(this.viewport.layout, this.viewport.scroll);
    return { row: row < 0 ? rows[0] : row, column: this.pane.row(state) };
  }

  private go(cell: Cell): void {
    if (this.listed.length === 0) return;
    this.pointer = null;
    this.viewport.bring(cell, reveal);
    this.activate(cell);
    this.look(cell, this.viewport.middle(cell));
    this.draw();
  }

  private activate(cell: Cell | null): void {
    this.active = cell;
    this.voice.say(cell, cell ? this.listed[cell.row]! : 0);
  }
}
