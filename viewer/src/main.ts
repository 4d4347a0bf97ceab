/** Entry of the self-contained page: unpack the readings that it holds and show them. */

import { unpack } from "./reading/decode";
import { show } from "./page";
import { Reading } from "./reading/reading";

async function start(root: HTMLElement): Promise<void> {
  const blocks = [...document.querySelectorAll("script.reading")];
  const readings = await Promise.all(blocks.map(async (block) => new Reading(await unpack(block.textContent))));
  // A page inside a frame of a notebook has no address of its own.
  show(readings, root, { keys: document, address: location.protocol !== "about:" });
  performance.mark("patchlens:ready");
}

const root = document.getElementById("patchlens") ?? document.body;
start(root).catch((error: unknown) => {
  const reason = error instanceof Error ? error.message : String(error);
  root.textContent = `This page could not be shown: ${reason}. It needs a browser of 2024 or later.`;
  throw error;
});
