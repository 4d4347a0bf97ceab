/** Token pieces made visible: what has no shape of its own is named, and nothing rearranges its surroundings. */

export interface Part {
  text: string;
  /** "plain" text, a "space" mark, or a "code" for a character that has no shape of its own */
  style: "plain" | "space" | "code";
}

const NAMES: Record<number, string> = {
  0x09: "TAB", 0x0a: "LF", 0x0d: "CR", 0x20: "SP", 0xa0: "NBSP", 0xad: "SHY",
  0x200b: "ZWSP", 0x200c: "ZWNJ", 0x200d: "ZWJ", 0x200e: "LRM", 0x200f: "RLM",
  0x2028: "LS", 0x2029: "PS", 0x202a: "LRE", 0x202b: "RLE", 0x202c: "PDF", 0x202d: "LRO", 0x202e: "RLO",
  0x2060: "WJ", 0x2066: "LRI", 0x2067: "RLI", 0x2068: "FSI", 0x2069: "PDI", 0xfeff: "BOM", 0xfffd: "U+FFFD",
};
const SHAPELESS = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}\ufffd]|(?! )\p{Zs}/u;
const JOINERS = /[\u200c\u200d]/;
const KEPT = /[ \n\u200c\u200d\ufffd]/;
const BYTES = /^(<0x[0-9A-F]{2}>)+$/;

/** Name of a character that cannot be seen. */
export function codeName(char: string): string {
  const point = char.codePointAt(0) ?? 0;
  return NAMES[point] ?? `U+${point.toString(16).toUpperCase().padStart(4, "0")}`;
}

/** Cut a piece into what can be shown as it is, leading or lone spaces, and named characters. */
export function parts(piece: string): Part[] {
  if (piece === "") return [{ text: "empty", style: "code" }];
  if (BYTES.test(piece)) return [...piece.matchAll(/0x(..)/g)].map((byte) => ({ text: byte[1]!, style: "code" }));
  const out: Part[] = [];
  const push = (text: string, style: Part["style"]): void => {
    const last = out.at(-1);
    if (last?.style === style && style !== "code") last.text += text;
    else out.push({ text, style });
  };
  const chars = [...piece];
  chars.forEach((char, i) => {
    const inside = i > 0 && i < chars.length - 1;
    if (char === "▁") push("▁", "space");
    else if (char === " ") push("␣", "space");
    else if (JOINERS.test(char) && inside && !SHAPELESS.test(chars[i - 1]!)) push(char, "plain");
    else if (SHAPELESS.test(char)) push(codeName(char), "code");
    else push(char, "plain");
  });
  return out;
}

/** The same on one line, for labels, titles and canvases. */
export function visible(piece: string): string {
  return parts(piece).map((part) => (part.style === "code" ? `‹${part.text}›` : part.text)).join("");
}

const SIGNS: Record<string, string> = { LF: "⏎", CR: "⏎", TAB: "⇥", empty: "∅" };

/** For words drawn on the picture, where room is short: no mark of a leading space, signs for common codes. */
export function short(piece: string): string {
  const shown = parts(piece);
  if (shown.length > 1 && shown[0]!.style === "space") shown.shift();
  return shown.map((part) => (part.style === "code" ? (SIGNS[part.text] ?? `‹${part.text}›`) : part.text)).join("");
}

/** Whether a piece holds a letter, digit or pictograph; punctuation and codes matter less on a map. */
export function isWord(piece: string): boolean {
  return !BYTES.test(piece) && /[\p{L}\p{N}\p{Extended_Pictographic}]/u.test(piece);
}

/** Longer text (prompt, answer, names): keeps spaces and line breaks, names what cannot be seen. */
export function visibleText(text: string): string {
  return [...text]
    .map((char) => (KEPT.test(char) || !SHAPELESS.test(char) ? char : `‹${codeName(char)}›`))
    .join("");
}

/** What two spellings of a word have in common: no case, no leading space. */
export function fold(piece: string): string {
  return piece.replaceAll("▁", " ").trim().toLowerCase();
}

/** A probability from its logarithm in nats, with two telling digits. */
export function percent(logprob: number): string {
  if (Number.isNaN(logprob)) return "–";
  const value = 100 * Math.exp(logprob);
  if (value >= 99.95) return "100%";
  if (value >= 9.95) return `${value.toFixed(0)}%`;
  if (value >= 0.95) return `${value.toFixed(1)}%`;
  if (value >= 0.0095) return `${value.toFixed(2)}%`;
  return value < 1e-4 ? `${value.toExponential(0).replace("e-", "·10⁻").replace(/\d+$/, superscript)}%` : `${value.toPrecision(1)}%`;
}

export function nats(value: number): string {
  return Number.isNaN(value) ? "–" : value < 9.95 ? value.toFixed(2) : value.toFixed(1);
}

function superscript(digits: string): string {
  return [...digits].map((digit) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[Number(digit)]).join("");
}

/** A quantity of any unit, with three telling digits. */
export function amount(value: number): string {
  if (value === 0) return "0";
  const size = Math.abs(value);
  return size >= 1e-3 && size < 1e5 ? String(Number(value.toPrecision(3))) : value.toExponential(1);
}
