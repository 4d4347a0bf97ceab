/** From the text block in the page to the header and the arrays, as `views/coding.py` packs them. */

import type { ArraySpec, Columns, Header, PackedHeader, Places } from "./payload";

export const FORMAT = 2;
export const MISSING = 255;
const ESCAPE = 255;
const LARGEST = 254;
const MIDDLE = 127;
const NO_BOX = -1;
const PIXEL_PARTS = 100;

export interface Packed {
  header: Header;
  body: Uint8Array;
}

interface FromBase64 {
  fromBase64?: (text: string) => Uint8Array<ArrayBuffer>;
}

export function bytesOfBase64(text: string): Uint8Array<ArrayBuffer> {
  const native = Uint8Array as unknown as FromBase64;
  if (native.fromBase64) return native.fromBase64(text);
  const binary = atob(text.trim());
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

/** Read piece by piece, as going through a `Blob` and a `Response` takes up to five times as long. */
export async function inflate(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array> {
  const { readable, writable } = new DecompressionStream("deflate");
  const writer = writable.getWriter();
  const [pieces] = await Promise.all([piecesOf(readable), writer.write(bytes), writer.close()]);
  const out = new Uint8Array(pieces.reduce((size, piece) => size + piece.length, 0));
  let end = 0;
  for (const piece of pieces) {
    out.set(piece, end);
    end += piece.length;
  }
  return out;
}

async function piecesOf(stream: ReadableStream<Uint8Array>): Promise<Uint8Array[]> {
  const reader = stream.getReader();
  const pieces: Uint8Array[] = [];
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return pieces;
    pieces.push(value);
  }
}

/** Split `length of header (4 bytes, little-endian) | header | body`, and fill the header's columns. */
export function split(bytes: Uint8Array): Packed {
  const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
  const packed = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length))) as PackedHeader;
  if (packed.format !== FORMAT) throw new Error(`payload format ${packed.format}, expected ${FORMAT}`);
  const body = bytes.subarray(4 + length);
  const header = {
    ...packed,
    token_ids: integers(body, packed.token_ids),
    positions: columns(body, packed.positions),
    vision: packed.vision && columns(body, packed.vision),
  };
  return { header, body };
}

export async function unpack(text: string): Promise<Packed> {
  return split(await inflate(bytesOfBase64(text)));
}

/** A plain array; `Array.from` takes far longer. */
function listOf(values: Int32Array): number[] {
  const list: number[] = [];
  for (let i = 0; i < values.length; i++) list.push(values[i]!);
  return list;
}

function columns<T extends Places>(body: Uint8Array, specs: Columns<T>): T {
  const entries = Object.entries<ArraySpec>(specs).map(([name, spec]) => [name, listOf(integers(body, spec))] as const);
  const places = Object.fromEntries(entries) as unknown as T;
  places.box = places.box.map((parts) => (parts === NO_BOX ? null : parts! / PIXEL_PARTS));
  return places;
}

export function sizeOf(spec: ArraySpec): number {
  return spec.shape.reduce((product, n) => product * n, 1);
}

/** Integers of one to four bytes in two's complement. */
export function integers(body: Uint8Array, spec: ArraySpec): Int32Array {
  const size = sizeOf(spec);
  const out = new Int32Array(size);
  for (let plane = 0; plane < spec.planes; plane++) {
    const bytes = body.subarray(spec.offset + plane * size, spec.offset + (plane + 1) * size);
    for (let i = 0; i < size; i++) out[i]! |= bytes[i]! << (8 * plane);
  }
  const unused = 32 - 8 * spec.planes;
  for (let i = 0; i < size; i++) {
    const before = spec.stride > 0 && i >= spec.stride ? out[i - spec.stride]! : 0;
    out[i] = ((out[i]! + before) << unused) >> unused;
  }
  return out;
}

/** Unsigned bytes of an array of one plane. */
export function bytesOf(body: Uint8Array, spec: ArraySpec): Uint8Array {
  const bytes = body.slice(spec.offset, spec.offset + sizeOf(spec));
  if (spec.stride === 0) return bytes;
  for (let i = spec.stride; i < bytes.length; i++) bytes[i]! += bytes[i - spec.stride]!;
  return bytes;
}

/**
 * Tokens [rank, layer, position], each told by its place among the candidates not yet taken (those of the layer
 * before at the same position, then those of the cell before), or by an escape. Escapes come cell by cell.
 */
export function tokens(choices: Uint8Array, escapes: Int32Array, shape: readonly number[], nTokens: number): Int32Array {
  const [k = 0, layers = 0, positions = 0] = shape;
  const cells = layers * positions;
  const out = new Int32Array(k * cells);
  const candidates = new Int32Array(2 * k);
  const offeredTo = new Int32Array(nTokens).fill(-1);
  let escaped = 0;
  for (let cell = 0; cell < cells; cell++) {
    let end = 0;
    for (const from of [cell - positions, cell - 1]) {
      if (from < 0) continue;
      for (let i = from; i < out.length; i += cells) {
        const token = out[i]!;
        if (offeredTo[token] !== cell) candidates[end++] = token;
        offeredTo[token] = cell;
      }
    }
    let start = 0;
    for (let i = cell; i < out.length; i += cells) {
      const choice = choices[i]!;
      out[i] = choice === ESCAPE ? escapes[escaped++]! : candidates[start + choice]!;
      if (choice === ESCAPE) continue;
      for (let j = start + choice; j > start; j--) candidates[j] = candidates[j - 1]!;
      start++;
    }
  }
  return out;
}

/** Magnitude of each code; the square-root scale keeps small values, where probabilities are large, fine. */
export function magnitudes(scale: number): Float64Array {
  return Float64Array.from({ length: 256 }, (_, code) => (code === MISSING ? NaN : scale * (code / LARGEST) ** 2));
}

/** Value of each signed code: the same scale to both sides of code 127, which is zero. */
export function signedValues(scale: number): Float64Array {
  return Float64Array.from({ length: 256 }, (_, code) => {
    const share = (code - MIDDLE) / MIDDLE;
    return code === MISSING ? NaN : scale * share * Math.abs(share);
  });
}

/** Coded real numbers, looked up when asked for. */
export class Coded {
  readonly codes: Uint8Array;
  private readonly table: Float64Array;

  constructor(body: Uint8Array, spec: ArraySpec) {
    this.codes = bytesOf(body, spec);
    this.table = spec.code === "signed" ? signedValues(spec.scale) : magnitudes(spec.scale);
  }

  at(index: number): number {
    return this.table[this.codes[index] ?? MISSING] ?? NaN;
  }
}
