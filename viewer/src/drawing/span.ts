/** A value with its interval on a line, before a grey band of what else could be. */

import { amountAxis, type Tick } from "./axis";
import type { Pen } from "./pen";
import { shareOf, type Range } from "./scale";
import type { Theme } from "./theme";

export interface Span {
  at: number;
  /** NaN where there is no interval */
  low: number;
  high: number;
  /** NaN where there is none */
  bandLow: number;
  bandHigh: number;
  /** whether the value is drawn full, else hollow */
  strong: boolean;
}

export interface Place {
  x: number;
  y: number;
  width: number;
  height: number;
}

const [RADIUS, EDGE, SIZE] = [4.5, 18, 11];

/** Draw a span within a place; what lies beyond the range ends at its edge with an arrow. */
export function drawSpan(pen: Pen, span: Span, range: Range, place: Place, theme: Theme, colour: string): void {
  const middle = place.y + place.height / 2;
  const x = scaleOf(range, place);
  if (!Number.isNaN(span.bandLow)) {
    const left = x(span.bandLow);
    pen.rect(left, place.y + 3, Math.max(x(span.bandHigh) - left, 1), place.height - 6, theme.soft, 0.22);
  }
  if (range.low < 0) pen.line([[x(0), place.y], [x(0), place.y + place.height]], theme.soft, 1);
  if (Number.isNaN(span.at)) return;
  if (!Number.isNaN(span.low)) {
    pen.line([[x(span.low), middle], [x(span.high), middle]], colour, 2);
    for (const [end, beyond, sign] of [[span.low, span.low < range.low, 1], [span.high, span.high > range.high, -1]] as const) {
      if (beyond) pen.line([[x(end) + 4 * sign, middle - 4], [x(end), middle], [x(end) + 4 * sign, middle + 4]], colour, 2);
      else pen.line([[x(end), middle - 4], [x(end), middle + 4]], colour, 2);
    }
  }
  pen.dot(x(span.at), middle, RADIUS, colour);
  if (!span.strong) pen.dot(x(span.at), middle, RADIUS - 2, theme.surface);
}

/** The numbers over a column of spans. */
export function drawSpanAxis(pen: Pen, ticks: readonly Tick[], range: Range, place: Place, theme: Theme): void {
  const x = scaleOf(range, place);
  for (const { at, text } of ticks) {
    pen.text(text, x(at), place.y + place.height / 2 - 2, { size: SIZE, fill: theme.soft, align: "center" });
    pen.line([[x(at), place.y + place.height - 4], [x(at), place.y + place.height]], theme.soft, 1);
  }
}

/** A range about 0, as wide on both sides, with its ticks. */
export function evenAxis(reach: number): { range: Range; ticks: readonly Tick[] } {
  const range = { low: -reach, high: reach };
  return { range, ticks: amountAxis("", range).ticks.filter(({ at }) => Math.abs(at) <= reach) };
}

function scaleOf(range: Range, place: Place): (value: number) => number {
  return (value) => place.x + EDGE + (place.width - 2 * EDGE) * Math.min(Math.max(shareOf(value, range), 0), 1);
}
