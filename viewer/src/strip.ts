/** Every position of the sequence: tokens one by one, runs of patches drawn together. */

import { el, pieceNode } from "./dom";
import type { Reading } from "./reading";
import { changed, focus, type Store } from "./store";
import { placeName } from "./panel";

export class Strip {
  readonly node = el("section", { class: "card strip", "aria-labelledby": "strip-title" });
  private readonly buttons = new Map<number, HTMLElement>();

  constructor(
    private readonly reading: Reading,
    private readonly store: Store,
    private readonly focusPicture: (image: number) => void,
  ) {
    const tokens = el("div", { class: "tokens", role: "toolbar", "aria-label": "Positions" }, ...this.items());
    this.node.append(
      el("h2", { id: "strip-title" }, "Sequence"),
      el("p", { class: "sub" }, "Hover a token to see what is read there; click to pin it."),
      tokens,
    );
    tokens.addEventListener("keydown", (event) => this.key(event));
    store.onChange((state, before) => {
      if (!changed(state, before, "hover", "pin", "step")) return;
      this.buttons.forEach((button, position) => {
        button.setAttribute("aria-pressed", String(state.pin === position));
        button.classList.toggle("focus", focus(state) === position);
      });
    });
  }

  private items(): HTMLElement[] {
    const items: HTMLElement[] = [];
    for (let position = 0; position < this.reading.nPositions; ) {
      const end = this.endOfRun(position);
      items.push(end > position ? this.run(position, end) : this.token(position));
      position = Math.max(end, position + 1);
    }
    return items;
  }

  /** End of the run of patches of one picture that starts here; the position itself when none does. */
  private endOfRun(position: number): number {
    const image = this.reading.header.positions.image[position];
    let end = position;
    while (
      end < this.reading.nPositions &&
      this.reading.kind(end) === "patch" &&
      this.reading.header.positions.image[end] === image
    ) {
      end++;
    }
    return end;
  }

  private run(start: number, end: number): HTMLElement {
    const image = this.reading.header.positions.image[start]!;
    const label = `▦ ${end - start} patches`;
    const button = el("button", { type: "button", class: "run", title: `Positions ${start} to ${end - 1}: go to the picture` }, label);
    button.addEventListener("click", () => this.focusPicture(image));
    return button;
  }

  private token(position: number): HTMLElement {
    const { token, step, generated } = this.reading.header.positions;
    const classes = [this.reading.kind(position), generated[position] ? "generated" : "", step[position]! >= 0 ? "step" : ""];
    const button = el(
      "button",
      { type: "button", class: classes.filter(Boolean).join(" "), title: placeName(this.reading, position) },
      pieceNode(this.reading.piece(token[position]!)),
    );
    const { store } = this;
    button.addEventListener("pointerenter", (event) => {
      if (event.pointerType !== "touch") store.set({ hover: position });
    });
    button.addEventListener("pointerleave", () => store.set({ hover: null }));
    button.addEventListener("focus", () => button.matches(":focus-visible") && store.set({ hover: position }));
    button.addEventListener("blur", () => store.set({ hover: null }));
    button.addEventListener("click", () => store.set({ pin: store.get().pin === position ? null : position }));
    this.buttons.set(position, button);
    return button;
  }

  private key(event: KeyboardEvent): void {
    const sides: Record<string, "previousElementSibling" | "nextElementSibling"> = {
      ArrowLeft: "previousElementSibling",
      ArrowRight: "nextElementSibling",
    };
    const side = sides[event.key];
    const next = side && document.activeElement?.[side];
    if (!(next instanceof HTMLElement)) return;
    next.focus();
    event.preventDefault();
    event.stopPropagation();
  }
}
