// Builds the page's script, styles and templates into the folder given: node build.mjs ../src/patchlens/views/assets
import { build } from "esbuild";
import { copyFile, mkdir } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const target = resolve(process.argv[2] ?? join(here, "../src/patchlens/views/assets"));
await mkdir(target, { recursive: true });

await build({
  entryPoints: [
    { in: join(here, "src/main.ts"), out: "viewer" },
    { in: join(here, "src/viewer.css"), out: "viewer" },
    { in: join(here, "src/index.css"), out: "index" },
  ],
  outdir: target,
  bundle: true,
  minify: true,
  charset: "ascii",
  format: "iife",
  target: ["es2022"],
  legalComments: "none",
  logLevel: "warning",
});
for (const name of ["page.html", "index.html", "index-entry.html"]) {
  await copyFile(join(here, "static", name), join(target, name));
}
