/** The words that are followed over the layers of one position, and how strongly each is read there. */

import { axisOf } from "../drawing/axis";
import { wordField, type Field } from "./field";
import type { Pane } from "./pane";
import type { Plot } from "../drawing/plot";
import type { Reading } from "../reading/reading";
import { hull, rangeOf, type Range } from "../drawing/scale";
import type { Measure, State } from "./store";
import { fold, visible, visibleText } from "../reading/text";

interface Word {
  name: string;
  tokens: readonly number[];
  /** what finds it on the picture */
  query: string;
  /** the followed piece that it is, which can be let go */
  piece: string | null;
}

export interface Series extends Word {
  field: Field;
  /** by row, NaN where not known */
  values: readonly number[];
  /** first row with one of the tokens in the top-k, or -1 */
  enters: number;
}

/** What a chart of one pane shows, whatever its size, layer and colours. */
export type Content = Pick<Plot, "lines" | "floor" | "axis">;

const BEST = 3;

/** Searched words, followed pieces and targets; what is read last where none of these is known at the position. */
export function seriesOf(pane: Pane, state: State): Series[] {
  const { reading } = pane;
  const position = pane.charted(state);
  const make = (word: Word): Series => {
    const field = wordField(reading, word.tokens, state.measure, word.name);
    const values = Array.from({ length: reading.nLayers }, (_, row) => field.at(row, position));
    return { ...word, field, values, enters: firstOf(word.tokens.map((token) => reading.entersAt(token, position))) };
  };
  const given = [...searched(pane, state.query), ...followed(reading, state.followed), ...targets(reading)];
  const series = each(given).map(make);
  if (series.some(({ values }) => values.some((value) => !Number.isNaN(value)))) return series;
  return each([...given, ...final(reading, position)]).map(make);
}

/** The chart of a pane, given the words of all panes: they share the scale, and a word has one style in all. */
export function contentOf(pane: Pane, panes: readonly Pane[], all: readonly (readonly Series[])[], state: State): Content {
  const names = [...new Set(all.flat().map(({ name }) => name))];
  const heights = panes.map((other, i) => extent(other.reading, all[i]!, other.charted(state), state.measure));
  const own = all[panes.indexOf(pane)]!;
  return {
    lines: own.map(({ name, field, values, enters }) => ({ name, heights: values.map(field.height), enters, style: names.indexOf(name) })),
    floor: own.some(hasGap) ? floorOf(pane.reading, pane.charted(state), state.measure) : null,
    axis: axisOf(state.measure, hull(heights)),
  };
}

/** What rings and gaps mean, where there are any. */
export function noteOf({ k }: Reading, series: readonly Series[]): string {
  const ring = series.some(({ enters }) => enters >= 0) ? [`A ring marks the layer where a word first enters the top ${k}.`] : [];
  const gap = series.some(hasGap) ? [`Where a line has a gap, the word is below the ${k} best (grey) and its value was not kept.`] : [];
  return [...ring, ...gap].join(" ");
}

/** The essentials in words. */
export function spoken(reading: Reading, series: readonly Series[]): string {
  return series
    .map((one) => {
      const best = bestOf(one);
      return best ? `${one.name}: best at layer ${reading.layerName(best.row)}, ${one.field.text(best.value)}` : `${one.name}: in no layer's top ${reading.k}`;
    })
    .join("; ");
}

/** Best value and where it is, or null where none is known. */
function bestOf({ values, field }: Series): { row: number; value: number } | null {
  let best: { row: number; value: number } | null = null;
  values.forEach((value, row) => {
    if (Number.isNaN(value) || (best && field.height(value) <= field.height(best.value))) return;
    best = { row, value };
  });
  return best;
}

/** Heights of the weakest candidates, below which words are not known. */
function floorOf(reading: Reading, position: number, measure: Measure): number[] {
  return reading.header.layers.map((_, row) => {
    if (measure === "rank") return -Math.log(reading.k + 0.5);
    const logprob = reading.topLogprob(row, position, reading.k - 1);
    return measure === "probability" ? Math.exp(logprob) : logprob;
  });
}

function extent(reading: Reading, series: readonly Series[], position: number, measure: Measure): Range | null {
  const floor = series.some(hasGap) ? floorOf(reading, position, measure) : [];
  return rangeOf([...series.flatMap(({ field, values }) => values.map(field.height)), ...floor]);
}

function hasGap({ values }: Series): boolean {
  return values.some(Number.isNaN);
}

function searched(pane: Pane, query: string): Word[] {
  return pane.lexicon.find(query).found.map(({ word, tokens, start }) => {
    const name = visibleText(start ? `${word} (${start}…)` : word);
    return { name, tokens, query: word, piece: null };
  });
}

function followed(reading: Reading, pieces: readonly string[]): Word[] {
  return pieces.flatMap((piece) => {
    const tokens = reading.header.tokens.flatMap((other, token) => (other === piece ? [token] : []));
    return tokens.length > 0 ? [{ ...spelled(piece, tokens), piece }] : [];
  });
}

function targets(reading: Reading): Word[] {
  return reading.header.targets.map(({ word, token, whole }) => {
    const name = whole ? visibleText(word) : `${visibleText(word)} (${visible(reading.piece(token))}…)`;
    return { name, tokens: [token], query: word, piece: null };
  });
}

function final(reading: Reading, position: number): Word[] {
  const best = reading.top(reading.nLayers - 1, position).slice(0, BEST);
  return [reading.finalToken(position), ...best.map(({ token }) => token)].map((token) => spelled(reading.piece(token), [token]));
}

function spelled(piece: string, tokens: readonly number[]): Word {
  return { name: visible(piece), tokens, query: fold(piece), piece: null };
}

/** Words that mean the same tokens, or are written the same, once; but a followed piece is kept beside its word. */
function each(words: readonly Word[]): Word[] {
  const known: Word[] = [];
  for (const word of words) {
    const same = known.find(({ tokens }) => tokens.length === word.tokens.length && tokens.every((token) => word.tokens.includes(token)));
    const namesake = known.some(({ name }) => name === word.name);
    if (same) same.piece ??= word.piece;
    else if (!namesake) known.push({ ...word });
    else if (word.piece !== null) known.push({ ...word, name: `${word.name}, exactly` });
  }
  return known;
}

function firstOf(rows: readonly number[]): number {
  const entered = rows.filter((row) => row >= 0);
  return entered.length > 0 ? Math.min(...entered) : -1;
}
