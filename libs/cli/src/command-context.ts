import { type MeshState, readMeshState, type Screen } from '@gatehouse/local-mesh';
import { CommandError } from './command-error.ts';

/** What the outside gives a command; main.ts alone makes one. */
export type CommandContext = {
  /** The environment, for the programs that are started and for finding models. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** The repository. */
  readonly root: string;
  /** Holds the local mesh's certificates, configurations, logs and state. */
  readonly dataDir: string;
  /** Standard output: results. */
  readonly out: Screen;
  /** Standard error: progress and complaints. */
  readonly err: Screen;
  /** Milliseconds since the epoch. */
  readonly clock: () => number;
  /** Aborted by Ctrl-C and SIGTERM. */
  readonly signal: AbortSignal;
  readonly readStdin: () => Promise<string>;
};

/** @throws CommandError when no mesh is running */
export async function runningMesh(context: CommandContext): Promise<MeshState> {
  const mesh = await readMeshState(context.dataDir);
  if (mesh !== undefined) return mesh;
  throw new CommandError('no local mesh is running; start one with `npm start`');
}
