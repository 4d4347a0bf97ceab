/** What was asked, what was answered, and by which model. */

import { el } from "./dom";
import type { Header } from "../reading/payload";
import { visibleText } from "../reading/text";

/** What tells several readings apart. */
export function letter(index: number): string {
  return String.fromCharCode(65 + index);
}

/** `name` is the reading's letter where there are several, else empty. */
export function heading(header: Header, name: string): HTMLElement {
  const { model, answer } = header;
  const facts = [model.name, model.revision && `revision ${model.revision}`, model.dtype, `${header.lens} lens`];
  const line = el("p", { class: "model" }, facts.filter(Boolean).map(visibleText).join(" · "));
  if (name) line.prepend(el("span", { class: "letter" }, name));
  const node = el("header", {}, line, el("h1", { dir: "auto" }, visibleText(header.prompt)));
  const said = answer.tokens.length > 0 ? visibleText(answer.text) || "(nothing)" : "no answer was asked for";
  node.append(el("p", { class: "answer", dir: "auto" }, said));
  if (header.notes.length > 0) {
    node.append(el("ul", { class: "notes" }, ...header.notes.map((text) => el("li", { dir: "auto" }, visibleText(text)))));
  }
  return node;
}
