/** A scrolling element with one canvas that stays put in it, so that only what is in view is ever drawn. */

import { el } from "../parts/dom";
import { fullSize, layOut, left, LINE, reveal, TOP, top, under, type Cell, type Layout, type Scroll } from "./layout";
import { prepare, type Pen } from "../drawing/pen";

const SCROLLBAR = 17;

export class Viewport {
  readonly node = el("div", { class: "cells", tabindex: 0 });
  /** what stays put */
  readonly view: HTMLElement;
  layout: Layout;
  private readonly canvas = el("canvas", { "aria-hidden": "true" });
  /** as large as all rows and columns, so that the element can be scrolled */
  private readonly whole: HTMLElement;
  private readonly watcher = new ResizeObserver(() => this.resized());

  /** `changed` is called when another part has come into view. */
  constructor(
    mostRows: number,
    private readonly columns: number,
    private readonly paint: (pen: Pen) => void,
    private readonly changed: () => void,
  ) {
    this.layout = layOut(0, columns, 0, 0);
    this.view = el("div", { class: "view" }, this.canvas);
    this.whole = el("div", { class: "whole" }, this.view);
    this.node.append(this.whole);
    this.node.style.maxHeight = `${TOP + LINE * mostRows + SCROLLBAR}px`;
    this.node.addEventListener("scroll", changed, { passive: true });
    this.watcher.observe(this.node);
  }

  get scroll(): Scroll {
    return { left: Math.round(this.node.scrollLeft), top: Math.round(this.node.scrollTop) };
  }

  close(): void {
    this.watcher.disconnect();
  }

  /** Make room for some rows, from the first on. */
  list(rows: number): void {
    this.lay(rows);
    this.node.scrollTop = 0;
  }

  draw(): void {
    const { width, height } = this.layout;
    if (width === 0) return;
    const start = performance.now();
    this.paint(prepare(this.canvas, width, height));
    performance.clearMeasures("patchlens:matrix");
    performance.measure("patchlens:matrix", { start });
  }

  /** Scroll as far as `how` finds needful for a cell. */
  bring(cell: Cell, how: typeof reveal): void {
    this.node.scrollTo({ ...how(this.layout, this.scroll, cell), behavior: "instant" });
  }

  under({ clientX, clientY }: { clientX: number; clientY: number }): Cell | null {
    const bounds = this.view.getBoundingClientRect();
    return under(this.layout, this.scroll, clientX - bounds.left, clientY - bounds.top);
  }

  /** The middle of a cell, on the screen. */
  middle({ row, column }: Cell): { clientX: number; clientY: number } {
    const bounds = this.view.getBoundingClientRect();
    return {
      clientX: bounds.left + left(this.layout, this.scroll, column) + this.layout.cell / 2,
      clientY: bounds.top + top(this.scroll, row) + LINE / 2,
    };
  }

  private resized(): void {
    const { width, height } = this.layout;
    this.lay(this.layout.rows);
    if (this.layout.width !== width || this.layout.height !== height) this.changed();
  }

  private lay(rows: number): void {
    this.layout = layOut(rows, this.columns, this.node.clientWidth, this.node.clientHeight);
    resize(this.whole, fullSize(this.layout));
    resize(this.canvas, this.layout);
  }
}

function resize(element: HTMLElement, { width, height }: { width: number; height: number }): void {
  element.style.width = `${width}px`;
  element.style.height = `${height}px`;
}
