/** Colours of the style sheet as a canvas needs them: without variables and `light-dark()`. */

import { el } from "../parts/dom";

export type Scheme = "light" | "dark";

export interface Theme {
  ink: string;
  soft: string;
  line: string;
  surface: string;
  accent: string;
  mark: string;
}

/** The page's colours where this element stands; for a drawing on paper, those of a scheme. */
export function themeOf(element: HTMLElement, scheme?: Scheme): Theme {
  const [ink, soft, line, surface, accent, mark] = coloursOf(element, ["ink", "soft", "line", "surface", "accent", "mark"], scheme);
  return { ink: ink!, soft: soft!, line: line!, surface: surface!, accent: accent!, mark: mark! };
}

/** Values of colour variables of the style sheet, by their names without `--`. */
export function coloursOf(element: HTMLElement, names: readonly string[], scheme?: Scheme): string[] {
  const probe = el("span", { hidden: true });
  if (scheme) probe.style.colorScheme = scheme;
  element.append(probe);
  const colours = names.map((name) => {
    probe.style.color = `var(--${name})`;
    return getComputedStyle(probe).color;
  });
  probe.remove();
  return colours;
}
