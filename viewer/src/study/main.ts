/** Entry of the page of a study: unpack what it holds and show it. */

import { el } from "../parts/dom";
import { visibleText } from "../reading/text";
import { Answers } from "./answers";
import { Curves } from "./curves";
import { unpack, type Study } from "./data";
import { Differences } from "./differences";
import { Effects } from "./effects";
import { Emergence } from "./emergence";
import { Gallery } from "./gallery";
import { headNode } from "./head";
import { tablesNode } from "./tables";
import { Words } from "./words";

function show(study: Study, root: HTMLElement): void {
  const drawn = [new Curves(study), new Emergence(study), new Differences(study), new Answers(study)];
  const effects = study.table("effects").rows.length > 0 ? [new Effects(study)] : [];
  const [curves, emergence, differences, answers] = drawn.map(({ node }) => node) as [HTMLElement, HTMLElement, HTMLElement, HTMLElement];
  const changes = effects.map(({ node }) => node);
  const sections = [curves, emergence, new Words(study).node, differences, ...changes, answers, new Gallery(study).node, tablesNode(study)];
  const versions = Object.entries(study.versions).map(([name, version]) => visibleText(`${name} ${version}`));
  root.classList.add("patchlens", "study");
  root.replaceChildren(headNode(study, sections), el("main", {}, ...sections), el("footer", { class: "sub" }, versions.join(" · ")));
  const draw = (): void => [...drawn, ...effects].forEach((part) => part.draw());
  draw();
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
}

async function start(root: HTMLElement): Promise<void> {
  show(await unpack(document.querySelector("script.study")!.textContent), root);
  performance.mark("patchlens:whole");
}

const root = document.getElementById("patchlens") ?? document.body;
start(root).catch((error: unknown) => {
  const reason = error instanceof Error ? error.message : String(error);
  root.textContent = `This page could not be shown: ${reason}. It needs a browser of 2024 or later.`;
  throw error;
});
