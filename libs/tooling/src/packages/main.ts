/**
 * Builds what applications install: an npm package (JavaScript and types) and a Python wheel, a Go module, a Maven project;
 * each with the client kit of its language.
 *
 *   node libs/tooling/src/packages/main.ts [--out FOLDER] [npm] [python] [go] [java]
 *
 * Without names it builds npm and python, which need no more than Node and Python. Prints the file, or folder, of each on a
 * line of its own.
 */
import { mkdir } from 'node:fs/promises';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { buildGoModule } from './go-module.ts';
import { buildJavaProject } from './java-project.ts';
import { buildNpmPackage } from './npm-package.ts';
import { buildPythonWheel } from './python-wheel.ts';

const root = fileURLToPath(new URL('../../../..', import.meta.url));
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { out: { type: 'string', default: resolve(root, '.gatehouse/packages') } },
});
const builders = {
  npm: buildNpmPackage,
  python: buildPythonWheel,
  go: buildGoModule,
  java: buildJavaProject,
} as const;
const names = positionals.length > 0 ? positionals : ['npm', 'python'];
const unknown = names.filter((name) => !(name in builders));
if (unknown.length > 0) {
  process.stderr.write(`packages: ${unknown.join(', ')}: expected npm, python, go or java\n`);
  process.exit(2);
}
const out = resolve(values.out);
await mkdir(out, { recursive: true });
for (const name of names as (keyof typeof builders)[])
  process.stdout.write(`${await builders[name]({ root, out, env: process.env })}\n`);
