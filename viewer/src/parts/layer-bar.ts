/** The bar with the layer slider. */

import type { Pane } from "../state/pane";
import type { Store } from "../state/store";
import { el } from "./dom";
import { letter } from "./heading";

const STEP_MS = 450;

export class LayerBar {
  readonly node: HTMLElement;
  private timer = 0;
  private readonly play = el("button", { type: "button", class: "play", "aria-label": "Play the layers" }, "▶");

  constructor(
    private readonly store: Store,
    private readonly panes: readonly Pane[],
    private readonly stops: number,
    tools: readonly HTMLElement[],
  ) {
    const slider = el("input", { type: "range", class: "layer", min: 0, max: stops - 1, step: 1, "aria-label": "Layer" });
    // The slider itself says its value; a second live voice would only repeat it.
    const output = el("output", { "aria-live": "off" });
    slider.addEventListener("input", () => store.set({ stop: Number(slider.value) }));
    this.play.addEventListener("click", () => (this.timer ? this.stop() : this.start()));
    this.node = el("div", { class: "layer-bar" }, this.play, el("span", { class: "layer-name" }, "Layer ", output), slider, ...tools);
    store.watch((state) => [state.stop], (state) => {
      const names = panes.map((pane) => pane.reading.layerName(pane.row(state)));
      const name = new Set(names).size === 1 ? names[0]! : names.map((own, i) => `${letter(i)} ${own}`).join(" · ");
      slider.value = String(state.stop);
      slider.setAttribute("aria-valuetext", `layer ${name}`);
      output.textContent = name;
    });
  }

  toggle(): void {
    if (this.timer) this.stop();
    else this.start();
  }

  stop(): void {
    window.clearInterval(this.timer);
    this.timer = 0;
    this.play.textContent = "▶";
    this.play.setAttribute("aria-label", "Play the layers");
  }

  private start(): void {
    if (this.store.get().stop === this.stops - 1) this.store.set({ stop: 0 });
    this.play.textContent = "❚❚";
    this.play.setAttribute("aria-label", "Pause");
    this.timer = window.setInterval(() => {
      if (this.store.get().stop + 1 < this.stops) this.panes[0]!.step(1);
      else this.stop();
    }, STEP_MS);
  }
}
