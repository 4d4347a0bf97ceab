/** The patches of one picture: where each lies, which lies under a point, which lies beside another. */

import type { Places } from "./payload";
import { boxAt, type Box } from "./reading";

export interface Patch {
  /** entry in the places it came from: a position of the reading, or a vision state */
  entry: number;
  row: number;
  col: number;
  box: Box;
}

const PATCH = 1;

export class Patches {
  readonly all: Patch[] = [];
  private readonly byCell = new Map<string, Patch>();
  private readonly byEntry = new Map<number, Patch>();

  constructor(places: Places, image: number) {
    places.kind.forEach((kind, entry) => {
      const box = boxAt(places.box, entry);
      if (kind !== PATCH || places.image[entry] !== image || !box) return;
      const patch = { entry, row: places.row[entry]!, col: places.col[entry]!, box };
      this.all.push(patch);
      this.byCell.set(`${patch.row},${patch.col}`, patch);
      this.byEntry.set(entry, patch);
    });
  }

  of(entry: number | null): Patch | undefined {
    return entry === null ? undefined : this.byEntry.get(entry);
  }

  /** Smallest patch whose box holds a point of the picture. */
  under(x: number, y: number): Patch | undefined {
    let best: Patch | undefined;
    for (const patch of this.all) {
      const { left, top, right, bottom } = patch.box;
      if (x < left || x >= right || y < top || y >= bottom) continue;
      if (!best || area(patch.box) < area(best.box)) best = patch;
    }
    return best;
  }

  /** The next patch in a direction; the same one at an edge, the first when none is given. */
  beside(patch: Patch | undefined, down: number, across: number): Patch | undefined {
    if (!patch) return this.all[0];
    return this.byCell.get(`${patch.row + down},${patch.col + across}`) ?? patch;
  }
}

function area(box: Box): number {
  return (box.right - box.left) * (box.bottom - box.top);
}
