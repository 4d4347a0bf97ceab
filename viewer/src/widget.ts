/** Entry of the notebook's widget: the page in a shadow root, which keeps the notebook's style and its own apart. */

import { inflate, split } from "./reading/decode";
import { el } from "./parts/dom";
import { follow, type Model } from "./kernel";
import { show } from "./page";
import { Reading } from "./reading/reading";
import style from "./styles/viewer.css";

interface Place {
  model: Model;
  el: HTMLElement;
}

/** Show the page in a notebook's output; the function returned takes it away. */
async function render({ model, el: output }: Place): Promise<() => void> {
  // JupyterLab would take keys that are pressed in the page for its own commands.
  const host = el("div", { "data-lm-suppress-shortcuts": "true" });
  const root = el("div");
  host.attachShadow({ mode: "open" }).append(el("style", {}, style), root);
  output.append(host);
  const packed = model.get("payload") as readonly ArrayBufferView<ArrayBuffer>[];
  const readings = await Promise.all(packed.map(reading));
  const page = show(readings, root);
  const part = follow(model, page);
  return () => {
    part();
    page.close();
    host.remove();
  };
}

async function reading({ buffer, byteOffset, byteLength }: ArrayBufferView<ArrayBuffer>): Promise<Reading> {
  return new Reading(split(await inflate(new Uint8Array(buffer, byteOffset, byteLength))));
}

export default { render };
