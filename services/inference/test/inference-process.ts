import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

export interface InferenceProcess {
  readonly pid: number;
  readonly address: string;
  /** What it has logged. */
  readonly lines: string[];
  /** Sends a signal and gives the exit code. */
  end(signal: NodeJS.Signals): Promise<number | null>;
}

/** Runs the service as its users do, on a socket in a temporary folder, and waits until it serves. */
export async function startInference(config: object): Promise<InferenceProcess> {
  const folder = await mkdtemp(join(tmpdir(), 'inf-'));
  const address = `unix:${join(folder, 'app.sock')}`;
  const file = join(folder, 'config.yaml');
  await writeFile(file, JSON.stringify({ name: 'inference', listen: address, ...config })); // JSON is YAML.
  const child = spawn(
    process.execPath,
    [fileURLToPath(new URL('../src/main.ts', import.meta.url)), '--config', file],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  const exited = once(child, 'exit').then(async ([code]) => {
    await rm(folder, { recursive: true, force: true });
    return code as number | null;
  });
  const lines: string[] = [];
  const serving = new Promise<true>((resolve) => {
    createInterface(child.stdout).on('line', (line) => {
      lines.push(line);
      if (line.includes('"serving"')) resolve(true);
    });
  });
  if ((await Promise.race([serving, exited])) !== true) throw new Error(`it ended:\n${lines.join('\n')}`);
  return {
    pid: child.pid ?? 0,
    address,
    lines,
    end: (signal) => {
      child.kill(signal);
      return exited;
    },
  };
}
