/** The study as `views/report.py` packs it: what it is, and its tables as they stand in the CSV files. */

import { bytesOfBase64, inflate } from "../reading/decode";
import { parseCsv } from "./csv";

export interface Quantity {
  name: string;
  about: string;
  unit: string;
}

interface Payload {
  name: string;
  models: string[];
  lenses: string[];
  groups: string[];
  progress: [model: string, wanted: number, done: number, failed: number][];
  versions: Record<string, string>;
  notes: string[];
  quantities: [string, string, string][];
  summaries: [string, string, string][];
  tables: [name: string, about: string, csv: string][];
  thumbnails: Record<string, string>;
}

/** One row of a table, by names of columns. */
export class Row {
  constructor(
    private readonly places: ReadonlyMap<string, number>,
    private readonly fields: readonly string[],
  ) {}

  /** The text of a column; empty where nothing is known. */
  text(column: string): string {
    const place = this.places.get(column);
    if (place === undefined) throw new Error(`there is no column ${column}`);
    return this.fields[place]!;
  }

  /** NaN where nothing is known. */
  number(column: string): number {
    const text = this.text(column);
    return text === "" ? NaN : Number(text);
  }

  list(column: string): string[] {
    const text = this.text(column);
    return text === "" ? [] : (JSON.parse(text) as string[]);
  }
}

export class Table {
  private parsed: { columns: string[]; rows: Row[] } | null = null;

  constructor(
    readonly name: string,
    readonly about: string,
    readonly csv: string,
  ) {}

  get columns(): readonly string[] {
    return this.parse().columns;
  }

  get rows(): readonly Row[] {
    return this.parse().rows;
  }

  /** Rows with these values. */
  where(equal: Record<string, string>): Row[] {
    const wanted = Object.entries(equal);
    return this.rows.filter((row) => wanted.every(([column, value]) => row.text(column) === value));
  }

  private parse(): { columns: string[]; rows: Row[] } {
    if (!this.parsed) {
      const [columns = [], ...fields] = parseCsv(this.csv);
      const places = new Map(columns.map((column, i) => [column, i]));
      this.parsed = { columns, rows: fields.map((row) => new Row(places, row)) };
    }
    return this.parsed;
  }
}

/** Rows that have a key in common, keys in the order in which they come first. */
export function grouped<K>(rows: readonly Row[], key: (row: Row) => K): Map<K, Row[]> {
  const groups = new Map<K, Row[]>();
  for (const row of rows) {
    const own = groups.get(key(row));
    if (own) own.push(row);
    else groups.set(key(row), [row]);
  }
  return groups;
}

export interface Study extends Omit<Payload, "quantities" | "summaries" | "tables" | "thumbnails"> {
  quantities: Quantity[];
  summaries: Quantity[];
  tables: Table[];
  thumbnails: ReadonlyMap<string, string>;
  table(name: string): Table;
}

export async function unpack(text: string): Promise<Study> {
  const bytes = await inflate(bytesOfBase64(text));
  return studyOf(JSON.parse(new TextDecoder().decode(bytes)) as Payload);
}

export function studyOf(payload: Payload): Study {
  const tables = payload.tables.map(([name, about, csv]) => new Table(name, about, csv));
  const named = new Map(tables.map((table) => [table.name, table]));
  return {
    ...payload,
    quantities: payload.quantities.map(quantity),
    summaries: payload.summaries.map(quantity),
    tables,
    thumbnails: new Map(Object.entries(payload.thumbnails)),
    table(name) {
      const found = named.get(name);
      if (!found) throw new Error(`there is no table ${name}`);
      return found;
    },
  };
}

function quantity([name, about, unit]: [string, string, string]): Quantity {
  return { name, about, unit };
}
