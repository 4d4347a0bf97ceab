/** Values that can lie over a picture or colour the matrix: one per layer and position (or vision state). */

import type { Pane } from "./pane";
import type { Channel, Reading } from "../reading/reading";
import { hull, rangeOf, shareOf, type Palette, type Range } from "../drawing/scale";
import type { Measure, Mode, State } from "./store";
import { amount, nats, percent, visibleText } from "../reading/text";

export interface Field {
  /** what is shown, for legends and tables */
  name: string;
  over: "pos" | "vision";
  /** NaN where not known */
  at(row: number, entry: number): number;
  /** place on the colour scale before ranging: probabilities and entropies as they are, ranks by logarithm */
  height(value: number): number;
  palette: Palette;
  text(value: number): string;
  /** what bright means */
  note: string;
}

const same = (value: number): number => value;

export function entropyField(reading: Reading): Field {
  return {
    name: "entropy", over: "pos", palette: "heat", height: same,
    at: (row, position) => reading.entropy(row, position),
    text: (value) => `${nats(value)} nats`,
    note: "bright: undecided",
  };
}

export function klField(reading: Reading): Field {
  return {
    name: "KL to final", over: "pos", palette: "heat", height: same,
    at: (row, position) => reading.kl(row, position),
    text: (value) => `${nats(value)} nats`,
    note: "bright: far from what the model says in the end",
  };
}

/** How strongly any of some tokens is read. */
export function wordField(reading: Reading, tokens: readonly number[], measure: Measure, name: string): Field {
  const logprob = (row: number, position: number): number => reading.logprobOfAny(tokens, row, position);
  if (measure === "rank") {
    return {
      name: `rank of ${name}`, over: "pos", palette: "heat",
      at: (row, position) => reading.rankOfAny(tokens, row, position) + 1,
      height: (rank) => -Math.log(rank),
      text: (rank) => (Number.isNaN(rank) ? "–" : `rank ${rank.toLocaleString("en")}`),
      note: "bright: near the first rank",
    };
  }
  return {
    name: `${measure === "logprob" ? "log-probability" : "probability"} of ${name}`, over: "pos", palette: "heat",
    at: logprob,
    height: measure === "logprob" ? same : Math.exp,
    text: measure === "logprob" ? (value) => (Number.isNaN(value) ? "–" : `${value.toFixed(2)} nats`) : percent,
    note: measure === "logprob" ? "log scale" : "linear scale",
  };
}

/** Axes of a channel along which an index must be chosen. */
export function freeAxes(channel: Channel): { axis: string; length: number }[] {
  return channel.axes.flatMap((axis, i) => (FIXED.has(axis) ? [] : [{ axis, length: channel.shape[i]! }]));
}

const FIXED = new Set(["layer", "pos", "vision"]);

export function channelField(channel: Channel, pick: State["pick"]): Field {
  const at = (row: number, entry: number): number => {
    let index = 0;
    channel.axes.forEach((axis, i) => {
      const length = channel.shape[i]!;
      const own = axis === "layer" ? row : axis === "pos" || axis === "vision" ? entry : Math.min(pick[axis] ?? 0, length - 1);
      index = index * length + own;
    });
    return channel.at(index);
  };
  const unit = channel.unit ? ` ${visibleText(channel.unit)}` : "";
  return {
    name: channel.name,
    over: channel.axes.includes("vision") ? "vision" : "pos",
    at,
    height: same,
   
    palette: channel.signed ? "signed" : "heat",
    text: (value) => (Number.isNaN(value) ? "–" : `${amount(value)}${unit}`),
    note: channel.description,
  };
}

/** Whether a channel has a value for every patch or position, so that a picture or matrix can show it. */
export function isPlaced(channel: Channel): boolean {
  return channel.axes.includes("pos") || channel.axes.includes("vision");
}

export function channelOf(reading: Reading, mode: Mode): Channel | undefined {
  return mode.startsWith("channel:") ? reading.channels.find((channel) => `channel:${channel.name}` === mode) : undefined;
}

/** The fields that the state asks for, made once; all readings share one colour scale. */
export class Fields {
  private readonly fields = new Map<string, Field | null>();
  private readonly ranges = new Map<string, { range: Range | null; gaps: boolean }>();

  constructor(private readonly panes: readonly Pane[]) {}

  /** What the state asks of this pane; null for words, the bare picture, and what the reading does not hold. */
  of(pane: Pane, state: State): Field | null {
    const key = `${pane.index} ${keyOf(state)}`;
    if (!this.fields.has(key)) this.fields.set(key, make(pane, state));
    return this.fields.get(key) ?? null;
  }

  /** The same, if it has values for the patches. */
  over(pane: Pane, state: State): Field | null {
    const field = this.of(pane, state);
    return field && (field.over === "pos") === pane.speaking ? field : null;
  }

  /** Range over all layers and all patches of all panes, and whether some have no value. */
  scale(state: State): { range: Range | null; gaps: boolean } {
    const key = keyOf(state);
    const known = this.ranges.get(key);
    if (known) return known;
    const seen = this.panes.map((pane) => this.seen(pane, state));
    const made = { range: balanced(hull(seen.map(({ range }) => range)), seen.some(({ signed }) => signed)), gaps: seen.some(({ gaps }) => gaps) };
    this.ranges.set(key, made);
    return made;
  }

  /** What the ends of the colour scale stand for. */
  ends(field: Field, state: State): readonly [string, string] | null {
    const { range } = this.scale(state);
    return range && [field.text(valueOf(state, range.low)), field.text(valueOf(state, range.high))];
  }

  /** What tells the share of the colour scale, NaN where there is no value. */
  share(field: Field, state: State): (row: number, entry: number) => number {
    const { range } = this.scale(state);
    return (row, entry) => (range ? shareOf(field.height(field.at(row, entry)), range) : NaN);
  }

  private seen(pane: Pane, state: State): { range: Range | null; gaps: boolean; signed: boolean } {
    const field = this.over(pane, state);
    if (!field) return { range: null, gaps: false, signed: false };
    const entries = pane.patches();
    const heights = Array.from({ length: pane.reading.nLayers }, (_, row) =>
      entries.map((entry) => field.height(field.at(row, entry))),
    ).flat();
    return { range: rangeOf(heights), gaps: heights.some(Number.isNaN), signed: field.palette === "signed" };
  }
}

function keyOf({ mode, query, measure, pick }: State): string {
  return JSON.stringify([mode, mode === "search" ? [query, measure] : mode.startsWith("channel:") ? pick : null]);
}

function make(pane: Pane, state: State): Field | null {
  const { reading } = pane;
  if (state.mode === "entropy") return entropyField(reading);
  if (state.mode === "kl") return klField(reading);
  if (state.mode === "search") return wordField(reading, pane.lexicon.find(state.query).tokens, state.measure, state.query);
  const channel = channelOf(reading, state.mode);
  return channel && isPlaced(channel) ? channelField(channel, state.pick) : null;
}

/** Equal reach on both sides of zero, where values have a sign. */
function balanced(range: Range | null, signed: boolean): Range | null {
  if (!range || !signed) return range;
  const reach = Math.max(-range.low, range.high);
  return { low: -reach, high: reach };
}

/** The value that has this height. */
function valueOf({ mode, measure }: State, height: number): number {
  if (mode !== "search" || measure === "logprob") return height;
  return measure === "rank" ? Math.round(Math.exp(-height)) : Math.log(height);
}
