/** The reading as the page asks for it. Layers and positions are rows here; `layers[row]` is the layer's number. */

import { Coded, bytesOf, integers, tokens, type Packed } from "./decode";
import { KINDS, type Header, type Kind } from "./payload";

export interface Candidate {
  rank: number;
  token: number;
  logprob: number;
}

export interface Box {
  left: number;
  top: number;
  right: number;
  bottom: number;
}

/** An extra array over named axes; `at` takes the place in row-major order. */
export interface Channel {
  readonly name: string;
  readonly axes: readonly string[];
  readonly shape: readonly number[];
  readonly unit: string;
  readonly description: string;
  /** whether it holds values below zero */
  readonly signed: boolean;
  at(index: number): number;
}

export class Reading {
  readonly header: Header;
  readonly channels: readonly Channel[];
  readonly nLayers: number;
  readonly nPositions: number;
  readonly k: number;
  private readonly topTokens: Int32Array;
  private readonly topLogprobs: Coded;
  private readonly entropies: Coded;
  private readonly kls: Coded;
  private readonly targetLogprobs: Coded;
  private readonly targetRanks: Int32Array;
  private byToken: Map<number, number> | null = null;

  constructor({ header, body }: Packed) {
    const { arrays } = header;
    const [k = 0, layers = 0, positions = 0] = arrays.top_choices.shape;
    this.header = header;
    this.k = k;
    this.nLayers = layers;
    this.nPositions = positions;
    const choices = bytesOf(body, arrays.top_choices);
    const escapes = integers(body, arrays.top_escapes);
    this.topTokens = tokens(choices, escapes, arrays.top_choices.shape, header.tokens.length);
    this.topLogprobs = new Coded(body, arrays.top_logprobs);
    this.entropies = new Coded(body, arrays.entropy);
    this.kls = new Coded(body, arrays.kl_to_final);
    this.targetLogprobs = new Coded(body, arrays.target_logprobs);
    this.targetRanks = integers(body, arrays.target_ranks);
    this.channels = header.channels.map(({ array, ...facts }) => {
      const coded = new Coded(body, array);
      return { ...facts, shape: array.shape, signed: array.code === "signed", at: (index) => coded.at(index) };
    });
  }

  private cell(layer: number, position: number, plane = 0): number {
    return (plane * this.nLayers + layer) * this.nPositions + position;
  }

  topToken(layer: number, position: number, rank: number): number {
    return this.topTokens[this.cell(layer, position, rank)]!;
  }

  topLogprob(layer: number, position: number, rank: number): number {
    return -this.topLogprobs.at(this.cell(layer, position, rank));
  }

  top(layer: number, position: number): Candidate[] {
    return Array.from({ length: this.k }, (_, rank) => ({
      rank,
      token: this.topToken(layer, position, rank),
      logprob: this.topLogprob(layer, position, rank),
    }));
  }

  entropy(layer: number, position: number): number {
    return this.entropies.at(this.cell(layer, position));
  }

  kl(layer: number, position: number): number {
    return this.kls.at(this.cell(layer, position));
  }

  targetLogprob(layer: number, position: number, target: number): number {
    return -this.targetLogprobs.at(this.cell(layer, position, target));
  }

  targetRank(layer: number, position: number, target: number): number {
    return this.targetRanks[this.cell(layer, position, target)]!;
  }

  /** Rank of a token in the top-k, or -1. */
  rankOf(token: number, layer: number, position: number): number {
    for (let rank = 0; rank < this.k; rank++) {
      if (this.topToken(layer, position, rank) === token) return rank;
    }
    return -1;
  }

  /** Which target a token stands for, or -1. */
  private targetOf(token: number): number {
    this.byToken ??= new Map(this.header.targets.map((target, i) => [target.token, i]));
    return this.byToken.get(token) ?? -1;
  }

  /** Log-probability of a token where it is a target or in the top-k, else NaN. */
  logprob(token: number, layer: number, position: number): number {
    const target = this.targetOf(token);
    if (target >= 0) return this.targetLogprob(layer, position, target);
    const rank = this.rankOf(token, layer, position);
    return rank < 0 ? NaN : this.topLogprob(layer, position, rank);
  }

  /** Log-probability of several tokens together; NaN where none is known, a lower bound where some are not. */
  logprobOfAny(tokens: readonly number[], layer: number, position: number): number {
    let total = 0;
    let known = false;
    for (const token of tokens) {
      const value = this.logprob(token, layer, position);
      if (Number.isNaN(value)) continue;
      total += Math.exp(value);
      known = true;
    }
    return known ? Math.log(Math.min(total, 1)) : NaN;
  }

  /** Best rank (0 is first) of several tokens; NaN where none is known. */
  rankOfAny(tokens: readonly number[], layer: number, position: number): number {
    let best = Infinity;
    for (const token of tokens) {
      const target = this.targetOf(token);
      const rank = target >= 0 ? this.targetRank(layer, position, target) : this.rankOf(token, layer, position);
      if (rank >= 0 && rank < best) best = rank;
    }
    return best < Infinity ? best : NaN;
  }

  piece(token: number): string {
    return this.header.tokens[token] ?? "";
  }

  kind(position: number): Kind {
    return KINDS[this.header.positions.kind[position]!]!;
  }

  /** Positions that predict a token of the answer, in order of their step. */
  steps(): number[] {
    const step = this.header.positions.step;
    const held = step.flatMap((s, position) => (s >= 0 ? [position] : []));
    return held.sort((a, b) => step[a]! - step[b]!);
  }

  /** The position that predicts an answer token, if it was read. */
  stepPosition(step: number): number | null {
    const position = this.header.positions.step.indexOf(step);
    return step < 0 || position < 0 ? null : position;
  }

  /** Where a patch lies, in pixels of its picture. */
  box(position: number): Box | null {
    return boxAt(this.header.positions.box, position);
  }

  /** Where to look when nothing is chosen: the first answer step, else the last position. */
  home(): number {
    return this.steps()[0] ?? this.nPositions - 1;
  }

  /** The word a position ends up with: the answer's token at its step, else the best of the last layer read. */
  finalToken(position: number): number {
    const step = this.header.positions.step[position]!;
    return this.header.answer.tokens[step] ?? this.topToken(this.nLayers - 1, position, 0);
  }

  /** First layer row at which a token is in the top-k, or -1. */
  entersAt(token: number, position: number): number {
    for (let layer = 0; layer < this.nLayers; layer++) {
      if (this.rankOf(token, layer, position) >= 0) return layer;
    }
    return -1;
  }

  /** First layer row from which a token stays first to the end, or -1. */
  leadsFrom(token: number, position: number): number {
    let first = -1;
    for (let layer = this.nLayers - 1; layer >= 0 && this.topToken(layer, position, 0) === token; layer--) {
      first = layer;
    }
    return first;
  }

  layerName(row: number): string {
    const layer = this.header.layers[row] ?? -1;
    if (layer === 0) return "0 (embeddings)";
    return layer === this.header.model.n_layers ? `${layer} (last)` : String(layer);
  }
}

export function boxAt(boxes: readonly (number | null)[], entry: number): Box | null {
  const [left, top, right, bottom] = boxes.slice(4 * entry, 4 * entry + 4);
  if (left == null || top == null || right == null || bottom == null) return null;
  return { left, top, right, bottom };
}
