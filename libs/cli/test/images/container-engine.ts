import { execFile } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { ensureDebianProgram } from '../../../tooling/src/external-tools/ensure-debian-program.ts';
import { ToolUnavailable } from '../../../tooling/src/external-tools/ensure-tool.ts';
import { toolsDir } from '../../../tooling/src/external-tools/tool-cache.ts';

const COMMAND_MS_MAX = 300_000;
const OUTPUT_BYTES_MAX = 1 << 24;
const PROGRAMS = ['podman', 'buildah', 'runc', 'dpkg-deb'] as const;
/** crun, which podman would take, fails where cgroups are of version 1; limits beyond those of the machine are refused. */
const RUN_OPTIONS = ['--ulimit=nofile=4096:4096', '--ulimit=nproc=4096:4096', '--log-driver=k8s-file'];
/** What the chart gives every container. */
const CONFINED = ['--read-only', '--cap-drop=all', '--security-opt=no-new-privileges'];

export type Ran = { readonly code: number; readonly out: string; readonly err: string };

export type ContainerEngine = {
  /** In the cache. */
  readonly folder: string;
  /** Options of podman and buildah: images and containers of the tests are kept apart from those of the machine. */
  readonly storage: readonly string[];
  podman(...args: string[]): Promise<Ran>;
  /** Arguments for `podman` that run a container as the chart does. */
  runArguments(options: readonly string[], image: string, command?: readonly string[]): string[];
  /** The whole of podman's command line, for who starts it otherwise. */
  commandLine(args: readonly string[]): string[];
};

/**
 * Podman with a storage of its own in the cache. Programs that are missing are installed.
 * @throws ToolUnavailable
 */
async function openEngine(): Promise<ContainerEngine> {
  if (process.platform !== 'linux' || process.getuid?.() !== 0)
    throw new ToolUnavailable('containers need Linux and root here');
  const options = { env: process.env, onProgress: (line: string) => process.stderr.write(`  ${line}\n`) };
  for (const name of PROGRAMS) await ensureDebianProgram(name, options);
  const folder = join(toolsDir(process.env), 'containers');
  await mkdir(folder, { recursive: true });
  const storage = ['--root', join(folder, 'storage'), '--runroot', join(folder, 'run')];
  const podman = ['--tmpdir', join(folder, 'tmp'), '--runtime=runc', '--cgroup-manager=cgroupfs'];
  const commandLine = (args: readonly string[]): string[] => [
    'podman',
    ...storage,
    ...podman,
    '--events-backend=none',
    ...args,
  ];
  return {
    folder,
    storage,
    commandLine,
    podman: (...args) => run(commandLine(args)),
    runArguments: (given, image, command = []) => [
      'run',
      ...RUN_OPTIONS,
      ...CONFINED,
      ...given,
      image,
      ...command,
    ],
  };
}

/** Runs a program to its end. */
export function run(line: readonly string[]): Promise<Ran> {
  const [program = '', ...args] = line;
  return new Promise((resolve) => {
    execFile(program, args, { timeout: COMMAND_MS_MAX, maxBuffer: OUTPUT_BYTES_MAX }, (error, out, err) =>
      resolve({ code: error === null ? 0 : typeof error.code === 'number' ? error.code : 1, out, err }),
    );
  });
}

/**
 * The engine, or null where there can be none: then the tests don't run, and say why. On a machine that sets CI, where that
 * would go unseen, it is an error.
 */
export async function containerEngine(): Promise<ContainerEngine | null> {
  try {
    const engine = await openEngine();
    const { code, err } = await engine.podman('info');
    if (code !== 0) throw new ToolUnavailable(`podman does not work here: ${err.trim()}`);
    return engine;
  } catch (error) {
    if (!(error instanceof ToolUnavailable) || process.env['CI']) throw error;
    process.stderr.write(`not run: ${error.message}\n`);
    return null;
  }
}
