/** The state as the part of an address after "#", so that a link brings back what is seen. */

import { START, type Colour, type Filter, type Measure, type Mode, type Spot, type State, type Store } from "./store";

const MODES: readonly string[] = ["words", "entropy", "kl", "search", "none"];
const MEASURES: readonly Measure[] = ["logprob", "probability", "rank"];
const COLOURS: readonly Colour[] = ["probability", "entropy", "kl", "rank", "overlay"];
const FILTERS: readonly Filter[] = ["all", "patch", "text", "generated"];
const PICK = "at.";
const QUIET_MS = 250;

/** What lies within bounds for the readings shown. */
export interface Bounds {
  stops: number;
  /** number of positions of each reading */
  positions: readonly number[];
  channels: readonly string[];
}

/** What differs from the state at the start; nothing of where the pointer is. */
export function encode(state: State, initial: State): string {
  const written = new URLSearchParams();
  const put = (name: string, value: string | number, usual: string | number): void => {
    if (value !== usual) written.set(name, String(value));
  };
  put("stop", state.stop, initial.stop);
  put("show", state.mode, initial.mode);
  put("words", state.query, initial.query);
  put("measure", state.measure, initial.measure);
  put("maps", Number(state.multiples), Number(initial.multiples));
  put("step", state.step, initial.step);
  put("colour", state.colour, initial.colour);
  put("list", state.filter, initial.filter);
  put("find", state.find, initial.find);
  if (state.pin) written.set("pin", `${state.pin.pane}.${state.pin.position}`);
  for (const piece of state.followed) written.append("follow", piece);
  for (const [axis, index] of Object.entries(state.pick)) written.set(PICK + axis, String(index));
  return written.toString();
}

/** The state that a hash asks for; what it asks wrongly or for another reading stays as at the start. */
export function decode(hash: string, initial: State, bounds: Bounds): State {
  const asked = new URLSearchParams(hash.replace(/^#/, ""));
  return {
    ...initial,
    hover: null,
    stop: whole(asked.get("stop"), bounds.stops) ?? initial.stop,
    mode: mode(asked.get("show"), bounds) ?? initial.mode,
    query: asked.get("words") ?? initial.query,
    measure: one(asked.get("measure"), MEASURES) ?? initial.measure,
    multiples: asked.has("maps") ? asked.get("maps") === "1" : initial.multiples,
    step: whole(asked.get("step"), Infinity) ?? initial.step,
    colour: one(asked.get("colour"), COLOURS) ?? initial.colour,
    filter: one(asked.get("list"), FILTERS) ?? initial.filter,
    find: asked.get("find") ?? initial.find,
    pin: spot(asked.get("pin"), bounds) ?? initial.pin,
    followed: asked.has("follow") ? asked.getAll("follow") : initial.followed,
    pick: Object.fromEntries(
      [...asked].flatMap(([name, value]) => {
        const index = whole(value, Infinity);
        return name.startsWith(PICK) && index !== null ? [[name.slice(PICK.length), index]] : [];
      }),
    ),
  };
}

/** Write the state into the address a moment after it came to rest, and follow the address when it changes. */
export class Address {
  private timer = 0;

  constructor(
    private readonly store: Store,
    private readonly initial: State,
    bounds: Bounds,
    signal: AbortSignal,
  ) {
    const read = (): void => store.set(decode(location.hash, initial, bounds));
    if (location.hash.length > 1) read();
    window.addEventListener("hashchange", read, { signal });
    const { hover: _, ...kept } = START;
    const names = Object.keys(kept) as (keyof State)[];
    store.watch((state) => names.map((name) => state[name]), () => {
      window.clearTimeout(this.timer);
      this.timer = window.setTimeout(() => this.write(), QUIET_MS);
    });
    signal.addEventListener("abort", () => window.clearTimeout(this.timer));
  }

  /** The address with the state of this moment. */
  link(): string {
    this.write();
    return location.href;
  }

  private write(): void {
    const hash = encode(this.store.get(), this.initial);
    if (hash === location.hash.replace(/^#/, "")) return;
    history.replaceState(null, "", hash ? `#${hash}` : location.href.replace(/#.*$/, ""));
  }
}

function whole(text: string | null, below: number): number | null {
  return text !== null && /^\d{1,9}$/.test(text) && Number(text) < below ? Number(text) : null;
}

function one<T extends string>(text: string | null, among: readonly T[]): T | null {
  return among.find((value) => value === text) ?? null;
}

function mode(text: string | null, { channels }: Bounds): Mode | null {
  if (text === null) return null;
  const known = MODES.includes(text) || (text.startsWith("channel:") && channels.includes(text.slice("channel:".length)));
  return known ? (text as Mode) : null;
}

function spot(text: string | null, { positions }: Bounds): Spot | null {
  const [first = "", second = ""] = (text ?? "").split(".");
  const pane = whole(first, positions.length);
  const position = pane === null ? null : whole(second, positions[pane]!);
  return pane === null || position === null ? null : { pane, position };
}
