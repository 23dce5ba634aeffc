import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const INSTALLER = fileURLToPath(
  new URL('../../../../libs/tooling/src/external-tools/main.ts', import.meta.url),
);

/** The folder of a tool, or why it can't be had on this machine. */
export type ExternalTool = { readonly folder: string } | { readonly missing: string };

/**
 * A pinned tool of the repository's installer, built the first time. Tests that need a missing one are skipped with the
 * reason; on a machine that sets CI, where a skipped test would go unseen, that is an error.
 */
export async function externalTool(name: string): Promise<ExternalTool> {
  const { code, stdout, stderr } = await finished(process.execPath, [INSTALLER, name], process.stderr);
  if (code === 0) return { folder: stdout.trim() };
  const missing = stderr.trim().split('\n').at(-1) ?? '';
  if (process.env['CI']) throw new Error(missing);
  process.stderr.write(`not run: ${missing}\n`);
  return { missing };
}

export type Finished = { readonly code: number | null; readonly stdout: string; readonly stderr: string };

/** Runs a program to its end. @param echo where its stderr is shown as well */
export function finished(
  command: string,
  args: readonly string[],
  echo?: NodeJS.WritableStream,
  options: { readonly timeoutMs?: number; readonly input?: string; readonly env?: NodeJS.ProcessEnv } = {},
): Promise<Finished> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      stdio: 'pipe',
      timeout: options.timeoutMs ?? 0,
      env: options.env ?? process.env,
    });
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
      echo?.write(text);
    });
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, stdout, stderr }));
    child.stdin.on('error', () => {});
    child.stdin.end(options.input ?? '');
  });
}
