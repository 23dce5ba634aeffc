import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** What a program prints, on either stream, or null when it can't be run or fails. */
export async function outputOf(command: string, args: readonly string[]): Promise<string | null> {
  try {
    const { stdout, stderr } = await run(command, [...args], { maxBuffer: 16 * 1024 * 1024 });
    return `${stdout}${stderr}`;
  } catch {
    return null;
  }
}

/** The first match of a pattern's first group in what a program prints. */
export async function versionFrom(
  command: string,
  args: readonly string[],
  pattern: RegExp,
): Promise<string | null> {
  const output = await outputOf(command, args);
  return output === null ? null : (pattern.exec(output)?.[1] ?? null);
}
