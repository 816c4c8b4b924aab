// Bundles src into dist: one script, one style sheet and one icon with their
// hashes in the names, and the page that names them. The same sources give the
// same bytes: a test builds again and compares.
import { build, context } from "esbuild";
import { createHash } from "node:crypto";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const watch = process.argv.includes("--watch");
const at = process.argv.indexOf("--out");
const out = at > 0 ? process.argv[at + 1] : join(here, "dist");

const hashed = (name, body, ext) =>
  `${name}-${createHash("sha256").update(body).digest("hex").slice(0, 10)}.${ext}`;

// page is rendered here and not by the program: it holds no script of its own,
// so that the policy of the page may forbid them all.
const page = (js, css, icon) => `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<title>ALPS</title>
<link rel="icon" href="/ui/assets/${icon}" type="image/svg+xml">
<link rel="stylesheet" href="/ui/assets/${css}">
<script src="/ui/assets/${js}" defer></script>
</head>
<body><noscript>ALPS needs JavaScript.</noscript></body>
</html>
`;

const write = {
  name: "dist",
  setup(b) {
    b.onEnd(async (result) => {
      if (result.errors.length > 0) return;
      const text = (ext) => result.outputFiles.find((f) => f.path.endsWith(ext)).contents;
      const icon = await readFile(join(here, "src/icon.svg"));
      const names = {
        js: hashed("app", text(".js"), "js"),
        css: hashed("app", text(".css"), "css"),
        icon: hashed("icon", icon, "svg"),
      };
      const assets = join(out, "assets");
      await rm(out, { recursive: true, force: true });
      await mkdir(assets, { recursive: true });
      await writeFile(join(assets, names.js), text(".js"));
      await writeFile(join(assets, names.css), text(".css"));
      await writeFile(join(assets, names.icon), icon);
      const preact = await readFile(join(here, "node_modules/preact/LICENSE"), "utf8");
      await writeFile(join(out, "licenses.txt"), `Preact\n\n${preact}`);
      await writeFile(join(out, "index.html"), page(names.js, names.css, names.icon));
    });
  },
};

const options = {
  absWorkingDir: here,
  entryPoints: { app: "src/main.tsx" },
  outdir: out,
  write: false,
  bundle: true,
  minify: true,
  charset: "utf8",
  format: "iife",
  target: ["es2022"],
  legalComments: "none",
  jsx: "automatic",
  jsxImportSource: "preact",
  logLevel: "warning",
  plugins: [write],
};

if (watch) await (await context(options)).watch();
else await build(options);
