/** Every position of the sequence: tokens one by one, runs of patches drawn together. */

import { el, named, pieceNode } from "./dom";
import type { Pane } from "../state/pane";
import { placeName } from "../reading/place";
import type { Reading } from "../reading/reading";

export class Strip {
  readonly node: HTMLElement;
  private readonly reading: Reading;
  private readonly buttons = new Map<number, HTMLElement>();
  private lit: HTMLElement | undefined;

  constructor(
    private readonly pane: Pane,
    private readonly focusPicture: (image: number) => void,
  ) {
    this.reading = pane.reading;
    const title = el("h2", {}, "Sequence");
    const tokens = el("div", { class: "tokens", role: "toolbar", "aria-label": "Positions" }, ...this.items());
    const hint = el("p", { class: "sub" }, "Hover a token to see what is read there; click to pin it.");
    this.node = named(el("section", { class: "card strip" }), title);
    this.node.append(title, hint, tokens);
    this.listen(tokens);
    pane.store.watch((state) => [pane.focus(state)], (state) => {
      this.lit?.classList.remove("focus");
      this.lit = this.buttons.get(pane.focus(state));
      this.lit?.classList.add("focus");
    });
    pane.store.watch((state) => [pane.pinned(state)], (state) => {
      const pinned = pane.pinned(state);
      this.buttons.forEach((button, position) => button.setAttribute("aria-pressed", String(pinned === position)));
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
    button.dataset["position"] = String(position);
    this.buttons.set(position, button);
    return button;
  }

  private listen(tokens: HTMLElement): void {
    const at = (event: Event): number | null => {
      const button = event.target instanceof Element ? event.target.closest<HTMLElement>("[data-position]") : null;
      return button ? Number(button.dataset["position"]) : null;
    };
    tokens.addEventListener("pointerover", (event) => {
      if (event.pointerType !== "touch") this.pane.hover(at(event));
    });
    tokens.addEventListener("pointerleave", () => this.pane.hover(null));
    tokens.addEventListener("focusin", (event) => {
      if (event.target instanceof Element && event.target.matches(":focus-visible")) this.pane.hover(at(event));
    });
    tokens.addEventListener("focusout", () => this.pane.hover(null));
    tokens.addEventListener("click", (event) => {
      const position = at(event);
      if (position !== null) this.pane.toggle(position);
    });
    tokens.addEventListener("keydown", (event) => this.key(event));
  }

  private key(event: KeyboardEvent): void {
    const sides: Record<string, "previousElementSibling" | "nextElementSibling"> = {
      ArrowLeft: "previousElementSibling",
      ArrowRight: "nextElementSibling",
    };
    const side = sides[event.key];
    const next = side && event.target instanceof Element && event.target[side];
    if (!(next instanceof HTMLElement)) return;
    next.focus();
    event.preventDefault();
    event.stopPropagation();
  }
}
