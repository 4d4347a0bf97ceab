/** Names and numbers of a study in words. */

import { amount, visibleText } from "../reading/text";

export const ALL = "*";
/** all groups but the one compared with them */
export const REST = "*others";
const PERCENT = new Set(["share", "probability", "share of the layers"]);

export function groupName(group: string): string {
  if (group === ALL) return "all items";
  if (group === REST) return "all others";
  return group === "" ? "no group" : visibleText(group);
}

export function isPercent(unit: string): boolean {
  return PERCENT.has(unit);
}

/** A number in its unit; a dash where it is not known. */
export function told(value: number, unit = ""): string {
  if (Number.isNaN(value)) return "–";
  return isPercent(unit) ? `${amount(100 * value)}%` : amount(value);
}

/** A number with its interval, if it has one. */
export function withInterval(value: number, low: number, high: number, unit = ""): string {
  return Number.isNaN(low) || Number.isNaN(high) ? told(value, unit) : `${told(value, unit)} [${told(low, unit)}, ${told(high, unit)}]`;
}

/** A probability of a test. */
export function chance(p: number): string {
  if (Number.isNaN(p)) return "–";
  return p < 0.001 ? p.toExponential(0).replace("e", "·10").replace(/-(\d+)$/, (_, digits: string) => `⁻${raised(digits)}`) : p.toFixed(3);
}

function raised(digits: string): string {
  return [...digits].map((digit) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[Number(digit)]).join("");
}

/** "3 items", "1 item". */
export function counted(count: number, thing: string): string {
  return `${count.toLocaleString("en")} ${thing}${count === 1 ? "" : "s"}`;
}
