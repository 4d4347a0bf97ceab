/** The part of the matrix that is in view, drawn with a pen: cells, then what marks them, then their headers. */

import { left, LINE, seen, TOP, top, type Cell, type Layout, type Scroll } from "./layout";
import type { Tint } from "./tint";
import { fit, type Pen } from "../drawing/pen";
import type { Reading } from "../reading/reading";
import { holds, rowName } from "./rows";
import { colourOf, isBright } from "../drawing/scale";
import type { Theme } from "../drawing/theme";
import { visible } from "../reading/text";

const SIZE = 12;
const INSET = 5;
const [NUMBER, SMALL_NUMBER, SPACE] = [38, 34, 7];
const [DARK, LIGHT] = ["#17181b", "#ffffff"];

export interface Scene {
  reading: Reading;
  /** positions listed, row by row */
  listed: readonly number[];
  layout: Layout;
  scroll: Scroll;
  tint: Tint | null;
  theme: Theme;
  /** tokens looked for */
  wanted: ReadonlySet<number> | null;
  hovered: number | null;
  pinned: number | null;
  /** column of the layer looked at */
  current: number;
  /** the cell that keys move, while they do */
  active: Cell | null;
}

/** Texts cut to the width of a cell, kept from one drawing to the next. */
const fitted = new Map<string, string>();

export function paint(pen: Pen, scene: Scene): void {
  const { layout, theme } = scene;
  const span = seen(layout, scene.scroll);
  pen.rect(0, 0, layout.width, layout.height, theme.surface);
  for (let row = span.rows[0]; row < span.rows[1]; row++) {
    for (let column = span.columns[0]; column < span.columns[1]; column++) paintCell(pen, scene, { row, column });
  }
  paintMarks(pen, scene);
  pen.rect(0, 0, layout.head - 1, layout.height, theme.surface);
  for (let row = span.rows[0]; row < span.rows[1]; row++) paintRowHead(pen, scene, row);
  pen.rect(0, 0, layout.width, TOP, theme.surface);
  for (let column = span.columns[0]; column < span.columns[1]; column++) paintColumnHead(pen, scene, column);
  paintCorner(pen, scene);
}

function paintCell(pen: Pen, { reading, listed, layout, scroll, tint, theme, wanted }: Scene, { row, column }: Cell): void {
  const position = listed[row]!;
  const [x, y] = [left(layout, scroll, column), top(scroll, row)];
  const share = tint ? tint.share(column, position) : NaN;
  const known = tint && !Number.isNaN(share);
  if (known) pen.rect(x, y, layout.cell - 1, LINE - 1, colourOf(share, tint.palette));
  const fill = !known ? theme.ink : isBright(share, tint.palette) ? DARK : LIGHT;
  const word = cut(visible(reading.piece(reading.topToken(column, position, 0))), layout.cell - 2 * INSET);
  pen.text(word, x + INSET, y + LINE / 2, { size: SIZE, fill });
  if (wanted && holds(reading, wanted, column, position)) pen.frame(x + 1.5, y + 1.5, layout.cell - 4, LINE - 4, fill, 1.5);
}

function paintMarks(pen: Pen, { listed, layout, scroll, theme, hovered, pinned, current, active }: Scene): void {
  const stripe = (x: number, y: number, width: number, height: number, colour: string): void => {
    pen.frame(x, y, width, height, theme.surface, 4);
    pen.frame(x, y, width, height, colour, 2);
  };
  stripe(left(layout, scroll, current) - 0.5, TOP - 4, layout.cell, layout.height + 8, theme.accent);
  for (const [position, colour] of [[pinned, theme.mark], [hovered, theme.ink]] as const) {
    const row = position === null ? -1 : listed.indexOf(position);
    if (row >= 0) stripe(layout.head - 8, top(scroll, row) - 0.5, layout.width + 16, LINE, colour);
  }
  if (active) stripe(left(layout, scroll, active.column), top(scroll, active.row), layout.cell - 1, LINE - 1, theme.accent);
}

function paintRowHead(pen: Pen, { reading, listed, layout, scroll, theme, hovered, pinned }: Scene, row: number): void {
  const position = listed[row]!;
  const y = top(scroll, row);
  const { index, generated } = reading.header.positions;
  if (position === pinned) pen.rect(0, y, layout.head - 1, LINE - 1, theme.mark);
  else if (position === hovered) pen.rect(0, y, layout.head - 1, LINE - 1, theme.line);
  const lit = position === pinned ? theme.surface : null;
  const edge = layout.small ? SMALL_NUMBER : NUMBER;
  const name = cut(rowName(reading, position, layout.small), layout.head - edge - SPACE - INSET);
  pen.text(String(index[position]), edge, y + LINE / 2, { size: SIZE, fill: lit ?? theme.soft, align: "right" });
  pen.text(name, edge + SPACE, y + LINE / 2, { size: SIZE, fill: lit ?? (generated[position] ? theme.accent : theme.ink) });
}

function paintColumnHead(pen: Pen, { reading, layout, scroll, theme, current }: Scene, column: number): void {
  const x = left(layout, scroll, column);
  if (column === current) pen.rect(x, 0, layout.cell - 1, TOP - 1, theme.accent);
  const name = cut(reading.layerName(column).replace("(embeddings)", "emb.").replace("(last)", "last"), layout.cell - 2 * INSET);
  pen.text(name, x + INSET, TOP / 2, { size: SIZE, fill: column === current ? theme.surface : theme.soft, weight: 600 });
}

function paintCorner(pen: Pen, { layout, theme }: Scene): void {
  pen.rect(0, 0, layout.head - 1, TOP, theme.surface);
  pen.text("position", layout.small ? INSET : NUMBER + SPACE, TOP / 2, { size: SIZE, fill: theme.soft });
  pen.line([[0, TOP - 0.5], [layout.width, TOP - 0.5]], theme.line, 1);
}

function cut(text: string, width: number): string {
  const key = `${width} ${text}`;
  const known = fitted.get(key);
  if (known !== undefined) return known;
  const made = fit(text, width, SIZE);
  fitted.set(key, made);
  return made;
}
