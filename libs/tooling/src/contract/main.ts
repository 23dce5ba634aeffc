/**
 * Says whether the protos break a contract that somebody may have: that of the last release, and what is committed as released.
 *
 *   node libs/tooling/src/contract/main.ts [--root FOLDER]
 *   node libs/tooling/src/contract/main.ts --release     writes protos/released.binpb, as part of making a release
 *
 * The last release is the newest tag v* before this commit: a change that edits released.binpb is still held against it.
 */
import { execFile, spawnSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs, promisify } from 'node:util';

const RELEASED = 'protos/released.binpb';
const CONTRACT_BYTES_MAX = 1 << 26;
const repository = fileURLToPath(new URL('../../../..', import.meta.url));
const { values } = parseArgs({ options: { root: { type: 'string' }, release: { type: 'boolean' } } });
const root = resolve(values.root ?? repository);

/** @returns whether buf has nothing against it; what it has stands on the terminal */
function buf(...args: string[]): boolean {
  const program = join(repository, 'node_modules/.bin/buf');
  return spawnSync(program, args, { cwd: root, stdio: 'inherit' }).status === 0;
}

/** @returns null where git has no such thing */
async function git(...args: string[]): Promise<Buffer | null> {
  const options = { cwd: root, encoding: 'buffer', maxBuffer: CONTRACT_BYTES_MAX } as const;
  return promisify(execFile)('git', args, options).then(
    ({ stdout }) => stdout,
    () => null,
  );
}

async function breaksNothing(): Promise<boolean> {
  const isKept = buf('breaking', '--against', RELEASED);
  const tag = (await git('describe', '--tags', '--abbrev=0', '--match=v*', 'HEAD^'))?.toString().trim();
  const released = tag === undefined ? null : await git('show', `${tag}:${RELEASED}`);
  if (released === null) {
    process.stdout.write('no release before this commit: held against what is committed as released\n');
    return isKept;
  }
  const folder = await mkdtemp(join(tmpdir(), 'gatehouse-contract-'));
  try {
    const file = join(folder, 'released.binpb');
    await writeFile(file, released);
    process.stdout.write(`held against ${tag}\n`);
    return buf('breaking', '--against', file) && isKept;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

const isWell = values.release === true ? buf('build', '-o', RELEASED) : await breaksNothing();
process.exitCode = isWell ? 0 : 1;
