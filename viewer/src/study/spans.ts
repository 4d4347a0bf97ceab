/** Rows of values with their intervals, each drawn on one scale between its names and its numbers. */

import type { Tick } from "../drawing/axis";
import { emWidth, fit, prepare, type Pen } from "../drawing/pen";
import { saveMenu } from "../drawing/save";
import type { Range } from "../drawing/scale";
import type { Cell, Sheet } from "../drawing/sheet";
import { drawSpan, drawSpanAxis, type Place, type Span } from "../drawing/span";
import { coloursOf, themeOf, type Scheme } from "../drawing/theme";
import { el } from "../parts/dom";
import { SERIES } from "../parts/widgets";
import type { Row } from "./data";

export interface SpanRow {
  cells: readonly string[];
  span: Span;
  /** number that chooses the colour */
  style: number;
}

export interface SpanTable {
  /** stem of a file's name, and what is saved */
  name: string;
  columns: readonly string[];
  /** how many of the first columns are text, not numbers */
  names: number;
  /** whether rows that follow each other share their first cell where it is the same */
  grouped?: boolean;
  /** what the drawn column shows */
  drawn: string;
  rows: readonly SpanRow[];
  range: Range;
  ticks: readonly Tick[];
}

const [WIDTH, HEIGHT, LINE] = [240, 24, 26];
const [WIDEST, GAP, SIZE] = [360, 16, 12];

export class Spans {
  readonly node = el("div", { class: "spans" });
  private shown: SpanTable | null = null;
  private canvases: HTMLCanvasElement[] = [];

  show(table: SpanTable): void {
    this.shown = table;
    this.canvases = [null, ...table.rows].map(() => canvas());
    const head = table.columns.map((name, i) => el("th", { scope: "col", class: i < table.names ? null : "number" }, name));
    head.splice(table.names, 0, el("th", { scope: "col", class: "drawn" }, el("span", {}, table.drawn), this.canvases[0]!));
    const body = table.rows.map((row, i) => {
      const cells = cellsOf(table, i);
      cells.splice(cells.length - (table.columns.length - table.names), 0, el("td", { class: "drawn" }, this.canvases[i + 1]!));
      return el("tr", { class: row.span.strong ? "strong" : null }, ...cells);
    });
    const made = el("table", {}, el("thead", {}, el("tr", {}, ...head)), el("tbody", {}, ...body));
    const scroll = el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": table.name }, made);
    this.node.replaceChildren(scroll, saveMenu(table.name, () => table.name, () => this.sheet(table)));
    this.draw();
  }

  draw(): void {
    const table = this.shown;
    if (!table || !this.node.isConnected) return;
    const theme = themeOf(this.node);
    const colours = coloursOf(this.node, SERIES);
    const place = { x: 0, y: 0, width: WIDTH, height: HEIGHT };
    this.canvases.forEach((node, i) => {
      const pen = prepare(node, WIDTH, HEIGHT);
      if (i === 0) return drawSpanAxis(pen, table.ticks, table.range, place, theme);
      const { span, style } = table.rows[i - 1]!;
      drawSpan(pen, span, table.range, place, theme, colours[style % colours.length]!);
    });
  }

  private sheet(table: SpanTable): Sheet {
    const lefts = leftsOf(table);
    const [width, height] = [lefts.at(-1)! + WIDTH + 8, (table.rows.length + 1) * LINE + 12];
    const rows = table.rows.map(({ cells, span }): Cell[] => [...cells, span.at, span.low, span.high, span.bandLow, span.bandHigh]);
    return {
      name: "table",
      width,
      height,
      draw: (pen) => {
        pen.rect(0, 0, width, height, themeOf(this.node, "light").surface);
        this.paint(pen, table, lefts, "light");
      },
      table: () => [[...table.columns, table.drawn, "low", "high", "band_low", "band_high"], ...rows],
    };
  }

  private paint(pen: Pen, table: SpanTable, lefts: readonly number[], scheme: Scheme): void {
    const theme = themeOf(this.node, scheme);
    const colours = coloursOf(this.node, SERIES, scheme);
    const write = (cells: readonly string[], y: number, fill: string): void =>
      cells.forEach((text, i) => pen.text(fit(text, WIDEST, SIZE), lefts[i]!, y + LINE / 2, { size: SIZE, fill }));
    const place = (y: number): Place => ({ x: lefts.at(-1)!, y, width: WIDTH, height: HEIGHT });
    write(table.columns, 4, theme.soft);
    drawSpanAxis(pen, table.ticks, table.range, place(4), theme);
    table.rows.forEach(({ cells, span, style }, i) => {
      const y = 4 + (i + 1) * LINE;
      write(cells, y, theme.ink);
      drawSpan(pen, span, table.range, place(y), theme, colours[style % colours.length]!);
    });
  }
}

/** Where each column of a saved table begins, and the drawn one after them. */
function leftsOf({ columns, rows }: SpanTable): number[] {
  const lefts = [8];
  columns.forEach((name, i) => {
    const widest = Math.max(...[name, ...rows.map(({ cells }) => cells[i]!)].map((text) => emWidth(text) * SIZE));
    lefts.push(lefts[i]! + Math.min(widest, WIDEST) + GAP);
  });
  return lefts;
}

/** A row's value and interval as a span, by names of columns: `at`, and `ends` before "_low" and "_high". */
export function spanOf(row: Row, at: string, ends: string): Span {
  return { at: row.number(at), low: row.number(`${ends}_low`), high: row.number(`${ends}_high`), bandLow: NaN, bandHigh: NaN, strong: true };
}

/** The cells of a row; a first cell stands once for all rows below that have the same, where rows are grouped. */
function cellsOf({ rows, names, grouped }: SpanTable, i: number): HTMLElement[] {
  const [first, ...others] = rows[i]!.cells as [string, ...string[]];
  const same = (row: SpanRow | undefined): boolean => grouped === true && row?.cells[0] === first;
  const next = rows.findIndex((row, at) => at > i && !same(row));
  const length = grouped ? (next < 0 ? rows.length : next) - i : 1;
  const head = el("th", length > 1 ? { scope: "rowgroup", rowspan: length, dir: "auto" } : { scope: "row", dir: "auto" }, first);
  const cells = others.map((text, at) => el("td", at + 1 < names ? { dir: "auto" } : { class: "number" }, text));
  return same(rows[i - 1]) ? cells : [head, ...cells];
}

function canvas(): HTMLCanvasElement {
  const node = el("canvas", { "aria-hidden": "true" });
  node.style.width = `${WIDTH}px`;
  node.style.height = `${HEIGHT}px`;
  return node;
}
