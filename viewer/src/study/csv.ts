/** Tables as RFC 4180 has them, back to rows of text. */

const [QUOTE, COMMA, LF] = ['"', ",", "\n"];

/** The fields of each row, the header first. */
export function parseCsv(text: string): string[][] {
  const rows: string[][] = [];
  let row: string[] = [];
  let at = 0;
  while (at < text.length) {
    const { field, end } = text[at] === QUOTE ? quoted(text, at + 1) : plain(text, at);
    row.push(field);
    if (text[end] === COMMA) {
      at = end + 1;
      if (at === text.length) rows.push([...row, ""]);
      continue;
    }
    rows.push(row);
    row = [];
    at = text[end] === LF ? end + 1 : end + 2;
  }
  return rows;
}

interface Field {
  field: string;
  /** place of the comma, line end or end of the text after it */
  end: number;
}

function quoted(text: string, start: number): Field {
  let field = "";
  let from = start;
  for (;;) {
    const close = text.indexOf(QUOTE, from);
    if (close < 0) throw new Error("a quoted field of a table has no end");
    field += text.slice(from, close);
    if (text[close + 1] !== QUOTE) return { field, end: close + 1 };
    field += QUOTE;
    from = close + 2;
  }
}

function plain(text: string, start: number): Field {
  let end = start;
  while (end < text.length && text[end] !== COMMA && text[end] !== LF && text[end] !== "\r") end++;
  return { field: text.slice(start, end), end };
}
