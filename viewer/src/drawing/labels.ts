/** Words on a map: the surest first, each only where it does not cover another. */

export interface Label {
  /** centre of the patch and its size, in CSS pixels */
  x: number;
  y: number;
  width: number;
  height: number;
  /** width of the text at a font size of 1 */
  em: number;
  /** 0..1 */
  certainty: number;
}

export interface Placed {
  /** index of the label in the list given */
  label: number;
  size: number;
}

const SMALLEST = 8;
const MARGIN = 1;

/** Font sizes (whole pixels: a canvas is slow to change to many) a patch of this height allows for the least and the most certain word. */
export function sizesFor(height: number): { small: number; large: number } {
  return {
    small: Math.round(Math.min(Math.max(height * 0.36, SMALLEST), 12)),
    large: Math.round(Math.min(Math.max(height * 0.62, 11), 22)),
  };
}

/** Choose font sizes; a word that finds no room even when small is left out (hovering still tells it). */
export function place(labels: readonly Label[], right: number): Placed[] {
  const order = labels.map((_, i) => i).sort((a, b) => labels[b]!.certainty - labels[a]!.certainty || a - b);
  const taken = new Taken();
  const placed: Placed[] = [];
  for (const index of order) {
    const label = labels[index]!;
    const { small, large } = sizesFor(label.height);
    const wish = small + (large - small) * Math.sqrt(label.certainty);
    const fitting = Math.max(Math.floor(Math.min(wish, (label.width - 2 * MARGIN) / label.em)), SMALLEST);
    for (const size of new Set([fitting, Math.min(fitting, small), SMALLEST])) {
      const bounds = boundsOf(label, size);
      if (bounds.left < -1 || bounds.right > right + 1 || taken.meets(bounds)) continue;
      taken.add(bounds);
      placed.push({ label: index, size });
      break;
    }
  }
  return placed;
}

/** Places already given away, kept by bands of the picture so that few must be compared. */
class Taken {
  private readonly bands: Bounds[][] = [];

  meets(bounds: Bounds): boolean {
    for (let band = bandOf(bounds.top); band <= bandOf(bounds.bottom); band++) {
      for (const other of this.bands[band] ?? []) if (meets(bounds, other)) return true;
    }
    return false;
  }

  add(bounds: Bounds): void {
    for (let band = bandOf(bounds.top); band <= bandOf(bounds.bottom); band++) (this.bands[band] ??= []).push(bounds);
  }
}

const BAND = 16;

function bandOf(y: number): number {
  return Math.max(Math.floor(y / BAND), 0);
}

interface Bounds {
  left: number;
  right: number;
  top: number;
  bottom: number;
}

function boundsOf(label: Label, size: number): Bounds {
  const half = (label.em * size) / 2;
  return {
    left: label.x - half - MARGIN,
    right: label.x + half + MARGIN,
    top: label.y - size * 0.5,
    bottom: label.y + size * 0.5,
  };
}

function meets(a: Bounds, b: Bounds): boolean {
  return a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
}
