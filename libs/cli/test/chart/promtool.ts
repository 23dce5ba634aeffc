import { ensureDebianProgram } from '../../../tooling/src/external-tools/ensure-debian-program.ts';
import { ToolUnavailable } from '../../../tooling/src/external-tools/ensure-tool.ts';

/**
 * Prometheus' own tool.
 * @returns its path; null where it can't be had: on a machine that sets CI, where that would go unseen, it is an error
 */
export async function ensurePromtool(): Promise<string | null> {
  const onProgress = (line: string) => process.stderr.write(`  ${line}\n`);
  try {
    return await ensureDebianProgram('promtool', { env: process.env, onProgress });
  } catch (error) {
    if (!(error instanceof ToolUnavailable) || process.env['CI']) throw error;
    process.stderr.write(`not run: ${error.message}\n`);
    return null;
  }
}
