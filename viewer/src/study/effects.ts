/** What changes of a pass did to the answer, each beside its control. */

import { rangeOf } from "../drawing/scale";
import { evenAxis } from "../drawing/span";
import { el, named } from "../parts/dom";
import { choice } from "../parts/widgets";
import { visibleText } from "../reading/text";
import type { Row, Study } from "./data";
import { groupsOf } from "./facets";
import { Spans, spanOf, type SpanTable } from "./spans";
import { ALL, groupName, withInterval } from "./telling";

export class Effects {
  readonly node: HTMLElement;
  private readonly spans = new Spans();
  private group = ALL;

  constructor(private readonly study: Study) {
    const title = el("h2", {}, "What changes did");
    const table = study.table("effects");
    const groups = [ALL, ...groupsOf(study).filter((group) => group !== ALL)].map((group) => [group, groupName(group)] as const);
    const select = choice("Group", groups, (group) => {
      this.group = group;
      this.show();
    });
    this.node = named(el("section", { class: "card effects", id: "effects" }), title);
    this.node.append(title, el("div", { class: "controls" }, select), this.spans.node, el("p", { class: "sub" }, table.about));
    this.show();
  }

  draw(): void {
    this.spans.draw();
  }

  private show(): void {
    this.spans.show(effectTable(this.study.table("effects").where({ group: this.group })));
  }
}

function effectTable(rows: readonly Row[]): SpanTable {
  const ends = rows.flatMap((row) => ["effect_low", "effect_high", "control_low", "control_high", "effect"].map((name) => Math.abs(row.number(name))));
  const interval = (row: Row, name: string): string => withInterval(row.number(name), row.number(`${name}_low`), row.number(`${name}_high`));
  return {
    name: "effects", names: 4, ...evenAxis(rangeOf(ends)?.high ?? 1),
    columns: ["change", "model", "lens", "layer", "items", "effect [95%]", "control [95%]", "effect less control [95%]"],
    drawn: "effect; grey: control",
    rows: rows.map((row) => ({
      cells: [
        visibleText(row.text("change")), visibleText(row.text("model")), visibleText(row.text("lens")), row.text("layer") || "–",
        row.text("items"), interval(row, "effect"), interval(row, "control"), interval(row, "difference"),
      ],
      span: { ...spanOf(row, "effect", "effect"), bandLow: row.number("control_low"), bandHigh: row.number("control_high") },
      style: 0,
    })),
  };
}
