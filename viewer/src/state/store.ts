/** The page's state: one frozen object, replaced as a whole; views redraw at most once a frame. */

/** What lies over the pictures: words, a value per patch, or nothing. */
export type Mode = "words" | "entropy" | "kl" | "search" | "none" | `channel:${string}`;

/** How a searched word is measured. */
export type Measure = "logprob" | "probability" | "rank";

/** What colours the matrix. */
export type Colour = "probability" | "entropy" | "kl" | "rank" | "overlay";

/** Which positions the matrix lists. */
export type Filter = "all" | "patch" | "text" | "generated";

/** A position of one of the readings shown. */
export interface Spot {
  readonly pane: number;
  readonly position: number;
}

export interface State {
  /** place on the layer slider that all readings share */
  readonly stop: number;
  readonly mode: Mode;
  readonly query: string;
  readonly measure: Measure;
  /** chosen index along each axis of a channel that the page does not know, by the axis's name */
  readonly pick: Readonly<Record<string, number>>;
  /** whether the maps of all layers are shown */
  readonly multiples: boolean;
  /** position under the pointer or the keyboard, if any */
  readonly hover: Spot | null;
  /** position pinned by a click */
  readonly pin: Spot | null;
  /** number of the answer token that charts tell of while nothing is pinned */
  readonly step: number;
  /** pieces whose trajectories are drawn beside those of the searched words */
  readonly followed: readonly string[];
  readonly colour: Colour;
  readonly filter: Filter;
  /** words that the listed rows of the matrix must hold */
  readonly find: string;
}

export const START: State = Object.freeze({
  stop: 0,
  mode: "words",
  query: "",
  measure: "logprob",
  pick: {},
  multiples: false,
  hover: null,
  pin: null,
  step: 0,
  followed: [],
  colour: "probability",
  filter: "all",
  find: "",
});

interface Watch {
  select: (state: State) => readonly unknown[];
  act: (state: State) => void;
  seen: readonly unknown[] | null;
}

export class Store {
  private state: State;
  private readonly watches: Watch[] = [];
  private waiting = 0;

  constructor(initial: State) {
    this.state = Object.freeze(initial);
  }

  get(): State {
    return this.state;
  }

  set(change: Partial<State>): void {
    this.state = Object.freeze({ ...this.state, ...change });
    this.waiting ||= requestAnimationFrame(() => this.draw());
  }

  /** Call `act` at the first draw, and whenever something that `select` picks out has changed. */
  watch(select: Watch["select"], act: Watch["act"]): void {
    this.watches.push({ select, act, seen: null });
  }

  /** Bring every view up to date now; `all` also those whose state is unchanged. */
  draw(all = false): void {
    this.cancel();
    const start = performance.now();
    for (const watch of this.watches) {
      const picked = watch.select(this.state);
      if (!all && watch.seen && picked.every((value, i) => Object.is(value, watch.seen![i]))) continue;
      watch.seen = picked;
      watch.act(this.state);
    }
    performance.clearMeasures("patchlens:draw");
    performance.measure("patchlens:draw", { start });
  }

  /** Forget a redraw that is due. */
  cancel(): void {
    cancelAnimationFrame(this.waiting);
    this.waiting = 0;
  }
}

/** A list with an item put in, or taken out if it was there. */
export function toggled<T>(list: readonly T[], item: T): readonly T[] {
  return list.includes(item) ? list.filter((other) => other !== item) : [...list, item];
}
