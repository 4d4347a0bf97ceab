/** From the text block in the page to the header and the arrays. */

import type { ArraySpec, Header } from "./payload";

export const FORMAT = 1;
export const MISSING = 255;

export interface Packed {
  header: Header;
  body: Uint8Array;
}

export function bytesOfBase64(text: string): Uint8Array<ArrayBuffer> {
  const binary = atob(text.trim());
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

export async function inflate(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array> {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** Split `length of header (4 bytes, little-endian) | header | body`. */
export function split(bytes: Uint8Array): Packed {
  const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length))) as Header;
  if (header.format !== FORMAT) throw new Error(`payload format ${header.format}, expected ${FORMAT}`);
  return { header, body: bytes.subarray(4 + length) };
}

export async function unpack(text: string): Promise<Packed> {
  return split(await inflate(bytesOfBase64(text)));
}

export function sizeOf(spec: ArraySpec): number {
  return spec.shape.reduce((product, n) => product * n, 1);
}

export function integers(body: Uint8Array, spec: ArraySpec): Uint32Array {
  const size = sizeOf(spec);
  const out = new Uint32Array(size);
  for (let plane = 0; plane < spec.planes; plane++) {
    const bytes = body.subarray(spec.offset + plane * size, spec.offset + (plane + 1) * size);
    const weight = 256 ** plane;
    for (let i = 0; i < size; i++) out[i]! += bytes[i]! * weight;
  }
  return out;
}

/** Magnitude of each code; the square-root scale keeps small values, where probabilities are large, fine. */
export function magnitudes(scale: number): Float64Array {
  const table = new Float64Array(256);
  for (let code = 0; code < MISSING; code++) table[code] = scale * (code / (MISSING - 1)) ** 2;
  table[MISSING] = NaN;
  return table;
}

/** Coded real numbers, looked up when asked for. */
export class Coded {
  readonly codes: Uint8Array;
  private readonly table: Float64Array;

  constructor(body: Uint8Array, spec: ArraySpec) {
    this.codes = body.subarray(spec.offset, spec.offset + sizeOf(spec));
    this.table = magnitudes(spec.scale);
  }

  at(index: number): number {
    return this.table[this.codes[index] ?? MISSING] ?? NaN;
  }
}
