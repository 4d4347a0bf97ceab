/** The page's state: one frozen object, replaced as a whole; views redraw at most once a frame. */

export type Mode = "words" | "entropy" | "search" | "none";

export interface State {
  /** row of the layer looked at */
  readonly layer: number;
  readonly mode: Mode;
  readonly query: string;
  /** position under the pointer or the keyboard, if any */
  readonly hover: number | null;
  /** position pinned by a click */
  readonly pin: number | null;
  /** position of the answer step that the chart tells of */
  readonly step: number;
}

type View = (state: State, before: State | null) => void;

export class Store {
  private state: State;
  private shown: State | null = null;
  private readonly views: View[] = [];
  private waiting = false;

  constructor(initial: State) {
    this.state = Object.freeze(initial);
  }

  get(): State {
    return this.state;
  }

  set(change: Partial<State>): void {
    this.state = Object.freeze({ ...this.state, ...change });
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      this.draw();
    });
  }

  onChange(view: View): void {
    this.views.push(view);
  }

  draw(): void {
    const before = this.shown;
    this.shown = this.state;
    for (const view of this.views) view(this.state, before);
  }
}

/** Whether any of the fields differs (or nothing was drawn yet). */
export function changed(now: State, before: State | null, ...fields: (keyof State)[]): boolean {
  return before === null || fields.some((field) => now[field] !== before[field]);
}

/** The position that panel and overlay speak of. */
export function focus(state: State): number {
  return state.hover ?? state.pin ?? state.step;
}

/** The position whose layers the chart shows. */
export function charted(state: State): number {
  return state.pin ?? state.step;
}
