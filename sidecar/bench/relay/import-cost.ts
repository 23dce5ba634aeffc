import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const FOLDER = fileURLToPath(new URL('../..', import.meta.url));

/** In this order, each costs what those before have not loaded; the last brings our own code and the rest. */
const MODULES = [
  'node:tls',
  'zod',
  'yaml',
  '@bufbuild/protobuf',
  'prom-client',
  '@grpc/grpc-js',
  './src/sidecar.ts',
];

const PROGRAM = `
import { readFileSync } from 'node:fs';
const resident = () => Number(/^VmRSS:\\s+(\\d+)/m.exec(readFileSync('/proc/self/status', 'utf8'))[1]) / 1024;
const costs = [['Node itself', resident()]];
for (const name of ${JSON.stringify(MODULES)}) {
  const before = resident();
  await import(name);
  costs.push([name, resident() - before]);
}
console.log(JSON.stringify(costs));
`;

/** What each import adds to the memory of a process that does nothing else, in MB. */
export async function measureImports(): Promise<(readonly [name: string, megabytes: number])[]> {
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', PROGRAM], {
    cwd: FOLDER,
  });
  return JSON.parse(stdout) as [string, number][];
}
