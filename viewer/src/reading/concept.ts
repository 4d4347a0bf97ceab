/** Words a person types, and the tokens of the reading that they mean. */

import type { Header } from "./payload";
import { fold } from "./text";

/** A typed word with the tokens that stand for it; `start` is the piece it begins with where it is no token itself. */
export interface Found {
  word: string;
  tokens: readonly number[];
  start: string | null;
}

export interface Query {
  found: readonly Found[];
  /** all tokens of all words */
  tokens: readonly number[];
  /** words that the reading does not hold, not even their start */
  unknown: readonly string[];
}

const SHORTEST_START = 3;

export class Lexicon {
  private readonly byWord = new Map<string, number[]>();
  /** targets of several tokens, which their first one stands for */
  private readonly starts = new Map<string, string>();

  constructor({ header: { tokens, targets } }: { header: Pick<Header, "tokens" | "targets"> }) {
    tokens.forEach((piece, token) => this.add(fold(piece), token));
    for (const { word, token, whole } of targets) {
      if (!whole && !this.byWord.has(fold(word))) this.starts.set(fold(word), fold(tokens[token] ?? ""));
      this.add(fold(word), token);
    }
  }

  private add(word: string, token: number): void {
    const held = this.byWord.get(word);
    if (!held) this.byWord.set(word, [token]);
    else if (!held.includes(token)) held.push(token);
  }

  /** Tokens meant by words parted by commas: any case, with or without leading space, or by their first piece. */
  find(query: string): Query {
    const words = [...new Set(query.split(/[,，、،;；]/).map(fold).filter(Boolean))];
    const found = words.flatMap((word) => this.word(word) ?? []);
    const known = new Set(found.map(({ word }) => word));
    return {
      found,
      tokens: [...new Set(found.flatMap(({ tokens }) => tokens))],
      unknown: words.filter((word) => !known.has(word)),
    };
  }

  private word(word: string): Found | null {
    const tokens = this.byWord.get(word);
    if (tokens) return { word, tokens, start: this.starts.get(word) ?? null };
    for (let length = word.length - 1; length >= SHORTEST_START; length--) {
      const start = word.slice(0, length);
      const beginning = this.byWord.get(start);
      if (beginning) return { word, tokens: beginning, start };
    }
    return null;
  }
}
