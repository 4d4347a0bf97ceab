/** What a screen reader finds in place of the drawn cells: the header, and the one cell that keys have reached. */

import { el } from "../parts/dom";
import type { Cell } from "./layout";
import { placeName } from "../reading/place";
import type { Reading } from "../reading/reading";
import { percent, visible } from "../reading/text";

let count = 0;

export class Voice {
  readonly node = el("div", { class: "unseen" });
  private readonly line = el("div", { role: "row", hidden: true });
  private readonly id = `patchlens-cell-${++count}`;

  constructor(
    private readonly grid: HTMLElement,
    private readonly reading: Reading,
  ) {
    const heads = Array.from({ length: reading.nLayers }, (_, row) => reading.layerName(row));
    const head = ["position", ...heads].map((name, i) => el("span", { role: "columnheader", "aria-colindex": i + 1 }, name));
    this.node.append(el("div", { role: "row", "aria-rowindex": 1 }, ...head), this.line);
    grid.setAttribute("role", "grid");
    grid.setAttribute("aria-colcount", String(reading.nLayers + 1));
  }

  list(rows: number): void {
    this.grid.setAttribute("aria-rowcount", String(rows + 1));
  }

  /** Say a cell; its column is a layer's row in the reading. */
  say(cell: Cell | null, position: number): void {
    this.line.replaceChildren();
    this.line.hidden = !cell;
    if (!cell) return this.grid.removeAttribute("aria-activedescendant");
    const { reading } = this;
    const place = placeName(reading, position);
    const word = visible(reading.piece(reading.topToken(cell.column, position, 0)));
    const sure = percent(reading.topLogprob(cell.column, position, 0));
    this.line.setAttribute("aria-rowindex", String(cell.row + 2));
    this.line.append(
      el("span", { role: "rowheader", "aria-colindex": 1 }, place),
      el(
        "span",
        { role: "gridcell", id: this.id, "aria-colindex": cell.column + 2 },
        `${place}, layer ${reading.layerName(cell.column)}: ${word} ${sure}`,
      ),
    );
    this.grid.setAttribute("aria-activedescendant", this.id);
  }
}
