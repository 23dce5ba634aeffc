// Installs tools that tests need: `node libs/tooling/src/external-tools/main.ts [NAME…]`, without names all of them.
// Prints the folder of each on a line of its own; a tool that can't be had is named on stderr, with exit code 1.
import { ensureTool, ToolUnavailable } from './ensure-tool.ts';
import { PINNED_TOOLS } from './pinned-tools.ts';

const names = process.argv.slice(2);
for (const name of names.length > 0 ? names : PINNED_TOOLS.map((tool) => tool.name)) {
  try {
    const onProgress = (line: string) => process.stderr.write(`  ${line}\n`);
    process.stdout.write(`${await ensureTool(name, { env: process.env, onProgress })}\n`);
  } catch (error) {
    if (!(error instanceof ToolUnavailable)) throw error;
    process.stderr.write(`${error.message}\n`);
    process.exitCode = 1;
  }
}
