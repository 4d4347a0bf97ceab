/** What a part of the page shows now, as something that can be drawn again or written as a table. */

import type { Pen } from "./pen";

export type Cell = string | number;

export interface Sheet {
  /** stem of a file name */
  name: string;
  width: number;
  height: number;
  draw(pen: Pen): void;
  /** first row: names of the columns */
  table(): Cell[][];
}
