// Bundles the components into dist/, names them by content, and lists them in manifest.json.
import { mkdir, readdir, rename, rm, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const dist = join(here, "dist");
const BUNDLES = ["viewer", "uploader", "pictures", "gallery"];

const result = await build({
  absWorkingDir: here,
  entryPoints: Object.fromEntries(BUNDLES.map((name) => [name, `src/${name}.js`])),
  entryNames: "[name]-[hash]",
  outdir: dist,
  bundle: true,
  format: "esm",
  target: "es2022",
  minify: true,
  legalComments: "eof",
  loader: { ".css": "text" },
  metafile: true,
  logLevel: "warning",
});

const manifest = {};
for (const [path, output] of Object.entries(result.metafile.outputs)) {
  if (output.entryPoint) manifest[basename(output.entryPoint, ".js")] = basename(path);
}
await mkdir(dist, { recursive: true });
const draft = join(dist, "manifest.json.part");
await writeFile(draft, JSON.stringify(manifest));
await rename(draft, join(dist, "manifest.json"));

const keep = new Set(["manifest.json", ...Object.values(manifest)]);
for (const name of await readdir(dist)) if (!keep.has(name)) await rm(join(dist, name));
console.log(Object.values(manifest).join("  "));
