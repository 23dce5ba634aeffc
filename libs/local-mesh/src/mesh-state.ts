import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { MeshLayout } from './mesh-layout.ts';
import { writeFileAtomically } from './write-file-atomically.ts';

/** What a running mesh leaves for other commands to find it by. */
export type MeshState = MeshLayout & {
  /** The process that holds the mesh. */
  readonly pid: number;
  /** Where spans go: `http://host:port`. */
  readonly otlpEndpoint: string;
};

const stateFile = (dataDir: string): string => join(dataDir, 'mesh.json');

export function writeMeshState(state: MeshState): Promise<void> {
  return writeFileAtomically(stateFile(state.dataDir), `${JSON.stringify(state, null, 2)}\n`);
}

/** The state of the mesh that runs with this data folder; undefined when none does. */
export async function readMeshState(dataDir: string): Promise<MeshState | undefined> {
  const state = await readLeftState(dataDir);
  return state !== undefined && isRunning(state.pid) ? state : undefined;
}

/** The state that a mesh has left behind, whether it still runs or not. */
export async function readLeftState(dataDir: string): Promise<MeshState | undefined> {
  try {
    return JSON.parse(await readFile(stateFile(dataDir), 'utf8')) as MeshState;
  } catch {
    return undefined;
  }
}

export async function removeMeshState(dataDir: string): Promise<void> {
  await rm(stateFile(dataDir), { force: true });
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // EPERM: it runs, as another user.
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
