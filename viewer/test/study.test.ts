import assert from "node:assert/strict";
import { test } from "node:test";

import type { Pen, Point } from "../src/drawing/pen";
import { drawSpan, evenAxis, type Span } from "../src/drawing/span";
import { parseCsv } from "../src/study/csv";
import { studyOf, Table, type Study } from "../src/study/data";
import { storyOf, stands } from "../src/study/differences";
import { axisOf, facetsOf, type Line } from "../src/study/facets";
import { chosen, itemsOf, type Wanted } from "../src/study/gallery";
import { chance, groupName, told, withInterval } from "../src/study/telling";

const CURVES = [
  "model,lens,group,layer,quantity,mean,low,high,items",
  ...["demo", "two"].flatMap((model) =>
    ["logit", "tuned"].flatMap((lens) =>
      ["plain", "*"].flatMap((group) => (model === "demo" ? [0, 1] : [0, 2]).flatMap((layer) => [
        `${model},${lens},${group},${layer},entropy_answer,${layer + 1},${layer},${layer + 2},3`,
        `${model},${lens},${group},${layer},attention_image,0.5,,,1`,
      ])),
    ),
  ),
];
const ITEMS = [
  "model,item,number,group,prompt,pictures,expected,answer,right,error",
  'demo,b,1,plain,"What, ""is"" this?","[""b.png""]","[""猫""]",a cat,true,',
  "demo,a,0,busy,Where?,[],[],,,no memory",
  "two,b,1,plain,What?,[],[],a dog,false,",
];
const DIFFERENCES = ["p_holm", "0.01", "0.2", ""];

function study(): Study {
  const table = (name: string, rows: readonly string[]): [string, string, string] => [name, "", rows.map((row) => `${row}\r\n`).join("")];
  return studyOf({
    name: "a study", models: ["demo", "two"], lenses: ["logit", "tuned"], groups: ["plain"], progress: [], versions: {}, notes: [],
    quantities: [["entropy_answer", "entropy", "nats"]], summaries: [], thumbnails: {},
    tables: [
      table("curves", CURVES),
      table("items", ITEMS),
      table("pages", ["model,lens,item,page", "demo,logit,b,./pages/demo/logit/b.html"]),
      table("differences", DIFFERENCES),
    ],
  });
}

test("tables come back from CSV as they were, whatever their text", () => {
  assert.deepEqual(parseCsv('a,b\r\n"x,""y""\r\n",\r\n,1e-05\r\n'), [["a", "b"], ['x,"y"\r\n', ""], ["", "1e-05"]]);
  assert.deepEqual(parseCsv("a\n1\n"), [["a"], ["1"]]);
  assert.deepEqual(parseCsv("a,b\r\n1,"), [["a", "b"], ["1", ""]]);
  assert.deepEqual(parseCsv(""), []);
  assert.throws(() => parseCsv('"open'), /no end/);
});

test("what is not known is no number", () => {
  const [first] = study().table("curves").where({ quantity: "attention_image" });
  assert.equal(first!.number("mean"), 0.5);
  assert.ok(Number.isNaN(first!.number("low")));
  assert.throws(() => first!.text("nothing"), /no column nothing/);
});

test("lines are groups, with a chart for each model and lens", () => {
  const facets = facetsOf(study(), { quantity: "entropy_answer", by: "group", group: "*" });
  assert.deepEqual(facets.map(({ title }) => title), ["demo · logit lens", "demo · tuned lens", "two · logit lens", "two · tuned lens"]);
  assert.deepEqual(facets[2]!.layers, [0, 2]);
  assert.deepEqual(facets[2]!.lines.map(({ name, heights, band }) => [name, heights, band]), [["plain", [1, 3], { low: [0, 2], high: [2, 4] }]]);
});

test("lines of models share their layers, and have gaps where they have none", () => {
  const [logit] = facetsOf(study(), { quantity: "entropy_answer", by: "model", group: "*" });
  assert.equal(logit!.title, "logit lens");
  assert.deepEqual(logit!.layers, [0, 1, 2]);
  assert.deepEqual(logit!.lines.map(({ name, heights }) => [name, heights]), [["demo", [1, 2, NaN]], ["two", [1, NaN, 3]]]);
});

test("what no lens has a part in is shown once", () => {
  const facets = facetsOf(study(), { quantity: "attention_image", by: "group", group: "*" });
  assert.deepEqual(facets.map(({ title }) => title), ["demo", "two"]);
  const { range, ticks } = axisOf(facets, "attention", "share");
  assert.equal(range.low, 0);
  assert.ok(ticks.at(-1)!.text.endsWith("%"));
});

test("what no lens has a part in is shown from the lens that tells of it", () => {
  const rows = ["model,lens,group,layer,quantity,mean,low,high,items", "demo,tuned,plain,0,attention_image,0.25,,,1"];
  const only = { ...study(), table: () => new Table("curves", "", rows.join("\r\n")) };
  const [facet] = facetsOf(only, { quantity: "attention_image", by: "group", group: "*" });
  assert.deepEqual([facet!.title, facet!.lines[0]!.heights], ["demo", [0.25]]);
});

test("a band that is far beyond the means does not squash them", () => {
  const line = (high: number): Line => ({ name: "", heights: [1, 3], enters: -1, style: 0, items: [2, 2], band: { low: [0, 2], high: [2, high] } });
  const axis = (high: number): number => axisOf([{ title: "", layers: [0, 1], lines: [line(high)] }], "KL", "nats").range.high;
  assert.ok(axis(4.5) >= 4.5);
  assert.ok(axis(400) >= 6 && axis(400) <= 8);
});

test("all other groups have a name", () => {
  assert.deepEqual(["*others", "*", "", "others"].map(groupName), ["all others", "all items", "no group", "others"]);
});

test("items stand in their order, each with all answers and pages", () => {
  const items = itemsOf(study());
  assert.deepEqual(items.map(({ name }) => name), ["a", "b"]);
  assert.deepEqual(items[1]!.answers.map(({ model, outcome, pages }) => [model, outcome, pages]), [
    ["demo", "right", [["logit", "./pages/demo/logit/b.html"]]],
    ["two", "wrong", []],
  ]);
  assert.deepEqual(items[0]!.answers.map(({ outcome, text }) => [outcome, text]), [["failed", "no memory"]]);
});

test("items are found by group, model, outcome and words together", () => {
  const items = itemsOf(study());
  const find = (wanted: Partial<Wanted>): string[] => chosen(items, { group: null, model: null, outcome: null, text: "", ...wanted }).map(({ name }) => name);
  assert.deepEqual(find({}), ["a", "b"]);
  assert.deepEqual(find({ group: "busy" }), ["a"]);
  assert.deepEqual(find({ outcome: "wrong" }), ["b"]);
  assert.deepEqual(find({ outcome: "wrong", model: "demo" }), []);
  assert.deepEqual(find({ model: "two" }), ["b"]);
  assert.deepEqual(find({ text: "IS this cat" }), ["b"]);
  assert.deepEqual(find({ text: "猫" }), ["b"]);
  assert.deepEqual(find({ text: "dog", model: "demo" }), []);
});

test("differences that stand and that do not are both counted, and what could not be tested", () => {
  const { rows } = study().table("differences");
  assert.deepEqual(rows.map(stands), [true, false, false]);
  assert.match(storyOf(rows, "groups"), /^Of 2 comparisons between groups, 1 is beyond chance .*, 1 is not .* 1 comparison could not be tested/);
});

test("numbers are told in their unit, with their interval if there is one", () => {
  assert.equal(withInterval(0.25, 0.1, 0.4, "share"), "25% [10%, 40%]");
  assert.equal(withInterval(2, NaN, NaN, "nats"), "2");
  assert.equal(told(NaN), "–");
  assert.deepEqual([0.5, 0.0123, 5e-5, NaN].map(chance), ["0.500", "0.012", "5·10⁻⁵", "–"]);
});

test("a span has its band, its interval and its value, hollow where it does not stand", () => {
  const strokes: { kind: string; at: number[]; fill: string }[] = [];
  const pen = {
    rect: (x: number, _y: number, width: number, _h: number, fill: string) => strokes.push({ kind: "band", at: [x, x + width], fill }),
    line: (points: readonly Point[], fill: string) => strokes.push({ kind: "line", at: points.map(([x]) => x), fill }),
    dot: (x: number, _y: number, _r: number, fill: string) => strokes.push({ kind: "dot", at: [x], fill }),
  } as unknown as Pen;
  const theme = { ink: "ink", soft: "soft", line: "line", surface: "surface", accent: "accent", mark: "mark" };
  const draw = (span: Span): typeof strokes => {
    strokes.length = 0;
    drawSpan(pen, span, { low: -1, high: 1 }, { x: 0, y: 0, width: 236, height: 20 }, theme, "blue");
    return [...strokes];
  };
  const weak = draw({ at: 0.5, low: 0, high: 5, bandLow: -0.5, bandHigh: 0.5, strong: false });
  assert.deepEqual(weak[0], { kind: "band", at: [68, 168], fill: "soft" });
  assert.deepEqual(weak[2]!.at, [118, 218]);
  assert.deepEqual(weak.filter(({ kind }) => kind === "dot").map(({ at, fill }) => [at[0], fill]), [[168, "blue"], [168, "surface"]]);
  const bare = draw({ at: -1, low: NaN, high: NaN, bandLow: NaN, bandHigh: NaN, strong: true });
  assert.deepEqual(bare.filter(({ kind }) => kind !== "line"), [{ kind: "dot", at: [18], fill: "blue" }]);
  assert.deepEqual(draw({ at: NaN, low: NaN, high: NaN, bandLow: NaN, bandHigh: NaN, strong: true }).map(({ kind }) => kind), ["line"]);
});

test("a range about 0 is even, and its ticks lie within", () => {
  const { range, ticks } = evenAxis(2.3);
  assert.deepEqual(range, { low: -2.3, high: 2.3 });
  assert.deepEqual(ticks.map(({ at }) => at), [-2, -1, 0, 1, 2]);
});
