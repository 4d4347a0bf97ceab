/** Words a person types, and the tokens of the reading that they mean. */

import type { Reading } from "./reading";
import { fold } from "./text";

export class Lexicon {
  private readonly byWord = new Map<string, number[]>();

  constructor(reading: Reading) {
    reading.header.tokens.forEach((piece, token) => this.add(fold(piece), token));
    for (const target of reading.header.targets) this.add(fold(target.word), target.token);
  }

  private add(word: string, token: number): void {
    const held = this.byWord.get(word);
    if (!held) this.byWord.set(word, [token]);
    else if (!held.includes(token)) held.push(token);
  }

  /** Tokens meant by words parted by commas; words that the reading does not hold come back as `unknown`. */
  find(query: string): { tokens: number[]; unknown: string[] } {
    const words = query.split(/[,，、;]/).map(fold).filter(Boolean);
    const tokens = new Set(words.flatMap((word) => this.byWord.get(word) ?? []));
    return { tokens: [...tokens], unknown: words.filter((word) => !this.byWord.has(word)) };
  }
}
