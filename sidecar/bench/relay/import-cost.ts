import { execFile } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { bundleApart } from '../../../libs/tooling/src/images/bundle-apart.ts';

/** What one part of the bundle adds, in megabytes. */
export type ImportCost = { readonly name: string; readonly residentMb: number; readonly ownMb: number };

/** Parts that cost less are one line. */
const SMALL_MB = 0.15;

/** Of Node itself, what the sidecar's own imports would otherwise be charged with. */
const BUILT_IN = ['node:tls', 'node:https', 'node:http2'];

const PROGRAM = `
import { readFileSync } from 'node:fs';
const memory = () => {
  gc();
  const rollup = readFileSync('/proc/self/smaps_rollup', 'utf8');
  const [residentMb, ownMb] = ['Rss', 'Anonymous'].map((key) => Number(new RegExp('^' + key + ':\\\\s+(\\\\d+)', 'm').exec(rollup)[1]) / 1024);
  return { residentMb, ownMb };
};
let before = memory();
const costs = [{ name: 'Node itself', ...before }];
for (const [name, file] of JSON.parse(process.argv[1])) {
  await import(file);
  const { residentMb, ownMb } = memory();
  costs.push({ name, residentMb: residentMb - before.residentMb, ownMb: ownMb - before.ownMb });
  before = { residentMb, ownMb };
}
console.log(JSON.stringify(costs));
`;

/** What each package and each part of our own adds to the memory of a process that does nothing else. */
export async function measureImports(root: string, folder: string): Promise<ImportCost[]> {
  await bundleApart(root, folder);
  const builtIn = BUILT_IN.map((name) => [name, name]);
  const parts = (await inOrder(folder)).map((file) => [file.replace(/\.js$/, ''), join(folder, file)]);
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ['--expose-gc', '--input-type=module', '-e', PROGRAM, JSON.stringify([...builtIn, ...parts])],
    { cwd: folder },
  );
  const costs = JSON.parse(stdout) as ImportCost[];
  const small = costs.filter(({ residentMb }) => residentMb < SMALL_MB);
  const sum = (of: (cost: ImportCost) => number): number => small.reduce((all, cost) => all + of(cost), 0);
  return [
    ...costs.filter((cost) => !small.includes(cost)),
    {
      name: `${small.length} others`,
      residentMb: sum((cost) => cost.residentMb),
      ownMb: sum((cost) => cost.ownMb),
    },
  ];
}

/** The files that are loaded at the start, each after what it imports. */
async function inOrder(folder: string): Promise<string[]> {
  const files = (await readdir(folder)).filter((name) => name.endsWith('.js'));
  const imports = new Map<string, string[]>();
  for (const file of files) {
    const found = (await readFile(join(folder, file), 'utf8')).matchAll(/(?:from|import)"\.\/([^"]+\.js)"/g);
    imports.set(
      file,
      [...found].map(([, name = '']) => name),
    );
  }
  const ordered = new Set<string>();
  const begun = new Set<string>();
  const add = (file: string): void => {
    if (begun.has(file)) return;
    begun.add(file);
    for (const each of imports.get(file) ?? []) add(each);
    ordered.add(file);
  };
  add('sidecar.js');
  return [...ordered];
}
