/** Words worth looking for: those that some patches of the deeper layers are sure of. */

import type { Reading } from "./reading";
import { fold, isWord } from "./text";

const SHORTEST = 3;
/** Scripts that write a word with one or two signs. */
const DENSE = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}]/u;

/** The `count` words with the greatest sum of squared top-1 probabilities over the patches, surest first. */
export function tellingWords(reading: Reading, patches: readonly number[], count: number): string[] {
  const weights = new Map<number, number>();
  for (let row = reading.nLayers >> 1; row < reading.nLayers; row++) {
    for (const position of patches) {
      const token = reading.topToken(row, position, 0);
      weights.set(token, (weights.get(token) ?? 0) + Math.exp(2 * reading.topLogprob(row, position, 0)));
    }
  }
  const ordered = [...weights].sort(([a, x], [b, y]) => y - x || a - b).map(([token]) => reading.piece(token));
  return [...new Set(ordered.filter(isTelling).map(fold))].slice(0, count);
}

function isTelling(piece: string): boolean {
  const word = fold(piece);
  return isWord(word) && !/[\d\s]|^<.*>$/.test(word) && (word.length >= SHORTEST || DENSE.test(word));
}
