/**
 * Builds what applications install: an npm package (JavaScript and types, with the client kit) and a Python wheel.
 *
 *   node libs/tooling/src/packages/main.ts [--out FOLDER] [npm] [python]
 *
 * Prints the file of each on a line of its own.
 */
import { mkdir } from 'node:fs/promises';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { buildNpmPackage } from './npm-package.ts';
import { buildPythonWheel } from './python-wheel.ts';

const root = fileURLToPath(new URL('../../../..', import.meta.url));
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { out: { type: 'string', default: resolve(root, '.gatehouse/packages') } },
});
const builders = { npm: buildNpmPackage, python: buildPythonWheel } as const;
const names = positionals.length > 0 ? positionals : Object.keys(builders);
const unknown = names.filter((name) => !(name in builders));
if (unknown.length > 0) {
  process.stderr.write(`packages: ${unknown.join(', ')}: expected npm or python\n`);
  process.exit(2);
}
const out = resolve(values.out);
await mkdir(out, { recursive: true });
for (const name of names as (keyof typeof builders)[])
  process.stdout.write(`${await builders[name]({ root, out, env: process.env })}\n`);
