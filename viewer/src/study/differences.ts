/** What differs between groups, models and lenses, each difference beside what chance alone would give. */

import { evenAxis } from "../drawing/span";
import { rangeOf } from "../drawing/scale";
import { el, named } from "../parts/dom";
import { choice } from "../parts/widgets";
import { visibleText } from "../reading/text";
import type { Row, Study } from "./data";
import { Spans, type SpanRow } from "./spans";
import { chance, counted, groupName, told, withInterval } from "./telling";

export type Between = "groups" | "models" | "lenses";

export const LEVEL = 0.05;
const KINDS: readonly Between[] = ["groups", "models", "lenses"];
const COLUMNS = ["quantity", "first", "second", "difference [95%]", "effect size", "p", "Holm's p"];
const ANY = "";
/** An interval of few items would leave no room for the others. */
const WIDEST = 1.6;
/** More pairs than these are shown one at a time at first. */
const MOST_PAIRS = 30;

export class Differences {
  readonly node: HTMLElement;
  private readonly controls = el("div", { class: "controls" });
  private readonly filters = el("span", { class: "filters" });
  private readonly story = el("p", {});
  private readonly spans = new Spans();
  private between: Between;
  private wanted: Record<string, string> = {};
  private largestFirst = false;

  constructor(private readonly study: Study) {
    const table = study.table("differences");
    const kinds = KINDS.filter((kind) => table.where({ between: kind }).length > 0);
    this.between = kinds[0] ?? "groups";
    const title = el("h2", {}, "What differs");
    const select = choice("Compared", kinds.map((kind) => [kind, `between ${kind}`] as const), (kind) => this.compare(kind));
    const order = choice("Order", [["as", "as measured"], ["large", "largest effect first"]] as const, (value) => {
      this.largestFirst = value === "large";
      this.show();
    });
    this.controls.append(select, this.filters, order);
    this.node = named(el("section", { class: "card differences", id: "differences" }), title);
    this.node.append(title, this.controls, this.story, this.spans.node, el("p", { class: "sub" }, table.about));
    if (kinds.length > 0) this.compare(this.between);
    else this.node.replaceChildren(title, el("p", {}, "There is nothing to compare: one group, one model, one lens, or no items yet."));
  }

  draw(): void {
    this.spans.draw();
  }

  private compare(between: Between): void {
    this.between = between;
    const rows = this.study.table("differences").where({ between });
    const names = { groups: ["model", "lens"], models: ["lens"], lenses: ["model"] }[between];
    const last = (column: string): string => [...new Set(rows.map((row) => row.text(column)))].find((value) => value !== "") ?? ANY;
    this.wanted = Object.fromEntries(names.map((column) => [column, last(column)]));
    const pairs = new Set(rows.map(pairOf));
    if (pairs.size > MOST_PAIRS) this.wanted.pair = [...pairs][0]!;
    const selects = [...names, "pair"].map((column) => {
      const values = [...new Set(rows.map((row) => (column === "pair" ? pairOf(row) : row.text(column))))].filter((value) => value !== "");
      const all = [ANY, { model: "all models", lens: "all lenses" }[column] ?? "all pairs"] as const;
      const select = choice(column, [...values.map((value) => [value, this.nameOf(column, value)] as const), all], (value) => {
        this.wanted = { ...this.wanted, [column]: value };
        this.show();
      });
      select.value = this.wanted[column] ?? ANY;
      return select;
    });
    this.filters.replaceChildren(...selects);
    this.show();
  }

  private nameOf(column: string, value: string): string {
    if (column === "lens") return `${visibleText(value)} lens`;
    return column === "pair" ? pairName(value, this.between) : visibleText(value);
  }

  private show(): void {
    const all = this.study.table("differences").where({ between: this.between });
    const fits = (row: Row): boolean => Object.entries(this.wanted).every(([column, value]) => {
      const own = column === "pair" ? pairOf(row) : row.text(column);
      // What no lens has a part in belongs to each of them.
      return value === ANY || own === value || (column === "lens" && own === "");
    });
    const rows = all.filter(fits);
    const order = this.study.summaries.map(({ name }) => name);
    const place = (row: Row): number => (this.largestFirst ? -sizeOf(row) : order.indexOf(row.text("quantity")));
    rows.sort((a, b) => place(a) - place(b));
    const reach = rangeOf(rows.flatMap((row) => ["effect", "null_low", "null_high"].map((column) => Math.abs(row.number(column)))))?.high ?? 1;
    const { range, ticks } = evenAxis(Math.max(reach * WIDEST, 1));
    this.story.textContent = storyOf(all, this.between);
    this.spans.show({
      name: `differences between ${this.between}`, columns: COLUMNS, names: 3, grouped: true, range, ticks,
      drawn: "effect size; grey: null",
      rows: rows.map((row) => this.rowOf(row)),
    });
  }

  private rowOf(row: Row): SpanRow {
    const unit = row.text("unit");
    const about = this.study.summaries.find(({ name }) => name === row.text("quantity"))?.about ?? row.text("quantity");
    const places = [row.text("model"), row.text("lens")].map((name, i) => (name && this.wanted[i ? "lens" : "model"] === ANY ? visibleText(name) : ""));
    const [effect, low, high] = ["effect", "effect_low", "effect_high"].map((column) => row.number(column)) as [number, number, number];
    const [first, second] = [row.text("first"), row.text("second")].map((name) => sideName(name, this.between)) as [string, string];
    return {
      cells: [
        [about, ...places.filter(Boolean)].join(" · "),
        `${first}: ${told(row.number("first_mean"), unit)}`,
        `${second}: ${told(row.number("second_mean"), unit)}`,
        withInterval(row.number("difference"), row.number("low"), row.number("high"), unit),
        told(effect),
        chance(row.number("p")),
        chance(row.number("p_holm")),
      ],
      span: { at: effect, low, high, bandLow: row.number("null_low"), bandHigh: row.number("null_high"), strong: stands(row) },
      style: 0,
    };
  }
}

export function stands(row: Row): boolean {
  return row.number("p_holm") < LEVEL;
}

/** How many differences are beyond chance, and how many are not. */
export function storyOf(rows: readonly Row[], between: Between): string {
  const tested = rows.filter((row) => !Number.isNaN(row.number("p_holm")));
  const beyond = tested.filter(stands).length;
  const rest = rows.length - tested.length;
  const few = rest > 0 ? ` ${counted(rest, "comparison")} could not be tested: fewer than two items on a side.` : "";
  const are = (count: number): string => `${count} ${count === 1 ? "is" : "are"}`;
  return `Of ${counted(tested.length, "comparison")} between ${between}, ${are(beyond)} beyond chance (filled dots: Holm's p below ${LEVEL}), ${are(tested.length - beyond)} not (hollow dots).${few}`;
}

function sizeOf(row: Row): number {
  return Math.abs(row.number("effect")) || 0;
}

function pairOf(row: Row): string {
  return JSON.stringify([row.text("first"), row.text("second")]);
}

function pairName(pair: string, between: Between): string {
  return (JSON.parse(pair) as string[]).map((name) => sideName(name, between)).join(" − ");
}

function sideName(name: string, between: Between): string {
  return between === "groups" ? groupName(name) : visibleText(name);
}
