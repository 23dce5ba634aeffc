/** Starts `polite.ts` as a child, writes its process id, and stays until it is killed: `node parent.ts LOG_FILE`. */
import { fileURLToPath } from 'node:url';
import { startChild } from '../src/child-process.ts';

const child = await startChild({
  name: 'polite',
  program: [fileURLToPath(new URL('./polite.ts', import.meta.url))],
  cwd: process.cwd(),
  env: {},
  logFile: process.argv[2] ?? '',
});
process.stdout.write(`${child.pid}\n`);
await child.exited;
