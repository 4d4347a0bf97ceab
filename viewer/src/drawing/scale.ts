/** Colour scales: lightness rises evenly, so that order survives colour blindness and grey print. */

type Rgb = readonly [number, number, number];

const HEAT: readonly Rgb[] = [
  [20, 14, 54], [79, 18, 123], [139, 41, 129], [200, 62, 115], [242, 104, 92], [254, 166, 111], [252, 253, 191],
];
/** Blue below zero, orange above, apart for every kind of colour vision. */
const SIGNED: readonly Rgb[] = [
  [120, 190, 255], [52, 124, 214], [24, 60, 120], [34, 34, 38], [128, 62, 16], [224, 116, 24], [255, 206, 120],
];
const STEPS = 256;

export type Palette = "heat" | "signed";

const TABLES: Record<Palette, readonly string[]> = { heat: table(HEAT), signed: table(SIGNED) };

/** Colour of a share in 0..1. */
export function colourOf(share: number, palette: Palette = "heat"): string {
  return TABLES[palette][Math.round(Math.min(Math.max(share, 0), 1) * (STEPS - 1))]!;
}

/** Whether text on this colour must be dark: where black stands out more from it than white (WCAG 2.2). */
export function isBright(share: number, palette: Palette = "heat"): boolean {
  return luminance(colourOf(share, palette)) > 0.179;
}

/** Relative luminance of a colour written as #rrggbb. */
export function luminance(colour: string): number {
  const [red = 0, green = 0, blue = 0] = [1, 3, 5].map((at) => {
    const value = parseInt(colour.slice(at, at + 2), 16) / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

function table(stops: readonly Rgb[]): string[] {
  return Array.from({ length: STEPS }, (_, i) => {
    const place = (i / (STEPS - 1)) * (stops.length - 1);
    const low = Math.min(Math.floor(place), stops.length - 2);
    const mixed = stops[low]!.map((value, c) => Math.round(value + (stops[low + 1]![c]! - value) * (place - low)));
    return `#${mixed.map((value) => value.toString(16).padStart(2, "0")).join("")}`;
  });
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

/** The range that holds all of several. */
export function hull(ranges: readonly (Range | null)[]): Range | null {
  return rangeOf(ranges.flatMap((range) => (range ? [range.low, range.high] : [])));
}

/** Place on a range, 1 where it holds a single value; NaN stays NaN. */
export function shareOf(value: number, range: Range): number {
  if (Number.isNaN(value)) return NaN;
  return range.high > range.low ? (value - range.low) / (range.high - range.low) : 1;
}
