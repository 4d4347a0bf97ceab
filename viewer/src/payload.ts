/** What the page is given: a JSON header and byte planes, as `views/payload.py` packs them. */

export const KINDS = ["text", "patch", "image_other", "special"] as const;
export type Kind = (typeof KINDS)[number];

/** One entry per position (or vision state); -1 and null where a fact does not apply. */
export interface Places {
  kind: number[];
  image: number[];
  tile: number[];
  row: number[];
  col: number[];
  /** left, top, right, bottom in pixels of the original picture, four numbers per entry */
  box: (number | null)[];
}

export interface Positions extends Places {
  index: number[];
  /** index into the token table */
  token: number[];
  step: number[];
  generated: number[];
}

/** Bytes of one array in the body: little-endian byte planes, or 8-bit codes on a square-root scale. */
export interface ArraySpec {
  offset: number;
  shape: number[];
  /** number of byte planes of an unsigned integer; 0 for a coded real number */
  planes: number;
  /** for coded reals: code 254 stands for this magnitude, 255 for a missing value */
  scale: number;
}

export interface PictureSpec {
  name: string;
  width: number;
  height: number;
  rows: number;
  cols: number;
  /** a data: address, or empty when the picture cannot be shown */
  src: string;
}

export interface TargetSpec {
  word: string;
  token: number;
  whole: boolean;
}

export type ArrayName =
  | "top_tokens"
  | "top_logprobs"
  | "entropy"
  | "kl_to_final"
  | "target_logprobs"
  | "target_ranks";

export interface Header {
  format: number;
  model: { name: string; revision: string; family: string; dtype: string; n_layers: number };
  lens: string;
  prompt: string;
  answer: { text: string; tokens: number[] };
  notes: string[];
  layers: number[];
  /** pieces in order of frequency, with their ids beside them */
  tokens: string[];
  token_ids: number[];
  positions: Positions;
  vision: Places | null;
  pictures: PictureSpec[];
  targets: TargetSpec[];
  arrays: Record<ArrayName, ArraySpec>;
}
