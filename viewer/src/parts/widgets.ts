/** Small controls that several parts use. */

import { colourOf, type Palette } from "../drawing/scale";
import type { Measure } from "../state/store";
import { el } from "./dom";

export const MEASURES: readonly (readonly [Measure, string])[] = [
  ["logprob", "log-probability"],
  ["probability", "probability"],
  ["rank", "rank"],
];

/** Names of the colours that tell series apart. */
export const SERIES: readonly string[] = Array.from({ length: 7 }, (_, i) => `series-${i}`);

/** The last of them, plain ink: for what is several series together. */
export const MIXED = SERIES.length - 1;

/** A drop-down list of named values. */
export function choice<T extends string>(
  label: string,
  values: readonly (readonly [T, string])[],
  chosen: (value: T) => void,
): HTMLSelectElement {
  const select = el("select", { "aria-label": label }, ...values.map(([value, name]) => el("option", { value }, name)));
  select.addEventListener("change", () => chosen(select.value as T));
  return select;
}

/** The colour scale as a strip, from low to high. */
export function ramp(palette: Palette): HTMLElement {
  const node = el("span", { class: "ramp", role: "img", "aria-label": "from low to high" });
  const stops = Array.from({ length: 9 }, (_, i) => colourOf(i / 8, palette));
  node.style.background = `linear-gradient(to right, ${stops.join(", ")})`;
  return node;
}
