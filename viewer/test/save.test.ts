import assert from "node:assert/strict";
import { test } from "node:test";

import { SvgPen } from "../src/drawing/pen";
import { csv, slug, svg } from "../src/drawing/save";

test("tables quote what needs it, keep seven digits, leave out what is unknown, and run no formula", () => {
  assert.equal(
    csv([["piece", "value"], ['a"b,c\n', 1 / 3], ["▁猫", NaN], ["=1+1", -2], ["@x", 0], ["", 1e-12]]),
    'piece,value\r\n"a""b,c\n",0.3333333\r\n▁猫,\r\n\'=1+1,-2\r\n\'@x,0\r\n,1e-12\r\n',
  );
});

test("file names hold nothing that a system could take amiss", () => {
  assert.equal(slug("../a b/<c>:猫.png-layer 3"), "a-b-c-猫.png-layer-3");
  assert.equal(slug("///"), "patchlens");
  assert.ok(slug("x".repeat(500)).length <= 80);
});

test("an SVG holds its text as text, whatever it is", () => {
  const bad = `</text><script>alert("1")</script>&amp;`;
  const source = svg({
    name: "x",
    width: 10,
    height: 20,
    draw: (pen) => pen.text(bad, 1, 2, { size: 12, fill: "#000" }),
    table: () => [],
  });
  assert.ok(!source.includes("<script"));
  assert.ok(source.includes("&#60;script&#62;"));
  assert.match(source, /^<svg [^>]*viewBox="0 0 10 20"/);
});

test("every stroke has its SVG element", () => {
  const pen = new SvgPen(1, 1);
  pen.rect(0.123, 0, 1, 1, "#111", 0.5);
  pen.frame(0, 0, 1, 1, "#222", 2);
  pen.line([[0, 0], [1, 1.5]], "#333", 1, [2, 3]);
  pen.dot(1, 1, 3, "#444");
  pen.area([[0, 0], [1, 0], [1, 1.234]], "#555", 0.2);
  const source = pen.source();
  assert.ok(source.includes('<rect x="0.12" y="0" width="1" height="1" fill="#111" fill-opacity="0.5"/>'));
  assert.ok(source.includes('fill="none" stroke="#222" stroke-width="2"'));
  assert.ok(source.includes('<polyline points="0,0 1,1.5" fill="none" stroke="#333"'));
  assert.ok(source.includes('<polygon points="0,0 1,0 1,1.23" fill="#555" fill-opacity="0.2"/>'));
  assert.ok(source.includes('stroke-dasharray="2 3"'));
  assert.ok(source.includes('<circle cx="1" cy="1" r="3" fill="#444"/>'));
});
