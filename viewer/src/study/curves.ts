/** Curves over the layers: what is measured, a small chart per model and lens, a line with its interval per group. */

import { el, named } from "../parts/dom";
import { choice } from "../parts/widgets";
import type { Study } from "./data";
import { FacetView } from "./facet";
import { axisOf, facetsOf, groupsOf, type By, type Choice } from "./facets";
import { ALL, groupName } from "./telling";

const WAYS: readonly (readonly [By, string])[] = [
  ["group", "groups"],
  ["model", "models"],
  ["lens", "lenses"],
];
const FIRST = "entropy_answer";

export class Curves {
  readonly node: HTMLElement;
  private readonly grid = el("div", { class: "facets" });
  private readonly note = el("p", { class: "sub" });
  private readonly whose: HTMLElement;
  private chosen: Choice = { quantity: FIRST, by: "group", group: ALL };
  private views: FacetView[] = [];

  constructor(private readonly study: Study) {
    const known = new Set(study.table("curves").rows.map((row) => row.text("quantity")));
    const quantities = study.quantities.filter(({ name }) => known.has(name));
    const title = el("h2", {}, "Over the layers");
    const what = choice("Quantity", quantities.map(({ name, about }) => [name, about] as const), (quantity) => this.set({ quantity }));
    const ways = WAYS.filter(([by]) => ({ group: true, model: study.models.length > 1, lens: study.lenses.length > 1 })[by]);
    const lines = choice("What the lines are", ways, (by) => this.set({ by }));
    const groups = [ALL, ...groupsOf(study).filter((group) => group !== ALL)].map((group) => [group, groupName(group)] as const);
    this.whose = el("label", {}, "of ", choice("Whose curves", groups, (group) => this.set({ group })));
    this.node = named(el("section", { class: "card curves", id: "curves" }), title);
    this.node.append(title, el("div", { class: "controls" }, what, el("label", {}, "lines are ", lines), this.whose), this.note, this.grid);
    if (quantities.length === 0) this.grid.replaceWith(el("p", {}, "Nothing has been read yet."));
    else this.set({ quantity: quantities.some(({ name }) => name === FIRST) ? FIRST : quantities[0]!.name });
  }

  draw(): void {
    this.views.forEach((view) => view.draw());
  }

  private set(change: Partial<Choice>): void {
    this.chosen = { ...this.chosen, ...change };
    const { about, unit } = this.study.quantities.find(({ name }) => name === this.chosen.quantity)!;
    const facets = facetsOf(this.study, this.chosen);
    const axis = axisOf(facets, about, unit);
    this.whose.hidden = this.chosen.by === "group";
    this.note.textContent = noteOf(facets.flatMap(({ lines }) => lines.flatMap(({ items }) => items)));
    this.views.forEach((view) => view.close());
    this.views = facets.map((facet) => new FacetView(facet, axis, unit, this.chosen.quantity, (layer) => this.look(layer)));
    this.grid.replaceChildren(...this.views.map(({ node }) => node));
    this.draw();
  }

  /** Tell of one layer in all charts. */
  private look(layer: number | null): void {
    this.views.forEach((view) => view.look(layer));
  }
}

function noteOf(items: readonly number[]): string {
  const known = items.filter((count) => count > 0);
  const band = "Mean over items, an item's mean over its positions first. The band is the 95% interval of the mean.";
  return known.some((count) => count < 2) ? `${band} Where there is one item alone there is no interval.` : band;
}
