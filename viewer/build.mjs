// Builds the scripts, styles and templates into the folder given: node build.mjs ../src/patchlens/views/assets
import { build } from "esbuild";
import { copyFile, mkdir } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const target = resolve(process.argv[2] ?? join(here, "../src/patchlens/views/assets"));
const common = {
  bundle: true,
  minify: true,
  charset: "ascii",
  target: ["es2022"],
  legalComments: "none",
  logLevel: "warning",
};

/** In the widget a style sheet is text, built as the page's is, for its shadow root. */
const styleAsText = {
  name: "style as text",
  setup({ onLoad }) {
    onLoad({ filter: /\.css$/ }, async ({ path }) => {
      const { outputFiles } = await build({ ...common, entryPoints: [path], write: false });
      return { contents: outputFiles[0].text, loader: "text" };
    });
  },
};

await mkdir(target, { recursive: true });
await build({
  ...common,
  entryPoints: [
    { in: join(here, "src/main.ts"), out: "viewer" },
    { in: join(here, "src/styles/viewer.css"), out: "viewer" },
    { in: join(here, "src/study/main.ts"), out: "study" },
    { in: join(here, "src/styles/study.css"), out: "study" },
    { in: join(here, "src/styles/index.css"), out: "index" },
    { in: join(here, "src/styles/scoreboard.css"), out: "scoreboard" },
  ],
  outdir: target,
  format: "iife",
});
await build({
  ...common,
  entryPoints: [join(here, "src/widget.ts")],
  outdir: target,
  format: "esm",
  plugins: [styleAsText],
});
const templates = [
  ...["page", "reading-block", "study-block", "frame", "index", "index-entry"],
  ...["scoreboard", "scoreboard-model", "scoreboard-lens", "scoreboard-row", "scoreboard-cell", "scoreboard-note"],
].map((name) => `${name}.html`);
for (const name of templates) {
  await copyFile(join(here, "static", name), join(target, name));
}
