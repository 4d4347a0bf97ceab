/** Which positions the matrix lists, and what it calls them. */

import type { Lexicon } from "../reading/concept";
import type { Reading } from "../reading/reading";
import type { Cell } from "../drawing/sheet";
import type { Filter } from "../state/store";
import { visible } from "../reading/text";

export function passes(reading: Reading, position: number, filter: Filter): boolean {
  if (filter === "all") return true;
  const kind = reading.kind(position);
  if (filter === "patch") return kind === "patch";
  const generated = Boolean(reading.header.positions.generated[position]);
  return filter === "generated" ? generated : !generated && (kind === "text" || kind === "special");
}

/** Whether a cell's top-k holds any of some tokens. */
export function holds(reading: Reading, tokens: ReadonlySet<number>, row: number, position: number): boolean {
  for (let rank = 0; rank < reading.k; rank++) {
    if (tokens.has(reading.topToken(row, position, rank))) return true;
  }
  return false;
}

/** Positions of a kind; with words looked for, those that are one of them or where some layer reads one. */
export function listed(reading: Reading, filter: Filter, tokens: ReadonlySet<number> | null): number[] {
  const found = (position: number): boolean => {
    if (!tokens || tokens.has(reading.header.positions.token[position]!)) return true;
    for (let row = 0; row < reading.nLayers; row++) {
      if (holds(reading, tokens, row, position)) return true;
    }
    return false;
  };
  return Array.from({ length: reading.nPositions }, (_, position) => position).filter(
    (position) => passes(reading, position, filter) && found(position),
  );
}

/** Tokens of the words looked for; null where none are. */
export function wanted(lexicon: Lexicon, find: string): ReadonlySet<number> | null {
  const { tokens, unknown } = lexicon.find(find);
  return tokens.length + unknown.length > 0 ? new Set(tokens) : null;
}

/** What stands at a position, short enough for the first column. */
export function rowName(reading: Reading, position: number, small: boolean): string {
  const { row, col, image, token, generated } = reading.header.positions;
  if (reading.kind(position) === "patch") {
    const which = reading.header.pictures.length > 1 ? `${image[position]}: ` : "";
    return small ? `▦ ${which}${row[position]}, ${col[position]}` : `▦ ${which}row ${row[position]}, col ${col[position]}`;
  }
  const piece = visible(reading.piece(token[position]!));
  return generated[position] ? `↳ ${piece}` : piece;
}

/** All layers of some positions as a table, its first row the names of the columns. */
export function rowTable(reading: Reading, positions: readonly number[]): Cell[][] {
  const { header } = reading;
  const { index, row, col, token } = header.positions;
  const columns = ["position", "kind", "row", "column", "token", "piece", "layer", "top token", "top piece", "probability", "entropy", "KL to final"];
  const lines = positions.flatMap((position) => {
    const patch = reading.kind(position) === "patch";
    const own = token[position]!;
    const place = [index[position]!, reading.kind(position), patch ? row[position]! : "", patch ? col[position]! : ""];
    return header.layers.map((layer, at) => {
      const top = reading.topToken(at, position, 0);
      return [
        ...place, header.token_ids[own] ?? "", reading.piece(own), layer, header.token_ids[top]!, reading.piece(top),
        Math.exp(reading.topLogprob(at, position, 0)), reading.entropy(at, position), reading.kl(at, position),
      ];
    });
  });
  return [columns, ...lines];
}
