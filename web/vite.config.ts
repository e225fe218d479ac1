import { createHash } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { defineConfig, type Plugin } from "vite";

/** Codecs of NiiVue's Zarr reader; images come as NIfTI. They would be two thirds of the page. */
const UNUSED = /^numcodecs\/(blosc|lz4|zstd)$/;

const LICENCES = "page/licenses.md";
const OWN = ["index.html", "package.json", "package-lock.json", "tsconfig.json", "vite.config.ts"];

/** Writes beside the build what it was made of, so that a test can tell whether it belongs to the sources. */
function sources(): Plugin {
  const below = (folder: string): string[] =>
    readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
      const path = join(folder, entry.name);
      return entry.isDirectory() ? below(path) : [path];
    });
  const files = [...OWN, ...below("licenses"), ...below("public"), ...below("src")].filter((path) => !path.includes(".test."));
  const lines = files
    .sort()
    .map((path) => `${createHash("sha256").update(readFileSync(path)).digest("hex")}  ${path}\n`);
  return {
    name: "sources",
    generateBundle() {
      this.emitFile({ type: "asset", fileName: "sources.sha256", source: lines.join("") });
    },
  };
}

/** Adds what a package leaves out of its own files: its licence asks for the text to go with every copy. */
function missingLicences(): Plugin {
  return {
    name: "missing-licences",
    writeBundle({ dir = "" }) {
      const path = join(dir, LICENCES);
      const text = readFileSync("licenses/niivue.txt", "utf8");
      const whole = readFileSync(path, "utf8").replace(/^(## @niivue\/niivue .*)$/m, `$1\n\n${text}`);
      const bare = /^## (.*)\n+(?=##|$(?![^]))/m.exec(whole);
      if (bare) throw new Error(`The licence of ${bare[1]} has no text: add it to licenses/`);
      writeFileSync(path, whole);
    },
  };
}

/** What only the picture needs, in a file of its own: it is loaded with the first result, and stays as the page changes. */
const GROUPS = [
  { name: "preload", test: /preload-helper/, priority: 2 },
  { name: "viewer", test: /node_modules.(?!preact)/, priority: 1 },
];

export default defineConfig({
  base: "./",
  plugins: [sources(), missingLicences()],
  resolve: { alias: [{ find: UNUSED, replacement: "/src/unused.ts" }] },
  build: {
    outDir: "../gateway/page/static",
    emptyOutDir: true,
    assetsDir: "page",
    assetsInlineLimit: 0,
    target: "es2022",
    license: { fileName: LICENCES },
    modulePreload: { polyfill: false },
    rolldownOptions: { output: { codeSplitting: { groups: GROUPS } } },
    reportCompressedSize: false,
    chunkSizeWarningLimit: 1000,
  },
});
