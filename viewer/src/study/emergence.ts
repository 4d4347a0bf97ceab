/** When things first happen over the layers: for how many items, and where in those. */

import { layerTicks } from "../drawing/axis";
import { rangeOf } from "../drawing/scale";
import { el, named } from "../parts/dom";
import { choice, MIXED } from "../parts/widgets";
import { visibleText } from "../reading/text";
import type { Row, Study } from "./data";
import { Spans } from "./spans";
import { ALL, groupName, told, withInterval } from "./telling";

const COLUMNS = ["model", "lens", "group", "items", "never", "layer, mean [95%]", "median"];
const FIRST = "answer_leads";

export class Emergence {
  readonly node: HTMLElement;
  private readonly spans = new Spans();

  constructor(private readonly study: Study) {
    const title = el("h2", {}, "When it emerges");
    const table = study.table("emergence");
    const known = new Set(table.rows.map((row) => row.text("event")));
    const events = study.quantities.filter(({ name }) => known.has(name)).map(({ name, about }) => [name, about] as const);
    const select = choice("What emerges", events, (event) => this.show(event));
    this.node = named(el("section", { class: "card emergence", id: "emergence" }), title);
    this.node.append(title, el("div", { class: "controls" }, el("label", {}, "the layer where ", select)), this.spans.node);
    this.node.append(el("p", { class: "sub" }, table.about));
    if (events.length === 0) {
      this.node.replaceChildren(title, el("p", {}, "Nothing has been read yet."));
      return;
    }
    select.value = known.has(FIRST) ? FIRST : events[0]![0];
    this.show(select.value);
  }

  draw(): void {
    this.spans.draw();
  }

  private show(event: string): void {
    const rows = this.study.table("emergence").where({ event });
    const layers = [...new Set(this.study.table("curves").rows.map((row) => row.number("layer")))].sort((a, b) => a - b);
    const order = [...this.study.groups, ALL];
    const place = (row: Row): number[] => [this.study.models.indexOf(row.text("model")), this.study.lenses.indexOf(row.text("lens")), order.indexOf(row.text("group"))];
    const sorted = rows.map((row) => ({ row, at: place(row) })).sort((a, b) => a.at.reduce((so, value, i) => so || value - b.at[i]!, 0));
    this.spans.show({
      name: "emergence", columns: COLUMNS, names: 3,
      range: rangeOf(layers) ?? { low: 0, high: 1 },
      ticks: layerTicks(layers, 8),
      drawn: "layer; grey: middle half",
      rows: sorted.map(({ row, at }) => ({
        cells: [
          visibleText(row.text("model")), visibleText(row.text("lens")), groupName(row.text("group")),
          row.text("items"), row.text("never"),
          withInterval(row.number("layer_mean"), row.number("layer_low"), row.number("layer_high")),
          told(row.number("layer_median")),
        ],
        span: {
          at: row.number("layer_mean"), low: row.number("layer_low"), high: row.number("layer_high"),
          bandLow: row.number("layer_q25"), bandHigh: row.number("layer_q75"), strong: true,
        },
        style: row.text("group") === ALL ? MIXED : at[2]!,
      })),
    });
  }
}
