/** Lines over the layers, drawn by a pen. A value that is not known is a gap, never bridged. */

import { layerTicks, type Axis } from "./axis";
import { emWidth, fit, type Pen, type Point } from "./pen";
import { shareOf } from "./scale";
import type { Theme } from "./theme";

export interface PlotLine {
  name: string;
  /** by row, NaN where not known */
  heights: readonly number[];
  /** row to ring, or -1 */
  enters: number;
  /** number that chooses colour and marker */
  style: number;
  /** ends of an interval about each height, by row, NaN where there is none */
  band?: Band;
}

export interface Band {
  low: readonly number[];
  high: readonly number[];
}

export interface Plot {
  width: number;
  height: number;
  /** numbers of the layers, by row */
  layers: readonly number[];
  /** row to mark, or null */
  now: number | null;
  lines: readonly PlotLine[];
  /** by row, the height below which values are not known; null where all are */
  floor: readonly number[] | null;
  axis: Axis;
  theme: Theme;
  colours: readonly string[];
  /** place of the line drawn strongly, if any */
  lit: number | null;
}

/** Where rows and heights lie. */
export interface Frame {
  left: number;
  right: number;
  top: number;
  bottom: number;
  x(row: number): number;
  y(height: number): number;
  rowAt(x: number): number;
}

const [TOP, BOTTOM, MARGIN, WIDEST] = [26, 40, 12, 110];
const SIZE = 12;
const LINE = 15;
const WEIGHT = 600;
const ROOM_PER_MARKER = 7;
const ROOM_PER_TICK = 26;
const RING = 6.5;
const MARKER_STROKE = 3;
const BAND = 0.16;

/** Outlines about the origin, small enough for their stroke to fill them; the last is a cross. */
const MARKERS: readonly (readonly Point[])[] = [
  circle(1.8, 12),
  [[-1.7, -1.7], [1.7, -1.7], [1.7, 1.7], [-1.7, 1.7], [-1.7, -1.7]],
  [[0, -2.3], [2.2, 1.7], [-2.2, 1.7], [0, -2.3]],
  [[0, -2.5], [2.5, 0], [0, 2.5], [-2.5, 0], [0, -2.5]],
  [[-2.6, -2.6], [2.6, 2.6], [0, 0], [2.6, -2.6], [-2.6, 2.6]],
];

export function frameOf({ width, height, layers, lines, axis }: Plot): Frame {
  const ticks = Math.max(...axis.ticks.map(({ text }) => emWidth(text) * SIZE));
  const ending = lines.filter(endsAtLast).map(({ name }) => emWidth(name, WEIGHT) * SIZE);
  const [left, right] = [ticks + MARGIN, width - Math.max(MARGIN, Math.min(Math.max(0, ...ending), WIDEST) + MARGIN)];
  const [top, bottom] = [TOP, height - BOTTOM];
  const span = { low: layers[0] ?? 0, high: layers.at(-1) ?? 0 };
  const place = (layer: number): number => (span.high > span.low ? shareOf(layer, span) : 0.5);
  const x = (row: number): number => left + (right - left) * place(layers[row]!);
  return {
    left, right, top, bottom, x,
    y: (value) => Math.max(Math.min(bottom - (bottom - top) * shareOf(value, axis.range), bottom), top),
    rowAt: (at) => layers.reduce((best, _, row) => (Math.abs(x(row) - at) < Math.abs(x(best) - at) ? row : best), 0),
  };
}

export function drawPlot(pen: Pen, plot: Plot): Frame {
  const frame = frameOf(plot);
  pen.rect(0, 0, plot.width, plot.height, plot.theme.surface);
  if (plot.floor) drawFloor(pen, plot, plot.floor, frame);
  drawAxes(pen, plot, frame);
  if (plot.now !== null) pen.line([[frame.x(plot.now), frame.top], [frame.x(plot.now), frame.bottom]], plot.theme.accent, 1.5);
  plot.lines.forEach((line) => drawBand(pen, line, plot, frame));
  plot.lines.forEach((line, i) => drawLine(pen, line, plot, frame, i === plot.lit));
  drawLabels(pen, plot, frame);
  return frame;
}

/** One line's marker with a bit of its line, for a legend. */
export function drawSample(pen: Pen, style: number, colours: readonly string[], width: number, height: number): void {
  const colour = styled(colours, style);
  pen.line([[1, height / 2], [width - 1, height / 2]], colour, 1.8);
  drawMarker(pen, style, width / 2, height / 2, colour);
}

/** Known values that follow each other, as runs of rows. */
export function runsOf(heights: readonly number[]): number[][] {
  const runs: number[][] = [];
  heights.forEach((height, row) => {
    if (Number.isNaN(height)) return;
    if (runs.at(-1)?.at(-1) === row - 1) runs.at(-1)!.push(row);
    else runs.push([row]);
  });
  return runs;
}

/** Middles of labels at least `gap` apart, in the order of their wishes, as near to these as the span allows. */
export function spread(wishes: readonly number[], gap: number, low: number, high: number): number[] {
  const order = wishes.map((_, i) => i).sort((a, b) => wishes[a]! - wishes[b]! || a - b);
  const places = order.map((i) => wishes[i]!);
  places.forEach((place, i) => (places[i] = Math.max(place, i > 0 ? places[i - 1]! + gap : low)));
  for (let i = places.length - 1, limit = high; i >= 0; i--, limit = places[i + 1]! - gap) {
    places[i] = Math.min(places[i]!, limit);
  }
  const out: number[] = [];
  order.forEach((label, i) => (out[label] = places[i]!));
  return out;
}

/** Grey where a word would be too weak to have been kept: a column per layer, as nothing is known between. */
function drawFloor(pen: Pen, { layers, theme }: Plot, floor: readonly number[], frame: Frame): void {
  const edge = (row: number): number => Math.round(row < 0 ? frame.left : row + 1 >= layers.length ? frame.right : (frame.x(row) + frame.x(row + 1)) / 2);
  floor.forEach((height, row) => {
    const [left, top] = [edge(row - 1), frame.y(height)];
    if (top < frame.bottom) pen.rect(left, top, edge(row) - left, frame.bottom - top, theme.soft, 0.13);
  });
}

function drawAxes(pen: Pen, { axis, layers, theme }: Plot, frame: Frame): void {
  const { left, right, top, bottom } = frame;
  const style = { size: SIZE, fill: theme.soft };
  pen.text(axis.name, 2, 9, style);
  for (const { at, text } of axis.ticks) {
    const y = frame.y(at);
    pen.line([[left, y], [right, y]], theme.line, 1);
    pen.text(text, left - 6, y, { ...style, align: "right" });
  }
  for (const { at, text } of layerTicks(layers, (right - left) / ROOM_PER_TICK)) {
    const x = frame.x(layers.indexOf(at));
    pen.line([[x, bottom], [x, bottom + 4]], theme.soft, 1);
    pen.text(text, x, bottom + 13, { ...style, align: "center" });
  }
  pen.line([[left, bottom], [right, bottom]], theme.soft, 1);
  pen.text("layer", (left + right) / 2, bottom + 30, { ...style, align: "center" });
  if (top < bottom) pen.line([[left, top], [left, bottom]], theme.line, 1);
}

function drawLine(pen: Pen, { heights, enters, style }: PlotLine, { colours, layers }: Plot, frame: Frame, lit: boolean): void {
  const colour = styled(colours, style);
  const point = (row: number): Point => [frame.x(row), frame.y(heights[row]!)];
  const every = Math.max(1, Math.ceil((ROOM_PER_MARKER * layers.length) / (frame.right - frame.left)));
  for (const run of runsOf(heights)) {
    if (run.length > 1) pen.line(run.map(point), colour, lit ? 3.6 : 1.8);
    for (const row of run) {
      if (row % every === 0 || row === run[0] || row === run.at(-1)) drawMarker(pen, style, ...point(row), colour);
    }
  }
  if (enters >= 0) pen.line(moved(circle(RING, 24), ...point(enters)), colour, 1.6);
}

/** A band as pale as leaves those below it to be seen; where a layer stands alone, a stroke. */
function drawBand(pen: Pen, { band, style }: PlotLine, { colours }: Plot, frame: Frame): void {
  if (!band) return;
  const colour = styled(colours, style);
  const end = (side: readonly number[], row: number): Point => [frame.x(row), frame.y(side[row]!)];
  for (const run of runsOf(band.low)) {
    if (run.length === 1) pen.line([end(band.low, run[0]!), end(band.high, run[0]!)], colour, 1);
    else pen.area([...run.map((row) => end(band.low, row)), ...run.toReversed().map((row) => end(band.high, row))], colour, BAND);
  }
}

function drawMarker(pen: Pen, style: number, x: number, y: number, colour: string): void {
  pen.line(moved(MARKERS[style % MARKERS.length]!, x, y), colour, MARKER_STROKE);
}

/** Names at the right for lines that last, and over the last point of the others where there is room. */
function drawLabels(pen: Pen, { lines, colours, layers, theme, width }: Plot, frame: Frame): void {
  const lasting = lines.filter(endsAtLast);
  const wishes = lasting.map(({ heights }) => frame.y(heights.at(-1)!));
  const places = spread(wishes, LINE, frame.top, frame.bottom);
  lasting.forEach(({ name, style }, i) => {
    const text = fit(name, width - frame.right - MARGIN, SIZE, WEIGHT);
    pen.text(text, frame.right + 8, places[i]!, { size: SIZE, fill: styled(colours, style), weight: WEIGHT });
  });
  const taken: { left: number; right: number; y: number }[] = [];
  for (const { name, style, heights } of lines) {
    const last = runsOf(heights).at(-1)?.at(-1);
    if (last === undefined || last === layers.length - 1) continue;
    const half = (emWidth(name, WEIGHT) * SIZE) / 2;
    const x = Math.max(Math.min(frame.x(last), frame.right - half), frame.left + half);
    const y = Math.max(frame.y(heights[last]!) - LINE, frame.top);
    if (taken.some((other) => other.left < x + half && x - half < other.right && Math.abs(other.y - y) < LINE)) continue;
    taken.push({ left: x - half, right: x + half, y });
    pen.text(name, x, y, { size: SIZE, fill: styled(colours, style), weight: WEIGHT, align: "center", halo: theme.surface });
  }
}

function endsAtLast({ heights }: PlotLine): boolean {
  return !Number.isNaN(heights.at(-1) ?? NaN);
}

function styled(colours: readonly string[], style: number): string {
  return colours[style % colours.length]!;
}

function circle(radius: number, corners: number): Point[] {
  return Array.from({ length: corners + 1 }, (_, i) => {
    const turn = (2 * Math.PI * i) / corners;
    return [radius * Math.cos(turn), radius * Math.sin(turn)] as const;
  });
}

function moved(points: readonly Point[], x: number, y: number): Point[] {
  return points.map(([dx, dy]) => [x + dx, y + dy] as const);
}
