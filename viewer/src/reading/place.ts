/** What a position is, in words. */

import { pieceNode, el } from "../parts/dom";
import type { Reading } from "./reading";
import { visible } from "./text";

export function placeName(reading: Reading, position: number): string {
  const { row, col, image, index, step, token } = reading.header.positions;
  const where = `position ${index[position]}`;
  const kind = reading.kind(position);
  if (kind === "patch") {
    const which = reading.header.pictures.length > 1 ? `picture ${image[position]}, ` : "";
    return `patch ${which}row ${row[position]}, column ${col[position]}`;
  }
  const piece = visible(reading.piece(token[position]!));
  if (step[position]! >= 0) return `${piece}, ${where}, before answer token ${step[position]! + 1}`;
  return `${kind === "image_other" ? "image token" : "token"} ${piece}, ${where}`;
}

/** The same as a title, with the piece set apart. */
export function placeNode(reading: Reading, position: number): Node {
  const { index, step, token } = reading.header.positions;
  if (reading.kind(position) === "patch") {
    const name = placeName(reading, position);
    return document.createTextNode(name[0]!.toUpperCase() + name.slice(1));
  }
  const node = document.createDocumentFragment();
  const piece = pieceNode(reading.piece(token[position]!));
  const where = `position ${index[position]}`;
  if (step[position]! < 0) node.append("At ", piece, el("small", {}, where));
  else node.append(`Answer token ${step[position]! + 1}`, el("small", {}, `read at `, piece, `, ${where}`));
  return node;
}
