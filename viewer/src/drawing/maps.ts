/** Small maps of all layers on one scale, drawn by a pen. */

import type { Field } from "../state/field";
import { drawField } from "./overlay";
import type { Patch } from "../reading/patches";
import { fit, type Pen, type Point } from "./pen";
import { colourOf } from "./scale";
import type { Theme } from "./theme";

/** What all maps of one picture have in common. */
export interface MapPlan {
  field: Field;
  /** what the ends of the colour scale stand for */
  ends: readonly [string, string];
  share(row: number, entry: number): number;
  patches: readonly Patch[];
  /** pixels of the picture */
  size: Size;
  /** the picture, small and grey */
  under: HTMLImageElement | null;
}

interface Size {
  width: number;
  height: number;
}

/** Width of a square map; others have the same area. */
const SIDE = 104;
const [ACROSS, GAP, NAME, KEY, FONT_SIZE] = [6, 12, 18, 44, 12];
const [RAMP, RAMP_STEPS] = [120, 60];

export function mapSize({ width, height }: Size): Size {
  const wide = Math.round(SIDE * Math.sqrt(Math.min(Math.max(width / height, 1 / 4), 4)));
  return { width: wide, height: (wide * height) / width };
}

export function drawMap(pen: Pen, { under, patches, size, share, field }: MapPlan, row: number, corner: Point, width: number): void {
  const scale = width / size.width;
  if (under) pen.image(under, ...corner, width, size.height * scale, "");
  else pen.rect(...corner, width, size.height * scale, "#808080");
  drawField(pen, patches, scale, (entry) => share(row, entry), field.palette, corner);
}

/** Room that all maps take with their names and the key. */
export function sheetSize(picture: Size, count: number): Size {
  const { width, height } = mapSize(picture);
  return { width: GAP + ACROSS * (width + GAP), height: KEY + Math.ceil(count / ACROSS) * (height + NAME + GAP) };
}

export function drawMaps(pen: Pen, plan: MapPlan, names: readonly string[], title: string, theme: Theme): void {
  const { width, height } = mapSize(plan.size);
  const size = sheetSize(plan.size, names.length);
  pen.rect(0, 0, size.width, size.height, theme.surface);
  drawKey(pen, plan, title, theme, size.width);
  names.forEach((name, row) => {
    const left = GAP + (row % ACROSS) * (width + GAP);
    const top = KEY + Math.floor(row / ACROSS) * (height + NAME + GAP);
    pen.text(name, left + width / 2, top + NAME / 2 - 1, { size: FONT_SIZE, fill: theme.soft, align: "center" });
    drawMap(pen, plan, row, [left, top + NAME], width);
  });
}

function drawKey(pen: Pen, { field, ends }: MapPlan, title: string, theme: Theme, width: number): void {
  const style = { size: FONT_SIZE, fill: theme.ink };
  const middle = KEY / 2;
  const left = width - GAP - RAMP - 100;
  pen.text(fit(title, left - 110 - GAP, FONT_SIZE, 600), GAP, middle, { ...style, weight: 600 });
  pen.text(ends[0], left - 8, middle, { ...style, align: "right" });
  for (let i = 0; i < RAMP_STEPS; i++) {
    pen.rect(left + (i * RAMP) / RAMP_STEPS, middle - 6, RAMP / RAMP_STEPS + 0.5, 12, colourOf(i / (RAMP_STEPS - 1), field.palette));
  }
  pen.text(ends[1], left + RAMP + 8, middle, style);
}
