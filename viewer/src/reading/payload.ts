/** What the page is given: a JSON header and the bytes of arrays, as `views/payload.py` packs them. */

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
  /** index into the token table, -1 for a token that is not in it */
  token: number[];
  step: number[];
  generated: number[];
}

/** Bytes of one array in the body. */
export interface ArraySpec {
  /** unsigned bytes, integers in two's complement, or 8-bit codes of real numbers on a square-root scale */
  code: "byte" | "integer" | "magnitude" | "signed";
  offset: number;
  shape: number[];
  /** number of bytes of each value, in as many planes, lowest first */
  planes: number;
  /** values are stored less the one this many places before; 0 for values stored as they are */
  stride: number;
  /** for codes: the magnitude that the highest one stands for */
  scale: number;
}

export type Columns<T> = Record<keyof T, ArraySpec>;

export interface ChannelSpec {
  name: string;
  axes: string[];
  unit: string;
  description: string;
  array: ArraySpec;
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
  | "top_choices"
  | "top_escapes"
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
  token_ids: ArrayLike<number>;
  positions: Positions;
  vision: Places | null;
  pictures: PictureSpec[];
  targets: TargetSpec[];
  arrays: Record<ArrayName, ArraySpec>;
  channels: ChannelSpec[];
}

/** The header as it travels: its columns stand in the body. */
export interface PackedHeader extends Omit<Header, "token_ids" | "positions" | "vision"> {
  token_ids: ArraySpec;
  positions: Columns<Positions>;
  vision: Columns<Places> | null;
}
