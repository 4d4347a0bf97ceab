/** One of the readings shown, and what the shared state means for it. */

import { Lexicon } from "../reading/concept";
import type { Link } from "./links";
import { Patches } from "../reading/patches";
import type { Reading } from "../reading/reading";
import type { Spot, State, Store } from "./store";

export class Pane {
  readonly lexicon: Lexicon;
  /** patches of each picture: positions of the reading, else (cross-attention) vision states */
  readonly pictures: readonly Patches[];
  /** whether patches are positions, with words of their own */
  readonly speaking: boolean;

  constructor(
    readonly reading: Reading,
    readonly store: Store,
    readonly index: number,
    private readonly stops: readonly (readonly number[])[],
    private readonly links: readonly Link[],
  ) {
    const { positions, vision, pictures } = reading.header;
    this.lexicon = new Lexicon(reading);
    this.speaking = positions.kind.includes(1);
    const places = this.speaking ? positions : (vision ?? positions);
    this.pictures = pictures.map((_, image) => new Patches(places, image));
  }

  /** Entries of all patches of all pictures. */
  patches(): number[] {
    return this.pictures.flatMap((patches) => patches.all.map(({ entry }) => entry));
  }

  /** Row of the layer looked at. */
  row(state: State): number {
    return this.stops[state.stop]![this.index]!;
  }

  hovered(state: State): number | null {
    return this.own(state.hover);
  }

  pinned(state: State): number | null {
    return this.own(state.pin);
  }

  /** Position that speaks of the answer token chosen; the last position where none was read. */
  stepped(state: State): number {
    return this.reading.stepPosition(state.step) ?? this.reading.home();
  }

  /** The position that panel and marks speak of. */
  focus(state: State): number {
    return this.hovered(state) ?? this.pinned(state) ?? this.stepped(state);
  }

  /** The position whose layers the charts show. */
  charted(state: State): number {
    return this.pinned(state) ?? this.stepped(state);
  }

  hover(position: number | null): void {
    this.store.set({ hover: position === null ? null : { pane: this.index, position } });
  }

  /** Pin a position, or let it go. */
  toggle(position: number): void {
    const held = this.pinned(this.store.get()) === position;
    this.store.set({ pin: held ? null : { pane: this.index, position } });
  }

  /** Go some layers on, within the ends. */
  step(by: number): void {
    const stop = this.store.get().stop + by;
    this.store.set({ stop: Math.min(Math.max(stop, 0), this.stops.length - 1) });
  }

  /** Go to a layer; where the slider knows only layers beside it, to the nearest. */
  goTo(row: number): void {
    const away = this.stops.map((rows) => Math.abs(rows[this.index]! - row));
    this.store.set({ stop: away.indexOf(Math.min(...away)) });
  }

  private own(spot: Spot | null): number | null {
    if (spot === null || spot.pane === this.index) return spot?.position ?? null;
    return this.links[spot.pane]?.(spot.position) ?? null;
  }
}
