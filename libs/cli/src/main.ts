import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { createScreen } from '@gatehouse/local-mesh';
import { runProgram } from './program.ts';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const ended = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => ended.abort());

// A reader such as `head` that has seen enough.
process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));

process.exitCode = await runProgram(
  {
    env: process.env,
    root,
    dataDir: join(root, '.gatehouse'),
    out: createScreen(process.stdout),
    err: createScreen(process.stderr),
    clock: Date.now,
    signal: ended.signal,
    readStdin: () => text(process.stdin),
  },
  process.argv.slice(2),
);
