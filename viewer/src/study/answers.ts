/** How often answers are right, how long and how varied they are. */

import { amountAxis } from "../drawing/axis";
import { el, named } from "../parts/dom";
import { MIXED } from "../parts/widgets";
import { visibleText } from "../reading/text";
import type { Row, Study } from "./data";
import { Spans, spanOf } from "./spans";
import { ALL, groupName, told, withInterval } from "./telling";

const SHARE = "share";

export class Answers {
  readonly node: HTMLElement;
  private readonly spans = new Spans();

  constructor(study: Study) {
    const title = el("h2", {}, "Answers");
    const table = study.table("answers");
    this.node = named(el("section", { class: "card answers", id: "answers" }), title);
    this.node.append(title, this.spans.node, el("p", { class: "sub" }, table.about));
    const { range, ticks } = amountAxis("", { low: 0, high: 1 }, true);
    this.spans.show({
      name: "answers", names: 2, range, ticks,
      columns: ["model", "group", "items", "right", "length in tokens", "different answers", "type-token ratio"],
      drawn: "share of right answers",
      rows: inOrder(table.rows, study).map(({ row, style }) => ({ cells: answerCells(row), span: spanOf(row, "right", "right"), style })),
    });
  }

  draw(): void {
    this.spans.draw();
  }
}

function answerCells(row: Row): string[] {
  return [
    visibleText(row.text("model")),
    groupName(row.text("group")),
    row.text("items"),
    withInterval(row.number("right"), row.number("right_low"), row.number("right_high"), SHARE),
    withInterval(row.number("tokens"), row.number("tokens_low"), row.number("tokens_high")),
    `${row.text("different")} (${told(row.number("variety"), SHARE)})`,
    told(row.number("type_token_ratio")),
  ];
}

/** Rows by model and group as the study names them, all items last; with the colour of their group. */
function inOrder(rows: readonly Row[], study: Study): { row: Row; style: number }[] {
  const groups = [...study.groups, ALL];
  const place = (row: Row): number => study.models.indexOf(row.text("model")) * groups.length + groups.indexOf(row.text("group"));
  const sorted = [...rows].sort((a, b) => place(a) - place(b));
  return sorted.map((row) => ({ row, style: row.text("group") === ALL ? MIXED : groups.indexOf(row.text("group")) }));
}
