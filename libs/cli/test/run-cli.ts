import { fileURLToPath } from 'node:url';
import { createScreen } from '@gatehouse/local-mesh';
import { runProgram } from '../src/program.ts';

export type CliRun = { readonly exitCode: number; readonly out: string; readonly err: string };

export const ROOT = fileURLToPath(new URL('../../..', import.meta.url));

/** Runs a command in this process, as main.ts would, against the mesh of a data folder. */
export async function runCli(dataDir: string, ...args: string[]): Promise<CliRun> {
  let out = '';
  let err = '';
  const exitCode = await runProgram(
    {
      env: {},
      root: ROOT,
      dataDir,
      out: createScreen({ write: (text) => (out += text) }),
      err: createScreen({ write: (text) => (err += text) }),
      clock: Date.now,
      signal: new AbortController().signal,
      readStdin: async () => '{}',
    },
    args,
  );
  return { exitCode, out, err };
}
