/** Saving what a part of the page shows: PNG, SVG or CSV. */

import { el } from "../parts/dom";
import { CanvasPen, SvgPen } from "./pen";
import type { Cell, Sheet } from "./sheet";

type Kind = "PNG" | "SVG" | "CSV";

const KINDS: readonly Kind[] = ["PNG", "SVG", "CSV"];
const SHARPNESS = 2;
const LONGEST_SIDE = 16000;

/** A small menu; `part` names what it saves, `stem` begins the file's name. */
export function saveMenu(part: string, stem: () => string, sheet: () => Sheet): HTMLElement {
  const summary = el("summary", { "aria-label": `Save ${part}`, title: `Save ${part} as a picture or a table` }, "Save");
  const node = el("details", { class: "save" }, summary);
  const close = (): void => {
    node.open = false;
  };
  const buttons = KINDS.map((kind) => {
    const button = el("button", { type: "button" }, kind);
    button.addEventListener("click", async () => {
      close();
      const made = sheet();
      download(await written(made, kind), `${slug(`${stem()}-${made.name}`)}.${kind.toLowerCase()}`);
    });
    return button;
  });
  node.append(el("div", { class: "kinds" }, ...buttons));
  node.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !node.open) return;
    close();
    summary.focus();
    event.stopPropagation();
  });
  node.addEventListener("focusout", (event) => {
    if (!(event.relatedTarget instanceof Node && node.contains(event.relatedTarget))) close();
  });
  return node;
}

async function written(sheet: Sheet, kind: Kind): Promise<Blob> {
  if (kind === "CSV") return new Blob([csv(sheet.table())], { type: "text/csv;charset=utf-8" });
  return kind === "SVG" ? new Blob([svg(sheet)], { type: "image/svg+xml" }) : png(sheet);
}

export function svg(sheet: Sheet): string {
  const pen = new SvgPen(sheet.width, sheet.height);
  sheet.draw(pen);
  return pen.source();
}

/** Twice as sharp as the screen's pixels, less where the picture would be too large for a browser. */
function png(sheet: Sheet): Promise<Blob> {
  const scale = Math.min(SHARPNESS, LONGEST_SIDE / Math.max(sheet.width, sheet.height));
  const canvas = el("canvas", { width: Math.ceil(sheet.width * scale), height: Math.ceil(sheet.height * scale) });
  const context = canvas.getContext("2d")!;
  context.scale(scale, scale);
  sheet.draw(new CanvasPen(context));
  return new Promise((resolve, reject) => {
    canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("the browser could not make the PNG"))), "image/png");
  });
}

/** A table for spreadsheets and data frames; text that a spreadsheet would run as a formula gets a leading apostrophe. */
export function csv(rows: readonly (readonly Cell[])[]): string {
  return rows.map((row) => `${row.map(cell).join(",")}\r\n`).join("");
}

function cell(value: Cell): string {
  if (typeof value === "number") return Number.isFinite(value) ? String(Number(value.toPrecision(7))) : "";
  const safe = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

/** A file name that every system takes. */
export function slug(text: string): string {
  return text.replace(/[^\p{L}\p{N}.-]+/gu, "-").replace(/^[-.]+|[-.]+$/g, "").slice(0, 80) || "patchlens";
}

/** Give a file to the person, as a browser saves what is downloaded. */
export function download(blob: Blob, name: string): void {
  const address = URL.createObjectURL(blob);
  el("a", { href: address, download: name }).click();
  window.setTimeout(() => URL.revokeObjectURL(address), 10_000);
}
