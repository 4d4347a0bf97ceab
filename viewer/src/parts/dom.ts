/** Building elements: text only ever becomes text nodes and attributes, never markup. */

import { parts, visible } from "../reading/text";

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

let count = 0;

/** A section that is named by a heading inside it. */
export function named(section: HTMLElement, title: HTMLElement): HTMLElement {
  title.id = `patchlens-title-${++count}`;
  section.setAttribute("aria-labelledby", title.id);
  return section;
}

const FOCUSABLE = "button, input, select, [tabindex]";

/** Make a part anew without taking the focus from who stands in it: it goes to the same place of the new part. */
export function keepingFocus(part: HTMLElement, remake: () => void): void {
  const root = part.getRootNode();
  const active = root instanceof Document || root instanceof ShadowRoot ? root.activeElement : null;
  const held = active ? [...part.querySelectorAll(FOCUSABLE)].indexOf(active) : -1;
  remake();
  if (held < 0) return;
  const now = [...part.querySelectorAll<HTMLElement>(FOCUSABLE)];
  now[Math.min(held, now.length - 1)]?.focus({ preventScroll: true });
}
