/** What the colours of the matrix mean: one field on one fixed scale over all layers and positions. */

import { entropyField, klField, type Field, type Fields } from "../state/field";
import type { Pane } from "../state/pane";
import type { Reading } from "../reading/reading";
import { rangeOf, shareOf, type Palette, type Range } from "../drawing/scale";
import type { Colour, State } from "../state/store";
import { percent, visibleText } from "../reading/text";

export interface Tint {
  /** place on the colour scale, NaN where nothing is known */
  share(row: number, position: number): number;
  palette: Palette;
  /** what the two ends of the scale stand for, if the matrix has a scale of its own */
  ends: readonly [string, string] | null;
  note: string;
}

function probabilityField(reading: Reading): Field {
  return {
    name: "probability", over: "pos", palette: "heat",
    at: (row, position) => reading.topLogprob(row, position, 0),
    height: (logprob) => Math.exp(logprob / 2),
    text: percent,
    note: "bright: sure of its first word; square-root scale",
  };
}

function finalRankField(reading: Reading): Field {
  return {
    name: "rank of the final word", over: "pos", palette: "heat",
    at: (row, position) => reading.rankOfAny([reading.finalToken(position)], row, position) + 1,
    height: (rank) => -Math.log(rank),
    text: (rank) => `rank ${rank.toLocaleString("en")}`,
    note: "bright: near what is said there in the end; no colour: rank not known",
  };
}

export class Tints {
  private readonly own = new Map<Colour, Tint | null>();

  constructor(
    private readonly pane: Pane,
    private readonly panes: readonly Pane[],
    private readonly fields: Fields,
  ) {}

  /** Null where there is nothing to colour by. */
  of(state: State): Tint | null {
    const { colour } = state;
    if (colour === "overlay") return this.overlay(state);
    if (!this.own.has(colour)) this.own.set(colour, this.make(colour));
    return this.own.get(colour) ?? null;
  }

  /** The colours that lie over the picture, on the scale that they have there. */
  private overlay(state: State): Tint | null {
    const field = this.fields.of(this.pane, state);
    const { range } = this.fields.scale(state);
    if (!field || field.over !== "pos" || !range) return null;
    return tint(field, range, null, `${visibleText(field.name)}, coloured as over the picture`);
  }

  /** All readings shown have one scale. */
  private make(colour: Exclude<Colour, "overlay">): Tint | null {
    const fieldOf = { probability: probabilityField, entropy: entropyField, kl: klField, rank: finalRankField }[colour];
    const field = fieldOf(this.pane.reading);
    if (colour === "probability") return tint(field, { low: 0, high: 1 }, ["0%", "100%"], field.note);
    const ends = this.panes.flatMap(({ reading }) => extremes(fieldOf(reading), reading));
    const range = rangeOf(ends.map(field.height));
    const text = (height: number): string => field.text(ends.find((value) => field.height(value) === height)!);
    return range && tint(field, range, [text(range.low), text(range.high)], field.note);
  }
}

/** The values with the lowest and the highest place on the scale; none where nothing is known. */
export function extremes(field: Field, { nLayers, nPositions }: Pick<Reading, "nLayers" | "nPositions">): number[] {
  let [low, high] = [Infinity, -Infinity];
  const ends = [NaN, NaN];
  for (let row = 0; row < nLayers; row++) {
    for (let position = 0; position < nPositions; position++) {
      const value = field.at(row, position);
      const height = field.height(value);
      if (height < low) [low, ends[0]] = [height, value];
      if (height > high) [high, ends[1]] = [height, value];
    }
  }
  return low > high ? [] : ends;
}

function tint(field: Field, range: Range, ends: Tint["ends"], note: string): Tint {
  const share = (row: number, position: number): number => shareOf(field.height(field.at(row, position)), range);
  return { share, palette: field.palette, ends, note };
}
