/** All items: picture, prompt, what each model answered, and links to their pages; more are built as one scrolls. */

import { el, named } from "../parts/dom";
import { choice } from "../parts/widgets";
import { fold, visibleText } from "../reading/text";
import { grouped, type Row, type Study } from "./data";
import { counted, groupName } from "./telling";

export type Outcome = "right" | "wrong" | "failed" | "answered";

export interface Item {
  name: string;
  group: string;
  prompt: string;
  pictures: readonly string[];
  expected: readonly string[];
  answers: readonly Answer[];
}

export interface Answer {
  model: string;
  text: string;
  outcome: Outcome;
  /** lens and address of each page */
  pages: readonly (readonly [lens: string, address: string])[];
}

export interface Wanted {
  group: string | null;
  model: string | null;
  outcome: Outcome | null;
  text: string;
}

const BATCH = 60;
const ANY = "any";
const OUTCOMES: readonly (readonly [Outcome, string])[] = [["right", "right"], ["wrong", "wrong"], ["failed", "failed"], ["answered", "not judged"]];

export class Gallery {
  readonly node: HTMLElement;
  private readonly items: readonly Item[];
  private readonly list = el("ul", { class: "items" });
  private readonly count = el("p", { class: "sub", role: "status" });
  private readonly more = el("button", { type: "button", class: "more" }, "More items");
  private wanted: Wanted = { group: null, model: null, outcome: null, text: "" };
  private found: readonly Item[] = [];
  private built = 0;

  constructor(private readonly study: Study) {
    this.items = itemsOf(study);
    const title = el("h2", {}, "Items");
    this.node = named(el("section", { class: "card gallery", id: "items" }), title);
    this.node.append(title, this.filters(), this.count, this.list, this.more);
    this.more.addEventListener("click", () => this.build());
    new IntersectionObserver((seen) => seen.some(({ isIntersecting }) => isIntersecting) && this.build(), { rootMargin: "600px" }).observe(this.more);
    this.filter({});
  }

  private filters(): HTMLElement {
    const set = (name: "group" | "model" | "outcome") => (value: string) => this.filter({ [name]: value === ANY ? null : value.slice(1) } as Partial<Wanted>);
    // A mark before each value keeps a group called "any" apart from any group.
    const select = (label: string, all: string, values: readonly (readonly [string, string])[], name: "group" | "model" | "outcome"): HTMLElement =>
      choice(label, [[ANY, all], ...values.map(([value, text]) => [`=${value}`, text] as const)], set(name));
    const search = el("input", { type: "search", placeholder: "Search prompts, answers, names", "aria-label": "Search items" });
    search.addEventListener("input", () => this.filter({ text: search.value }));
    const outcomes = OUTCOMES.filter(([outcome]) => this.items.some(({ answers }) => answers.some((answer) => answer.outcome === outcome)));
    return el("div", { class: "controls" },
      select("Group", "all groups", this.study.groups.map((group) => [group, groupName(group)]), "group"),
      select("Model", "all models", this.study.models.map((model) => [model, visibleText(model)]), "model"),
      select("Outcome", "right or wrong", outcomes, "outcome"),
      search,
    );
  }

  private filter(change: Partial<Wanted>): void {
    this.wanted = { ...this.wanted, ...change };
    this.found = chosen(this.items, this.wanted);
    this.built = 0;
    this.list.replaceChildren();
    this.count.textContent = `${counted(this.found.length, "item")} of ${this.items.length.toLocaleString("en")}`;
    this.build();
  }

  private build(): void {
    const next = this.found.slice(this.built, this.built + BATCH);
    this.built += next.length;
    this.list.append(...next.map((item) => this.card(item)));
    this.more.hidden = this.built >= this.found.length;
  }

  private card({ name, group, prompt, pictures, expected, answers }: Item): HTMLElement {
    const address = this.study.thumbnails.get(name);
    const first = answers.flatMap(({ pages }) => pages)[0];
    const picture = el("span", { class: "thumb" }, address ? el("img", { src: address, alt: "", loading: "lazy" }) : el("span", { dir: "auto" }, visibleText(pictures.join(", ") || "text only")));
    const shown = this.wanted.model === null ? answers : answers.filter(({ model }) => model === this.wanted.model);
    return el("li", {},
      first ? el("a", { class: "picture-link", href: first[1], tabindex: -1, "aria-hidden": "true" }, picture) : picture,
      el("p", { class: "name", dir: "auto" }, visibleText(name)),
      el("p", { class: "of-group", dir: "auto" }, groupName(group)),
      el("p", { class: "prompt", dir: "auto" }, visibleText(prompt)),
      expected.length > 0 ? el("p", { class: "sub", dir: "auto" }, `expected: ${visibleText(expected.join(", "))}`) : "",
      ...shown.map((answer) => answerNode(answer, name)),
    );
  }
}

const SIGNS: Record<Outcome, readonly [sign: string, name: string]> = {
  right: ["✓", "right"], wrong: ["✗", "wrong"], failed: ["!", "failed"], answered: ["·", "not judged"],
};

function answerNode({ model, text, outcome, pages }: Answer, item: string): HTMLElement {
  const [sign, name] = SIGNS[outcome];
  const links = pages.map(([lens, address]) => el("a", { href: address, "aria-label": `Page of ${visibleText(item)}: ${visibleText(model)}, ${visibleText(lens)} lens` }, visibleText(lens)));
  return el("div", { class: "answer-of", "data-outcome": outcome },
    el("span", { class: "sign", role: "img", title: name, "aria-label": name }, sign),
    el("span", { class: "said", dir: "auto" }, visibleText(text) || "(nothing)"),
    el("small", {}, el("bdi", {}, visibleText(model)), ...links.flatMap((link) => [" · ", link])),
  );
}

/** Items in their order, each with what every model made of it. */
export function itemsOf(study: Study): Item[] {
  const pages = grouped(study.table("pages").rows, keyOf);
  const rows = grouped(study.table("items").rows, (row) => row.text("item"));
  const items = [...rows].map(([name, own]) => {
    const first = own[0]!;
    const answers = own.map((row) => answerOf(row, pages.get(keyOf(row)) ?? []));
    const item = { name, group: first.text("group"), prompt: first.text("prompt"), pictures: first.list("pictures"), expected: first.list("expected"), answers };
    return { number: first.number("number"), item };
  });
  return items.sort((a, b) => a.number - b.number).map(({ item }) => item);
}

export function chosen(items: readonly Item[], { group, model, outcome, text }: Wanted): Item[] {
  const words = fold(text).split(/\s+/).filter(Boolean);
  return items.filter((item) => {
    const own = model === null ? item.answers : item.answers.filter((answer) => answer.model === model);
    const texts = fold([item.name, item.prompt, item.group, ...item.pictures, ...item.expected, ...own.map((answer) => answer.text)].join("\n"));
    return (
      own.length > 0 &&
      (group === null || item.group === group) &&
      (outcome === null || own.some((answer) => answer.outcome === outcome)) &&
      words.every((word) => texts.includes(word))
    );
  });
}

function answerOf(row: Row, pages: readonly Row[]): Answer {
  const error = row.text("error");
  const outcome = error ? "failed" : ({ true: "right", false: "wrong" } as const)[row.text("right")] ?? "answered";
  return { model: row.text("model"), text: error || row.text("answer"), outcome, pages: pages.map((page) => [page.text("lens"), page.text("page")] as const) };
}

function keyOf(row: Row): string {
  return JSON.stringify([row.text("model"), row.text("item")]);
}
