/** Where the cells of the matrix lie: a header row, a first column, and a window over the rest. In CSS pixels. */

export const TOP = 26;
export const LINE = 21;
const [NARROWEST, WIDEST] = [58, 132];
const [HEAD, SMALL_HEAD, SMALL] = [158, 100, 560];

export interface Layout {
  rows: number;
  columns: number;
  /** what is seen at once, header row and first column included */
  width: number;
  height: number;
  /** whether room is so short that the first column is kept narrow */
  small: boolean;
  /** width of the first column */
  head: number;
  /** width of the others */
  cell: number;
}

/** -1 stands for the header row or the first column. */
export interface Cell {
  row: number;
  column: number;
}

export interface Scroll {
  left: number;
  top: number;
}

/** Columns share the room there is, as long as words can still be read in them. */
export function layOut(rows: number, columns: number, width: number, height: number): Layout {
  const small = width < SMALL;
  const head = small ? SMALL_HEAD : HEAD;
  const cell = Math.min(Math.max(Math.floor((width - head) / columns), NARROWEST), WIDEST);
  const whole = { rows, columns, width, height, small, head, cell };
  const full = fullSize(whole);
  return { ...whole, width: Math.min(width, full.width), height: Math.min(height, full.height) };
}

/** Size of the whole matrix, most of it out of view. */
export function fullSize({ rows, columns, head, cell }: Layout): { width: number; height: number } {
  return { width: head + columns * cell, height: TOP + rows * LINE };
}

export function left({ head, cell }: Layout, scroll: Scroll, column: number): number {
  return head + column * cell - scroll.left;
}

export function top(scroll: Scroll, row: number): number {
  return TOP + row * LINE - scroll.top;
}

/** Rows and columns of which at least a part is in view: from, and up to but without. */
export function seen(layout: Layout, scroll: Scroll): { rows: [number, number]; columns: [number, number] } {
  return {
    rows: span(scroll.top, layout.height - TOP, LINE, layout.rows),
    columns: span(scroll.left, layout.width - layout.head, layout.cell, layout.columns),
  };
}

function span(start: number, room: number, size: number, count: number): [number, number] {
  const first = Math.min(Math.max(Math.floor(start / size), 0), count);
  return [first, Math.max(Math.min(Math.ceil((start + room) / size), count), first)];
}

/** What lies under a point of the view; null beside the matrix. */
export function under(layout: Layout, scroll: Scroll, x: number, y: number): Cell | null {
  const column = x < layout.head ? -1 : Math.floor((x - layout.head + scroll.left) / layout.cell);
  const row = y < TOP ? -1 : Math.floor((y - TOP + scroll.top) / LINE);
  const inside = x >= 0 && y >= 0 && x < layout.width && y < layout.height;
  return inside && row < layout.rows && column < layout.columns ? { row, column } : null;
}

/** The scroll, moved no more than a cell needs to be wholly in view; an index of -1 needs nothing. */
export function reveal(layout: Layout, scroll: Scroll, { row, column }: Cell): Scroll {
  return {
    left: column < 0 ? scroll.left : nearest(scroll.left, column * layout.cell, layout.cell, layout.width - layout.head),
    top: row < 0 ? scroll.top : nearest(scroll.top, row * LINE, LINE, layout.height - TOP),
  };
}

/** The same, but what was out of view comes to the middle, with its neighbours around it. */
export function centre(layout: Layout, scroll: Scroll, cell: Cell): Scroll {
  const near = reveal(layout, scroll, cell);
  const middle = (start: number, size: number, room: number): number => Math.max(Math.round(start + (size - room) / 2), 0);
  return {
    left: near.left === scroll.left ? near.left : middle(cell.column * layout.cell, layout.cell, layout.width - layout.head),
    top: near.top === scroll.top ? near.top : middle(cell.row * LINE, LINE, layout.height - TOP),
  };
}

function nearest(scroll: number, start: number, size: number, room: number): number {
  return Math.min(Math.max(scroll, start + size - room), start);
}

/** Where a key leads from a cell; null for keys that move nothing. */
export function moved(layout: Layout, { row, column }: Cell, key: string, far: boolean): Cell | null {
  const page = Math.max(Math.floor((layout.height - TOP) / LINE) - 1, 1);
  const steps: Record<string, Cell> = {
    ArrowUp: { row: row - 1, column },
    ArrowDown: { row: row + 1, column },
    ArrowLeft: { row, column: column - 1 },
    ArrowRight: { row, column: column + 1 },
    PageUp: { row: row - page, column },
    PageDown: { row: row + page, column },
    Home: { row: far ? 0 : row, column: 0 },
    End: { row: far ? layout.rows - 1 : row, column: layout.columns - 1 },
  };
  const next = steps[key];
  if (!next) return null;
  return { row: within(next.row, layout.rows), column: within(next.column, layout.columns) };
}

function within(index: number, count: number): number {
  return Math.min(Math.max(index, 0), count - 1);
}

const GAP = 14;

/** Where a box goes beside a point: to its lower right, else on the other side, and never out of the room. */
export function beside(point: number, size: number, room: number): number {
  const after = point + GAP;
  return after + size <= room ? after : Math.max(Math.min(point - GAP - size, room - size), 0);
}
