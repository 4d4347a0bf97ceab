/** Which position of one reading stands for a position of another. */

import { Patches } from "../reading/patches";
import type { Reading } from "../reading/reading";

export type Link = (position: number) => number | null;

/**
 * Answer positions by their step, patches by the point of the picture they show, tokens by their distance
 * to the answer where the same piece stands there.
 */
export function link(from: Reading, to: Reading): Link {
  const pictures = to.header.pictures.map((_, image) => new Patches(to.header.positions, image));
  const made = new Map<number, number | null>();
  return (position) => {
    if (!made.has(position)) made.set(position, find(from, to, pictures, position));
    return made.get(position) ?? null;
  };
}

function find(from: Reading, to: Reading, pictures: readonly Patches[], position: number): number | null {
  const step = from.header.positions.step[position]!;
  if (step >= 0) return to.stepPosition(step);
  if (from.kind(position) === "patch") return patch(from, to, pictures, position);
  const other = position - from.home() + to.home();
  if (other < 0 || other >= to.nPositions || to.kind(other) === "patch") return null;
  return from.piece(from.header.positions.token[position]!) === to.piece(to.header.positions.token[other]!) ? other : null;
}

function patch(from: Reading, to: Reading, pictures: readonly Patches[], position: number): number | null {
  const image = from.header.positions.image[position]!;
  const box = from.box(position);
  const [here, there] = [from.header.pictures[image], to.header.pictures[image]];
  if (!box || !here || !there) return null;
  const x = ((box.left + box.right) / 2 / here.width) * there.width;
  const y = ((box.top + box.bottom) / 2 / here.height) * there.height;
  return pictures[image]?.under(x, y)?.entry ?? null;
}
