/** One set of drawing strokes with two papers: a canvas for the screen and PNG, and SVG. */

export const FONT = 'system-ui, "Noto Sans", "Noto Sans CJK SC", "Noto Sans Arabic", sans-serif';

export interface TextStyle {
  /** height of the font in CSS pixels */
  size: number;
  fill: string;
  weight?: number;
  align?: "left" | "center" | "right";
  /** colour around the letters, so that they can be read on any ground */
  halo?: string;
}

export type Point = readonly [x: number, y: number];

/** All coordinates are CSS pixels; text is placed by its vertical middle. */
export interface Pen {
  rect(x: number, y: number, width: number, height: number, fill: string, alpha?: number): void;
  frame(x: number, y: number, width: number, height: number, stroke: string, thickness: number): void;
  line(points: readonly Point[], stroke: string, thickness: number, dash?: readonly number[]): void;
  /** A closed outline, filled. */
  area(points: readonly Point[], fill: string, alpha: number): void;
  dot(x: number, y: number, radius: number, fill: string): void;
  text(text: string, x: number, y: number, style: TextStyle): void;
  /** The nearest place where an edge falls between two pixels of the screen. */
  snap(value: number): number;
  /** A picture, darkened or grey as the page shows it under its overlay. */
  image(picture: HTMLImageElement, x: number, y: number, width: number, height: number, filter: string): void;
}

function fontOf({ size, weight = 400 }: TextStyle): string {
  return `${weight} ${size}px ${FONT}`;
}

export function haloWidth(size: number): number {
  return Math.max(2.5, size / 4);
}

export class CanvasPen implements Pen {
  private readonly ratio: number;

  constructor(readonly context: CanvasRenderingContext2D) {
    this.ratio = context.getTransform().a;
    context.lineJoin = "round";
    context.textBaseline = "middle";
  }

  rect(x: number, y: number, width: number, height: number, fill: string, alpha = 1): void {
    this.context.globalAlpha = alpha;
    this.context.fillStyle = fill;
    this.context.fillRect(x, y, width, height);
    this.context.globalAlpha = 1;
  }

  frame(x: number, y: number, width: number, height: number, stroke: string, thickness: number): void {
    this.context.lineWidth = thickness;
    this.context.strokeStyle = stroke;
    this.context.strokeRect(x, y, width, height);
  }

  line(points: readonly Point[], stroke: string, thickness: number, dash: readonly number[] = []): void {
    const { context } = this;
    context.lineWidth = thickness;
    context.strokeStyle = stroke;
    context.setLineDash([...dash]);
    context.beginPath();
    points.forEach(([x, y], i) => (i === 0 ? context.moveTo(x, y) : context.lineTo(x, y)));
    context.stroke();
    context.setLineDash([]);
  }

  area(points: readonly Point[], fill: string, alpha: number): void {
    const { context } = this;
    context.globalAlpha = alpha;
    context.fillStyle = fill;
    context.beginPath();
    points.forEach(([x, y], i) => (i === 0 ? context.moveTo(x, y) : context.lineTo(x, y)));
    context.fill();
    context.globalAlpha = 1;
  }

  dot(x: number, y: number, radius: number, fill: string): void {
    this.context.fillStyle = fill;
    this.context.beginPath();
    this.context.arc(x, y, radius, 0, 2 * Math.PI);
    this.context.fill();
  }

  text(text: string, x: number, y: number, style: TextStyle): void {
    const { context } = this;
    const font = fontOf(style);
    if (context.font !== font) context.font = font;
    context.textAlign = style.align ?? "left";
    if (style.halo) {
      context.lineWidth = haloWidth(style.size);
      context.strokeStyle = style.halo;
      context.strokeText(text, x, y);
    }
    context.fillStyle = style.fill;
    context.fillText(text, x, y);
  }

  snap(value: number): number {
    return Math.round(value * this.ratio) / this.ratio;
  }

  image(picture: HTMLImageElement, x: number, y: number, width: number, height: number, filter: string): void {
    this.context.filter = filter || "none";
    this.context.drawImage(picture, x, y, width, height);
    this.context.filter = "none";
  }
}

/** Writes SVG; its text stays text. */
export class SvgPen implements Pen {
  private readonly parts: string[] = [];

  constructor(
    private readonly width: number,
    private readonly height: number,
  ) {}

  rect(x: number, y: number, width: number, height: number, fill: string, alpha = 1): void {
    this.add("rect", { x, y, width, height, fill, "fill-opacity": alpha < 1 ? alpha : null });
  }

  frame(x: number, y: number, width: number, height: number, stroke: string, thickness: number): void {
    this.add("rect", { x, y, width, height, fill: "none", stroke, "stroke-width": thickness });
  }

  line(points: readonly Point[], stroke: string, thickness: number, dash: readonly number[] = []): void {
    this.add("polyline", {
      points: pathOf(points), fill: "none", stroke, "stroke-width": thickness,
      "stroke-linejoin": "round", "stroke-dasharray": dash.join(" ") || null,
    });
  }

  area(points: readonly Point[], fill: string, alpha: number): void {
    this.add("polygon", { points: pathOf(points), fill, "fill-opacity": alpha });
  }

  dot(x: number, y: number, radius: number, fill: string): void {
    this.add("circle", { cx: x, cy: y, r: radius, fill });
  }

  text(text: string, x: number, y: number, style: TextStyle): void {
    const anchor = { left: null, center: "middle", right: "end" }[style.align ?? "left"];
    this.add(
      "text",
      {
        x, y, "font-size": style.size, "font-weight": style.weight ?? null, fill: style.fill, "text-anchor": anchor,
        "dominant-baseline": "central", "unicode-bidi": "isolate", "xml:space": "preserve",
        stroke: style.halo ?? null, "stroke-width": style.halo ? haloWidth(style.size) : null,
        "paint-order": style.halo ? "stroke" : null, "stroke-linejoin": style.halo ? "round" : null,
      },
      text,
    );
  }

  snap(value: number): number {
    return Math.round(value);
  }

  image(picture: HTMLImageElement, x: number, y: number, width: number, height: number, filter: string): void {
    this.add("image", {
      href: picture.src, x, y, width, height, preserveAspectRatio: "none", style: filter ? `filter:${filter}` : null,
    });
  }

  /** The whole document. */
  source(): string {
    const size = `width="${round(this.width)}" height="${round(this.height)}" viewBox="0 0 ${round(this.width)} ${round(this.height)}"`;
    return `<svg xmlns="http://www.w3.org/2000/svg" ${size} font-family="${escape(FONT)}">\n${this.parts.join("\n")}\n</svg>\n`;
  }

  private add(tag: string, attributes: Record<string, string | number | null>, text = ""): void {
    const written = Object.entries(attributes).flatMap(([name, value]) =>
      value === null ? [] : [` ${name}="${escape(String(typeof value === "number" ? round(value) : value))}"`],
    );
    this.parts.push(text ? `<${tag}${written.join("")}>${escape(text)}</${tag}>` : `<${tag}${written.join("")}/>`);
  }
}

function pathOf(points: readonly Point[]): string {
  return points.map((point) => point.map(round).join(",")).join(" ");
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}

/** Text for XML: markup escaped; characters that XML cannot hold were named before they came here. */
function escape(text: string): string {
  return text.replace(/[&<>"]/g, (char) => `&#${char.charCodeAt(0)};`);
}

let ruler: CanvasRenderingContext2D | null = null;
const widths = new Map<string, number>();

/** Width of a text per pixel of font size. */
export function emWidth(text: string, weight = 400): number {
  const key = `${weight} ${text}`;
  const known = widths.get(key);
  if (known !== undefined) return known;
  ruler ??= document.createElement("canvas").getContext("2d")!;
  ruler.font = `${weight} 20px ${FONT}`;
  const width = Math.max(ruler.measureText(text).width / 20, 0.1);
  widths.set(key, width);
  return width;
}

/** The text, cut short to a width in pixels. */
export function fit(text: string, width: number, size: number, weight = 400): string {
  if (emWidth(text, weight) * size <= width) return text;
  const chars = [...text];
  let [low, high] = [0, chars.length - 1];
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (emWidth(`${chars.slice(0, middle).join("")}…`, weight) * size <= width) low = middle;
    else high = middle - 1;
  }
  return low > 0 ? `${chars.slice(0, low).join("")}…` : "";
}

/** A canvas of some CSS size at the screen's resolution, cleared. */
export function prepare(canvas: HTMLCanvasElement, width: number, height: number): CanvasPen {
  const ratio = window.devicePixelRatio || 1;
  const [wide, high] = [Math.round(width * ratio), Math.round(height * ratio)];
  const context = canvas.getContext("2d")!;
  if (canvas.width !== wide || canvas.height !== high) {
    canvas.width = wide;
    canvas.height = high;
  } else {
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, wide, high);
  }
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  return new CanvasPen(context);
}
