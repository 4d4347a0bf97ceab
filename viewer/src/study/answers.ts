/** How often answers are right, how long and how varied they are; and what changes of a pass did to them. */

import { amountAxis } from "../drawing/axis";
import { rangeOf } from "../drawing/scale";
import { evenAxis, type Span } from "../drawing/span";
import { el, named } from "../parts/dom";
import { choice } from "../parts/widgets";
import { visibleText } from "../reading/text";
import type { Row, Study } from "./data";
import { groupsOf } from "./facets";
import { Spans, type SpanTable } from "./spans";
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

function spanOf(row: Row, at: string, ends: string): Span {
  return { at: row.number(at), low: row.number(`${ends}_low`), high: row.number(`${ends}_high`), bandLow: NaN, bandHigh: NaN, strong: true };
}

/** Rows by model and group as the study names them, all items last; with the colour of their group. */
function inOrder(rows: readonly Row[], study: Study): { row: Row; style: number }[] {
  const groups = [...study.groups, ALL];
  const place = (row: Row): number => study.models.indexOf(row.text("model")) * groups.length + groups.indexOf(row.text("group"));
  const sorted = [...rows].sort((a, b) => place(a) - place(b));
  return sorted.map((row) => ({ row, style: row.text("group") === ALL ? MIXED : groups.indexOf(row.text("group")) }));
}

/** The last of the series' colours, that of plain ink. */
export const MIXED = 6;
