/** What the study is, how far it is, and what must be known before its figures are read. */

import { el } from "../parts/dom";
import { visibleText } from "../reading/text";
import type { Study } from "./data";
import { counted } from "./telling";

const FAILURES = 20;

export function headNode(study: Study, sections: readonly HTMLElement[]): HTMLElement {
  const items = Math.max(0, ...study.progress.map(([, wanted]) => wanted));
  const facts = [counted(study.models.length, "model"), study.lenses.length === 1 ? "1 lens" : `${study.lenses.length} lenses`, counted(study.groups.length, "group"), counted(items, "item")];
  const links = sections.map((section) => el("a", { href: `#${section.id}` }, section.querySelector("h2")!.textContent));
  const node = el("header", {}, el("p", { class: "model" }, "study"), el("h1", { dir: "auto" }, visibleText(study.name)), el("p", { class: "facts-line" }, facts.join(" · ")));
  node.append(el("ul", { class: "progress" }, ...study.progress.map(progressNode)));
  if (study.notes.length > 0) node.append(el("ul", { class: "warnings" }, ...study.notes.map((note) => el("li", { dir: "auto" }, visibleText(note)))));
  const failures = failuresNode(study);
  if (failures) node.append(failures);
  node.append(el("nav", { "aria-label": "Parts of this page" }, ...links));
  return node;
}

function progressNode([model, wanted, done, failed]: Study["progress"][number]): HTMLElement {
  const missing = Math.max(wanted - done - failed, 0);
  const part = (kind: string, count: number): HTMLElement => {
    const node = el("span", { class: kind });
    node.style.flexGrow = String(count);
    return node;
  };
  const bar = el("span", { class: "progress-bar", "aria-hidden": "true" }, part("done", done), part("failed", failed), part("missing", missing));
  const rest = [failed > 0 && `${failed} failed`, missing > 0 && `${missing} not read yet`].filter((text) => text !== false);
  return el("li", {}, el("bdi", {}, visibleText(model)), bar, el("small", {}, [`${done} of ${wanted} read`, ...rest].join(", ")));
}

function failuresNode(study: Study): HTMLElement | null {
  const { rows } = study.table("failures");
  if (rows.length === 0) return null;
  const list = rows.slice(0, FAILURES).map((row) =>
    el("li", { dir: "auto" }, el("strong", {}, visibleText(row.text("item"))), ` (${visibleText(row.text("model"))}): ${visibleText(row.text("error"))}`),
  );
  const rest = rows.length > FAILURES ? [el("li", {}, `and ${rows.length - FAILURES} more, in the table of failures`)] : [];
  return el("details", { class: "failures" }, el("summary", {}, `Why ${counted(rows.length, "reading")} failed`), el("ul", {}, ...list, ...rest));
}
