/** Building elements: text only ever becomes text nodes and attributes, never markup. */

import { parts, visible } from "./text";

type Attributes = Record<string, string | number | boolean | null>;
type Child = Node | string;

export function el<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === false) continue;
    node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children);
  return node;
}

/** A token piece, isolated from the text around it, its invisible characters named. */
export function pieceNode(piece: string): HTMLElement {
  const node = el("bdi", { class: "piece" });
  for (const part of parts(piece)) {
    node.append(part.style === "plain" ? part.text : el("span", { class: part.style }, part.text));
  }
  return node;
}

/** Tooltip that tells apart pieces which print alike. */
export function pieceTitle(piece: string, id: number): string {
  return `${visible(piece)} · token ${id}`;
}
