/** All tables, to look into and to keep as the very files that lie beside the page. */

import { download } from "../drawing/save";
import { el, named } from "../parts/dom";
import { visibleText } from "../reading/text";
import type { Study, Table } from "./data";
import { counted } from "./telling";

const SHOWN = 100;

export function tablesNode(study: Study): HTMLElement {
  const title = el("h2", {}, "Tables");
  const node = named(el("section", { class: "card tables", id: "tables" }), title);
  const about = "Every figure of this page is in these tables. The same files are in the folder csv beside it.";
  node.append(title, el("p", { class: "sub" }, about), ...study.tables.map(entry));
  return node;
}

function entry(table: Table): HTMLElement {
  const save = el("button", { type: "button", "aria-label": `Save ${table.name}.csv` }, "CSV");
  save.addEventListener("click", () => download(new Blob([table.csv], { type: "text/csv;charset=utf-8" }), `${table.name}.csv`));
  const body = el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": table.name });
  const details = el("details", {}, el("summary", {}, el("strong", {}, table.name), " ", el("small", {}, table.about)), body);
  details.addEventListener("toggle", () => {
    if (details.open && body.childElementCount === 0) body.append(...preview(table));
  });
  return el("div", { class: "table" }, details, save);
}

function preview({ columns, rows }: Table): HTMLElement[] {
  const head = el("tr", {}, ...columns.map((name) => el("th", { scope: "col" }, name)));
  const body = rows.slice(0, SHOWN).map((row) => el("tr", {}, ...columns.map((name) => el("td", { dir: "auto" }, visibleText(row.text(name))))));
  const rest = rows.length > SHOWN ? [el("p", { class: "sub" }, `The first ${SHOWN} of ${counted(rows.length, "row")}.`)] : [];
  return [el("table", {}, el("thead", {}, head), el("tbody", {}, ...body)), ...rest];
}
