// Installs tools that tests need: `node libs/tooling/src/external-tools/main.ts [NAME…]`, without names all of them.
// Prints the folder of each on a line of its own, and of a Debian package's program its path; what can't be had is named on stderr, with
// exit code 1.
import { DEBIAN_PROGRAMS, type DebianProgram, ensureDebianProgram } from './ensure-debian-program.ts';
import { ensureTool, ToolUnavailable } from './ensure-tool.ts';
import { PINNED_TOOLS } from './pinned-tools.ts';

const isDebian = (name: string): name is DebianProgram => Object.hasOwn(DEBIAN_PROGRAMS, name);

const all = [...PINNED_TOOLS.map((tool) => tool.name), ...Object.keys(DEBIAN_PROGRAMS)];
const names = process.argv.slice(2);
const options = { env: process.env, onProgress: (line: string) => process.stderr.write(`  ${line}\n`) };
for (const name of names.length > 0 ? names : all) {
  try {
    const place = isDebian(name) ? ensureDebianProgram(name, options) : ensureTool(name, options);
    process.stdout.write(`${await place}\n`);
  } catch (error) {
    if (!(error instanceof ToolUnavailable)) throw error;
    process.stderr.write(`${error.message}\n`);
    process.exitCode = 1;
  }
}
