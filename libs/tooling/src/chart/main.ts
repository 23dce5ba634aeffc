/** Lints the chart and packs it: `node libs/tooling/src/chart/main.ts [--out FOLDER]`. Prints the archive. */
import { spawnSync } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { ensureHelm } from '../external-tools/ensure-helm.ts';
import { ToolUnavailable } from '../external-tools/ensure-tool.ts';

const root = fileURLToPath(new URL('../../../..', import.meta.url));
const chart = join(root, 'charts/gatehouse');
const { values } = parseArgs({
  options: { out: { type: 'string', default: join(root, '.gatehouse/packages') } },
});
const out = resolve(values.out);

try {
  const { helm } = await ensureHelm({
    env: process.env,
    onProgress: (line) => process.stderr.write(`${line}\n`),
  });
  await mkdir(out, { recursive: true });
  // The defaults alone are refused, as they should be: some values have none.
  const minimal = join(chart, 'tests/values/minimal.yaml');
  const steps = [
    ['lint', '--strict', chart, '--values', minimal],
    ['package', chart, '--destination', out],
  ];
  for (const args of steps) {
    const { status, stdout, stderr } = spawnSync(helm, args, { encoding: 'utf8' });
    if (status !== 0) process.stderr.write(`${stdout}${stderr}`);
    else if (args[0] === 'package') process.stdout.write(`${stdout.trim().split(' ').at(-1)}\n`);
    if (status !== 0) process.exit(1);
  }
} catch (error) {
  if (!(error instanceof ToolUnavailable)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 1;
}
