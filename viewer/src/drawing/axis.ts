/** Ranges and ticks of a chart's axes. */

import { rangeOf, type Range } from "./scale";
import type { Measure } from "../state/store";

export interface Tick {
  at: number;
  text: string;
}

export interface Axis {
  name: string;
  range: Range;
  ticks: readonly Tick[];
}

const TICKS = 5;
const MOST_RANKS = 7;
const LEAST = 1e-6;

/** Axis for heights of words (see `Field.height`), its ends rounded outwards. */
export function axisOf(measure: Measure, heights: Range | null): Axis {
  if (measure === "rank") return rankAxis(heights?.low ?? -Math.log(10));
  if (measure === "probability") return probabilityAxis(Math.max(heights?.high ?? 1, LEAST));
  const { low, high } = heights ?? { low: -10, high: 0 };
  const step = stepOf(Math.max(high - low, 1));
  const range = { low: Math.floor(low / step - 1e-9) * step, high: Math.min(Math.ceil(high / step) * step, 0) || 0 };
  return { name: "log-probability (nats)", range, ticks: multiples(range, step).map((at) => ({ at, text: at.toFixed(step < 1 ? 1 : 0) })) };
}

function probabilityAxis(highest: number): Axis {
  const step = stepOf(highest);
  const range = { low: 0, high: Math.min(Math.ceil(highest / step) * step, 1) };
  const text = (at: number): string => `${Number((100 * at).toPrecision(3))}%`;
  return { name: "probability", range, ticks: multiples(range, step).map((at) => ({ at, text: text(at) })) };
}

/** Axis of any quantity, its ends rounded outwards; from 0 where nothing is below. */
export function amountAxis(name: string, values: Range | null, percent = false): Axis {
  const { low, high } = values ?? { low: 0, high: 1 };
  const floor = Math.min(low, 0);
  const step = stepOf(Math.max(high - floor, LEAST));
  const range = { low: Math.floor(floor / step + 1e-9) * step || 0, high: Math.ceil(high / step - 1e-9) * step || step };
  const text = (at: number): string => (percent ? `${Number((100 * at).toPrecision(3))}%` : String(Number(at.toPrecision(3))));
  return { name, range, ticks: multiples(range, step).map((at) => ({ at, text: text(at) })) };
}

function rankAxis(lowest: number): Axis {
  const worst = Math.max(Math.exp(-lowest), 2);
  const powers = Array.from({ length: Math.floor(Math.log10(worst)) + 1 }, (_, i) => 10 ** i);
  const fine = powers.flatMap((power) => [power, 2 * power, 5 * power]).filter((rank) => rank <= worst);
  const ranks = fine.length <= MOST_RANKS ? fine : powers;
  return {
    name: "rank (log scale, 1 is best)",
    range: { low: -1.03 * Math.log(worst), high: 0 },
    ticks: ranks.map((rank) => ({ at: -Math.log(rank) || 0, text: rank.toLocaleString("en") })),
  };
}

/** Numbers of layers to write at the axis: even steps and the last one, none so near another that they touch. */
export function layerTicks(layers: readonly number[], room: number): Tick[] {
  const range = rangeOf(layers);
  if (!range) return [];
  const step = [1, 2, 4, 5, 8, 10, 16, 20, 50].find((by) => (range.high - range.low) / by <= room) ?? 100;
  const even = layers.filter((layer) => layer % step === 0 && range.high - layer >= step / 2);
  return [...even, range.high].map((at) => ({ at, text: at === 0 ? "emb." : String(at) }));
}

/** A round step that cuts a span into about `TICKS` parts. */
function stepOf(span: number): number {
  const rough = span / TICKS;
  const power = 10 ** Math.floor(Math.log10(rough));
  return power * ([1, 2, 5].find((round) => round * power >= rough) ?? 10);
}

function multiples({ low, high }: Range, step: number): number[] {
  const first = Math.ceil(low / step - 1e-9);
  return Array.from({ length: Math.floor(high / step + 1e-9) - first + 1 }, (_, i) => (first + i) * step || 0);
}
