/** Buttons beside the layer slider: copy a link to what is seen, and the list of keys. */

import type { Address } from "../state/address";
import { el } from "./dom";

const KEYS: readonly (readonly [string, string])[] = [
  ["← →", "one layer back or on"],
  ["p", "play the layers, or stop"],
  ["/", "find words"],
  ["Escape", "let the pinned position go"],
  ["arrow keys on a picture", "move from patch to patch; Enter pins, Page Up and Page Down change the layer"],
  ["arrow keys in the matrix", "move from cell to cell; Enter pins"],
  ["← → in the sequence", "move from token to token; Enter pins"],
  ["?", "this list"],
];

export class Tools {
  readonly nodes: HTMLElement[];
  private readonly dialog = keysDialog();
  private readonly status = el("span", { class: "status", role: "status" });

  constructor(address: Address | null) {
    const keys = el("button", { type: "button", title: "Keys (?)", "aria-label": "Keys" }, "?");
    keys.addEventListener("click", () => this.showKeys());
    const link = el("button", { type: "button", title: "Copy a link that brings back what you see" }, "Copy link");
    link.addEventListener("click", () => void this.copy(address!.link()));
    this.nodes = [this.status, ...(address ? [link] : []), keys, this.dialog];
  }

  showKeys(): void {
    if (!this.dialog.open) this.dialog.showModal();
  }

  private async copy(text: string): Promise<void> {
    try {
      await navigator.clipboard.writeText(text);
      this.say("copied");
    } catch {
      // Some browsers keep the clipboard from local files; the address bar holds the same link.
      this.say("copy the address of this page");
    }
  }

  private say(text: string): void {
    this.status.textContent = text;
    window.setTimeout(() => (this.status.textContent = ""), 4000);
  }
}

function keysDialog(): HTMLDialogElement {
  const close = el("button", { type: "button" }, "Close");
  const list = el("dl", {}, ...KEYS.map(([keys, what]) => el("div", {}, el("dt", {}, keys), el("dd", {}, what))));
  const dialog = el("dialog", { class: "keys", "aria-label": "Keys" }, el("h2", {}, "Keys"), list, close);
  close.addEventListener("click", () => dialog.close());
  dialog.addEventListener("keydown", (event) => event.stopPropagation());
  return dialog;
}
