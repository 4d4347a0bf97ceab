/** Layers of several readings on one slider: equal numbers together, or equal depths where the models differ. */

interface Layered {
  layers: readonly number[];
  nLayers: number;
}

/** For each place of the slider, the row of every reading. */
export function stopsOf(readings: readonly Layered[]): number[][] {
  const depths = readings.map(({ layers, nLayers }) => layers.map((layer) => layer / Math.max(nLayers, 1)));
  const lead = depths.reduce((a, b) => (b.length > a.length ? b : a), []);
  const same = new Set(readings.map((reading) => reading.nLayers)).size === 1;
  const marks = same ? [...new Set(depths.flat())].sort((a, b) => a - b) : lead;
  return marks.map((depth) => depths.map((own) => nearest(own, depth)));
}

function nearest(depths: readonly number[], depth: number): number {
  let best = 0;
  depths.forEach((own, row) => {
    if (Math.abs(own - depth) < Math.abs(depths[best]! - depth)) best = row;
  });
  return best;
}
