/** The patches of one picture: where each lies, which lies under a point, which lies beside another. */

import type { Places } from "./payload";
import { boxAt, type Box } from "./reading";

export interface Patch {
  /** entry in the places it came from: a position of the reading, or a vision state */
  entry: number;
  tile: number;
  row: number;
  col: number;
  box: Box;
}

const PATCH = 1;

export class Patches {
  readonly all: Patch[] = [];
  /** Patches that lie side by side; more than one sheet where tiles show the same pixels twice. */
  readonly sheets: readonly (readonly Patch[])[];
  private readonly byCell = new Map<string, Patch>();
  private readonly byEntry = new Map<number, Patch>();

  constructor(places: Places, image: number) {
    places.kind.forEach((kind, entry) => {
      const box = boxAt(places.box, entry);
      if (kind !== PATCH || places.image[entry] !== image || !box) return;
      const patch = { entry, tile: places.tile[entry]!, row: places.row[entry]!, col: places.col[entry]!, box };
      this.all.push(patch);
      this.byCell.set(`${patch.row},${patch.col}`, patch);
      this.byEntry.set(entry, patch);
    });
    this.sheets = sheetsOf(this.all);
  }

  of(entry: number | null): Patch | undefined {
    return entry === null ? undefined : this.byEntry.get(entry);
  }

  /** Smallest patch (of one sheet, if given) whose box holds a point of the picture. */
  under(x: number, y: number, among: readonly Patch[] = this.all): Patch | undefined {
    let best: Patch | undefined;
    for (const patch of among) {
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

/** Put tile after tile on the first sheet where it covers no other. */
function sheetsOf(patches: readonly Patch[]): Patch[][] {
  const tiles = new Map<number, Patch[]>();
  for (const patch of patches) {
    const tile = tiles.get(patch.tile);
    if (tile) tile.push(patch);
    else tiles.set(patch.tile, [patch]);
  }
  const sheets: { patches: Patch[]; bounds: Box[] }[] = [];
  for (const tile of tiles.values()) {
    const bounds = around(tile);
    const free = sheets.find((sheet) => !sheet.bounds.some((other) => overlaps(bounds, other)));
    if (free) {
      free.patches.push(...tile);
      free.bounds.push(bounds);
    } else sheets.push({ patches: [...tile], bounds: [bounds] });
  }
  return sheets.map((sheet) => sheet.patches);
}

function around(patches: readonly Patch[]): Box {
  return {
    left: Math.min(...patches.map(({ box }) => box.left)),
    top: Math.min(...patches.map(({ box }) => box.top)),
    right: Math.max(...patches.map(({ box }) => box.right)),
    bottom: Math.max(...patches.map(({ box }) => box.bottom)),
  };
}

function overlaps(a: Box, b: Box): boolean {
  const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left);
  const high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
  return wide > 0.5 && high > 0.5;
}

function area(box: Box): number {
  return (box.right - box.left) * (box.bottom - box.top);
}
