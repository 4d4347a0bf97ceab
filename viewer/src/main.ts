/** Entry of the self-contained page: unpack the block in the page and show it. */

import { unpack } from "./decode";
import { show } from "./page";
import { Reading } from "./reading";

async function start(): Promise<void> {
  const block = document.getElementById("reading");
  const root = document.getElementById("patchlens");
  if (!block || !root) throw new Error("the page lacks its reading");
  show(new Reading(await unpack(block.textContent)), root);
}

start().catch((error: unknown) => {
  const root = document.getElementById("patchlens") ?? document.body;
  root.textContent = `This page could not be shown: ${error instanceof Error ? error.message : String(error)}. A browser of 2023 or later is needed.`;
});
