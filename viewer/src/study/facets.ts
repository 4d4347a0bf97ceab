/** Which curves stand together: a small chart per model and lens, or per what is not told apart by its lines. */

import { amountAxis, type Axis } from "../drawing/axis";
import { rangeOf, type Range } from "../drawing/scale";
import type { PlotLine } from "../drawing/plot";
import { visibleText } from "../reading/text";
import { grouped, type Row, type Study } from "./data";
import { ALL, groupName, isPercent } from "./telling";

/** What the lines of a chart stand for. */
export type By = "group" | "model" | "lens";

export interface Choice {
  quantity: string;
  by: By;
  /** whose curves are shown where lines are not groups */
  group: string;
}

export interface Line extends PlotLine {
  /** by row: how many items the mean is of, 0 where there is none */
  items: readonly number[];
}

export interface Facet {
  title: string;
  layers: readonly number[];
  lines: readonly Line[];
}

/** Measured without any lens, so that the one that tells of most items stands for all. */
const WITHOUT_LENS = new Set(["attention_image"]);

export function facetsOf(study: Study, choice: Choice): Facet[] {
  const free = WITHOUT_LENS.has(choice.quantity);
  const all = study.table("curves").where({ quantity: choice.quantity });
  const rows = free ? fullest(all) : all;
  const names: Record<By, readonly string[]> = { group: groupsOf(study), model: study.models, lens: study.lenses };
  const wanted = rows.filter((row) => choice.by === "group" || row.text("group") === choice.group);
  const apart = (["model", "lens"] as const).filter((column) => column !== choice.by && !(free && column === "lens"));
  const combinations = apart.reduce<string[][]>((all, column) => all.flatMap((one) => names[column].map((name) => [...one, name])), [[]]);
  return combinations.flatMap((values) => {
    const own = wanted.filter((row) => apart.every((column, i) => row.text(column) === values[i]));
    const facet = facetOf(own, choice.by, names[choice.by]);
    const title = values.map((value, i) => (apart[i] === "lens" ? `${visibleText(value)} lens` : visibleText(value))).join(" · ");
    return facet.lines.length > 0 ? [{ ...facet, title: title || visibleText(study.name) }] : [];
  });
}

/** The groups that lines are drawn for: all items together only where there is no other. */
export function groupsOf(study: Study): readonly string[] {
  return study.groups.length > 0 ? study.groups : [ALL];
}

/** One axis for all facets, so that they can be compared; a band has no more room beyond the means than they take. */
export function axisOf(facets: readonly Facet[], name: string, unit: string): Axis {
  const lines = facets.flatMap((facet) => facet.lines);
  const means = rangeOf(lines.flatMap(({ heights }) => heights));
  const bands = rangeOf(lines.flatMap(({ band }) => [...band!.low, ...band!.high]));
  return amountAxis(isPercent(unit) ? name : `${name} (${unit})`, means && bands ? around(means, bands) : means, isPercent(unit));
}

function around(means: Range, bands: Range): Range {
  const room = Math.max(means.high, 0) - Math.min(means.low, 0) || Infinity;
  return { low: Math.min(means.low, Math.max(bands.low, means.low - room)), high: Math.max(means.high, Math.min(bands.high, means.high + room)) };
}

/** Of each model, the rows of the lens that tells of most items. */
function fullest(rows: readonly Row[]): Row[] {
  const told = (own: readonly Row[]): number => own.reduce((sum, row) => sum + row.number("items"), 0);
  return [...grouped(rows, (row) => row.text("model")).values()].flatMap((own) => {
    const lenses = [...grouped(own, (row) => row.text("lens")).values()];
    return lenses.reduce((best, some) => (told(some) > told(best) ? some : best));
  });
}

function facetOf(rows: readonly Row[], by: By, names: readonly string[]): Omit<Facet, "title"> {
  const layers = [...new Set(rows.map((row) => row.number("layer")))].sort((a, b) => a - b);
  const lines = names.flatMap((name, style) => {
    const own = new Map(rows.filter((row) => row.text(by) === name).map((row) => [row.number("layer"), row]));
    if (own.size === 0) return [];
    const column = (of: string): number[] => layers.map((layer) => own.get(layer)?.number(of) ?? NaN);
    const band = { low: column("low"), high: column("high") };
    const items = column("items").map((count) => count || 0);
    return [{ name: by === "group" ? groupName(name) : visibleText(name), heights: column("mean"), enters: -1, style, band, items }];
  });
  return { layers, lines };
}
