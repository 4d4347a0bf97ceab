/** Colour scales: lightness rises evenly, so that order survives colour blindness and grey print. */

type Rgb = readonly [number, number, number];

const HEAT: readonly Rgb[] = [
  [20, 14, 54], [79, 18, 123], [139, 41, 129], [200, 62, 115], [242, 104, 92], [254, 166, 111], [252, 253, 191],
];

/** Colour of a share in 0..1 on the heat scale. */
export function heat(share: number): string {
  const place = Math.min(Math.max(share, 0), 1) * (HEAT.length - 1);
  const low = Math.min(Math.floor(place), HEAT.length - 2);
  const channels = HEAT[low]!.map((value, i) => Math.round(value + (HEAT[low + 1]![i]! - value) * (place - low)));
  return `rgb(${channels.join(" ")})`;
}

export interface Range {
  low: number;
  high: number;
}

/** Smallest and largest finite value; null when there is none. */
export function rangeOf(values: Iterable<number>): Range | null {
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    if (Number.isNaN(value)) continue;
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return low > high ? null : { low, high };
}

export function shareOf(value: number, range: Range): number {
  return range.high > range.low ? (value - range.low) / (range.high - range.low) : 1;
}
