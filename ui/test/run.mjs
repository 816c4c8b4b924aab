// Bundles the tests of this folder and runs them with Node's own runner.
import { build } from "esbuild";
import { spawnSync } from "node:child_process";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const out = await mkdtemp(join(tmpdir(), "alps-ui-"));
try {
  await build({
    absWorkingDir: here,
    entryPoints: (await readdir(here)).filter((f) => f.endsWith(".test.ts")),
    outdir: out, outExtension: { ".js": ".mjs" }, bundle: true, platform: "node", format: "esm", target: "node20",
    inject: [join(here, "browser.ts")], jsx: "automatic", jsxImportSource: "preact", logLevel: "warning",
  });
  const files = (await readdir(out)).map((f) => join(out, f));
  process.exitCode = spawnSync(process.execPath, ["--test", ...files], { stdio: "inherit" }).status ?? 1;
} finally {
  await rm(out, { recursive: true, force: true });
}
