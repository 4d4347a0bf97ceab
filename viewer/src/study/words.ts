/** The words that are most often first, layer by layer: a row per layer, shaded by their share of the places. */

import { saveMenu } from "../drawing/save";
import type { Sheet } from "../drawing/sheet";
import { fit, type Pen } from "../drawing/pen";
import { el, named, pieceNode, pieceTitle } from "../parts/dom";
import { choice } from "../parts/widgets";
import { visible, visibleText } from "../reading/text";
import { grouped, type Row, type Study } from "./data";
import { groupsOf } from "./facets";
import { ALL, counted, groupName, told } from "./telling";

const PLACES = [["patches", "at the patches"], ["answer", "where the answer starts"]] as const;
const [LABEL, CELL, LINE, SIZE] = [64, 104, 20, 12];

export class Words {
  readonly node: HTMLElement;
  private readonly scroll = el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Top words by layer" });
  private readonly story = el("p", { class: "sub" });
  private chosen: { model: string; lens: string; group: string; place: string };

  constructor(private readonly study: Study) {
    const groups = [ALL, ...groupsOf(study).filter((group) => group !== ALL)];
    const lenses = study.lenses.map((lens) => [lens, `${visibleText(lens)} lens`] as const);
    this.chosen = { model: study.models[0] ?? "", lens: study.lenses[0] ?? "", group: ALL, place: "patches" };
    const title = el("h2", {}, "Top words");
    const set = (name: string) => (value: string) => {
      this.chosen = { ...this.chosen, [name]: value };
      this.show();
    };
    const controls = el("div", { class: "controls" },
      choice("Place", PLACES, set("place")),
      choice("Model", study.models.map((model) => [model, visibleText(model)] as const), set("model")),
      choice("Lens", lenses, set("lens")),
      choice("Group", groups.map((group) => [group, groupName(group)] as const), set("group")),
    );
    this.node = named(el("section", { class: "card chart words", id: "words" }), title);
    this.node.append(title, controls, this.story, this.scroll, saveMenu("the top words", () => "top-words", () => this.sheet()));
    this.show();
  }

  private rows(): Map<number, Row[]> {
    return grouped(this.study.table("words").where(this.chosen), (row) => row.number("layer"));
  }

  private show(): void {
    const layers = this.rows();
    const ranks = Math.max(0, ...[...layers.values()].map((row) => row.length));
    this.story.textContent = layers.size > 0 ? "How often a word is the first choice there, of all such places of the items; an item with more patches counts more." : "Nothing has been read there.";
    const head = el("tr", {}, el("th", { scope: "col" }, "layer"), ...Array.from({ length: ranks }, (_, i) => el("th", { scope: "col" }, String(i + 1))));
    const body = [...layers].map(([layer, words]) => el("tr", {}, el("th", { scope: "row" }, layerName(layer)), ...words.map(cellOf)));
    const table = el("table", {}, el("thead", {}, head), el("tbody", {}, ...body));
    table.style.setProperty("--ranks", String(ranks));
    this.scroll.replaceChildren(table);
  }

  private sheet(): Sheet {
    const layers = this.rows();
    const ranks = Math.max(1, ...[...layers.values()].map((row) => row.length));
    const [width, height] = [LABEL + ranks * CELL + 8, (layers.size + 1) * LINE + 8];
    const lines = [...layers].flatMap(([layer, words]) =>
      words.map((row) => [layer, row.number("rank"), row.number("token"), row.text("piece"), row.number("cells"), row.number("share")]),
    );
    return {
      name: [this.chosen.model, this.chosen.lens, groupName(this.chosen.group), this.chosen.place].join("-"),
      width,
      height,
      draw: (pen) => drawWords(pen, layers, width, height),
      table: () => [["layer", "rank", "token", "piece", "cells", "share"], ...lines],
    };
  }
}

function layerName(layer: number): string {
  return layer === 0 ? "emb." : String(layer);
}

function cellOf(row: Row): HTMLElement {
  const [piece, share] = [row.text("piece"), row.number("share")];
  const title = `${told(share, "share")}, ${counted(row.number("cells"), "place")} · ${pieceTitle(piece, row.number("token"))}`;
  const cell = el("td", { title }, pieceNode(piece), el("small", {}, told(Number(share.toPrecision(2)), "share")));
  cell.style.setProperty("--strength", Math.sqrt(share).toFixed(3));
  return cell;
}

/** The chart on plain paper. */
function drawWords(pen: Pen, layers: ReadonlyMap<number, readonly Row[]>, width: number, height: number): void {
  pen.rect(0, 0, width, height, "#ffffff");
  const ranks = Math.max(0, ...[...layers.values()].map((words) => words.length));
  for (let rank = 0; rank < ranks; rank++) {
    pen.text(String(rank + 1), LABEL + rank * CELL + 6, LINE / 2 + 4, { size: SIZE, fill: "#61656d" });
  }
  [...layers].forEach(([layer, words], line) => {
    const y = 4 + (line + 1) * LINE;
    pen.text(layerName(layer), LABEL - 8, y + LINE / 2, { size: SIZE, fill: "#61656d", align: "right" });
    words.forEach((row, rank) => {
      const x = LABEL + rank * CELL;
      const share = row.number("share");
      pen.rect(x, y, CELL - 1, LINE - 1, "#7aa3e8", Math.sqrt(share) * 0.8);
      const text = `${visible(row.text("piece"))} ${told(Number(share.toPrecision(2)), "share")}`;
      pen.text(fit(text, CELL - 12, SIZE), x + 6, y + LINE / 2, { size: SIZE, fill: "#1b1c1f" });
    });
  });
}
