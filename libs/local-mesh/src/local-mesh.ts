import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Child, type ChildExit, lastLines, startChild } from './child-process.ts';
import { type ConfigFiles, writeMeshConfigs } from './mesh-configs.ts';
import { type MeshIdentities, startMeshIdentities } from './mesh-identities.ts';
import { layOut, type MeshLayout, SERVICES, type ServiceName, type ServicePlace } from './mesh-layout.ts';
import { MeshStartError } from './mesh-start-error.ts';
import {
  type MeshState,
  readLeftState,
  readMeshState,
  removeMeshState,
  writeMeshState,
} from './mesh-state.ts';
import { choosePorts } from './ports.ts';
import { waitUntilReady } from './readiness.ts';

export type LocalMeshOptions = {
  /** The repository: programs are started from its `services/` and `sidecar/`. */
  readonly root: string;
  /** Holds certificates, configurations, logs and the state file. */
  readonly dataDir: string;
  /** Holds one folder per model. */
  readonly modelsDir: string;
  /** Where every process sends its spans: `http://host:port`. */
  readonly otlpEndpoint: string;
  /** The first of six ports in a row; absent: whichever are free. */
  readonly portBase?: number | undefined;
  /** The environment that the processes get. */
  readonly env: Readonly<Record<string, string>>;
  /** Milliseconds since the epoch. */
  readonly clock: () => number;
  /** How long the mesh may take to become ready. Default 60,000. */
  readonly readyMsMax?: number;
  /** How long a certificate is good for. Default one hour. */
  readonly certificateValidMs?: number;
  /** Told which part is up, in the order in which they come. */
  readonly onReady?: (service: ServiceName) => void;
  /** Told when certificates cannot be replaced. */
  readonly onIdentityError?: (error: Error) => void;
  /** Ends the start; whatever has been started by then is stopped. */
  readonly signal?: AbortSignal;
};

export type LocalMesh = {
  readonly state: MeshState;
  /** Process ids by name: `inference`, `inference sidecar`, … */
  readonly pids: Readonly<Record<string, number>>;
  /** Resolves when a process has ended that nobody asked to end. */
  readonly failed: Promise<MeshStartError>;
  /** Ends every process, callers' side first, and removes what was made outside the data folder. */
  stop(): Promise<void>;
};

const READY_MS_MAX = 60_000;
/**
 * The young generation of each service, in MiB per half. What calls leave behind is small and dies at once; with the
 * default of 16 a process holds 20 to 60 MB in which nothing lives.
 */
const SERVICE_NODE_FLAGS = ['--max-semi-space-size=4'];
/** What each stage of stopping may take before its processes are killed. */
const STOP_MS_MAX = 6000;
const LOG_LINES_SHOWN = 12;

/**
 * Starts three services and a sidecar each as separate processes and waits until all are ready.
 *
 * @throws MeshStartError when a mesh runs already, a port is taken, a process ends, or the mesh is not ready in time
 */
export async function startLocalMesh(options: LocalMeshOptions): Promise<LocalMesh> {
  const { dataDir } = options;
  const running = await readMeshState(dataDir);
  if (running !== undefined) {
    throw new MeshStartError(
      `a mesh runs already (process ${running.pid}); stop it with Ctrl-C where it was started`,
    );
  }
  const left = await readLeftState(dataDir);
  if (left !== undefined) await rm(left.socketsDir, { recursive: true, force: true });

  const ports = await choosePorts(options.portBase);
  const layout = layOut(dataDir, await mkdtemp(join(tmpdir(), 'gatehouse-')), ports);
  const parts = new MeshParts(layout);
  try {
    await mkdir(layout.logsDir, { recursive: true });
    parts.identities = await startMeshIdentities({
      layout,
      clock: options.clock,
      ...(options.certificateValidMs === undefined ? {} : { validForMs: options.certificateValidMs }),
      onError: options.onIdentityError ?? (() => {}),
    });
    await startChildren(parts, await writeMeshConfigs({ ...options, layout }), options);
    await waitForAll(parts, options);
    const state = { ...layout, pid: process.pid, otlpEndpoint: options.otlpEndpoint };
    await writeMeshState(state);
    return {
      state,
      pids: Object.fromEntries([...parts.children.values()].map(({ name, pid }) => [name, pid])),
      failed: parts.failed(),
      stop: () => parts.stop(),
    };
  } catch (error) {
    await parts.stop();
    throw error;
  }
}

const serviceProgram = (service: ServiceName): string => `services/${service}/src/main.ts`;
const SIDECAR_PROGRAM = 'sidecar/src/main.ts';
const sidecarOf = (service: ServiceName): string => `${service} sidecar`;

/** What was taken so far, and how to give it back. */
class MeshParts {
  readonly children = new Map<string, Child>();
  identities: MeshIdentities | undefined;
  readonly #layout: MeshLayout;
  #stopping: Promise<void> | undefined;

  constructor(layout: MeshLayout) {
    this.#layout = layout;
  }

  get logsDir(): string {
    return this.#layout.logsDir;
  }

  place(service: ServiceName): ServicePlace {
    return this.#layout.services[service];
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  /** Orchestration first, since it calls the others; of each, the sidecar first, since it drains its callers. */
  async #stop(): Promise<void> {
    const stages = [
      [sidecarOf('orchestration')],
      ['orchestration'],
      [sidecarOf('inference'), sidecarOf('embeddings')],
      ['inference', 'embeddings'],
    ];
    try {
      for (const names of stages) {
        const started = names.flatMap((name) => this.children.get(name) ?? []);
        await Promise.all(started.map((child) => child.stop(STOP_MS_MAX)));
      }
    } finally {
      await this.identities?.close();
      await removeMeshState(this.#layout.dataDir);
      await rm(this.#layout.socketsDir, { recursive: true, force: true });
    }
  }

  /** Resolves with the first process that ends before anybody has asked for it. */
  async failed(): Promise<MeshStartError> {
    const exit = await Promise.race([...this.children.values()].map(({ exited }) => exited));
    if (this.#stopping !== undefined) return new Promise(() => {});
    return exitError(exit);
  }
}

async function exitError({ name, how, logFile }: ChildExit): Promise<MeshStartError> {
  const lines = await lastLines(logFile, LOG_LINES_SHOWN);
  return new MeshStartError(`the ${name} process has ended (${how}); its log is ${logFile}`, lines);
}

async function startChildren(
  parts: MeshParts,
  configs: Readonly<Record<ServiceName, ConfigFiles>>,
  options: LocalMeshOptions,
): Promise<void> {
  const sidecar = await readStartOptions(options.root);
  const env = await fillCompileCache(options, sidecar.flags);
  const start = async (
    name: string,
    program: readonly string[],
    more: StartOptions['env'],
  ): Promise<void> => {
    const logFile = join(parts.logsDir, `${name.replace(' ', '-')}.log`);
    const child = await startChild({ name, program, cwd: options.root, env: { ...env, ...more }, logFile });
    parts.children.set(name, child);
  };
  for (const service of SERVICES) {
    const files = configs[service];
    await start(service, [...SERVICE_NODE_FLAGS, serviceProgram(service), '--config', files.service], {});
    await start(
      sidecarOf(service),
      [...sidecar.flags, SIDECAR_PROGRAM, '--config', files.sidecar],
      sidecar.env,
    );
  }
}

/** How Node is started for a sidecar: as in its image. */
type StartOptions = { readonly flags: readonly string[]; readonly env: Readonly<Record<string, string>> };

async function readStartOptions(root: string): Promise<StartOptions> {
  return JSON.parse(await readFile(join(root, 'sidecar/start-options.json'), 'utf8')) as StartOptions;
}

/**
 * Gives the processes a place for compiled code, and fills it when it is new. A process that finds its code there starts
 * in two thirds of the time and needs 25 MB less, because nothing has to strip types. Code is kept for each set of flags.
 *
 * @returns the environment of the processes
 */
async function fillCompileCache(
  { root, dataDir, env }: LocalMeshOptions,
  sidecarFlags: readonly string[],
): Promise<Record<string, string>> {
  const cacheDir = env['NODE_COMPILE_CACHE'] ?? join(dataDir, 'compile-cache');
  const withCache = { ...env, NODE_COMPILE_CACHE: cacheDir };
  if (existsSync(cacheDir)) return withCache;
  const load = async (...program: string[]): Promise<void> => {
    // Without a configuration a program ends once it has been loaded.
    const loaded = spawn(process.execPath, program, { cwd: root, env: withCache, stdio: 'ignore' });
    await once(loaded, 'exit');
  };
  // A service imports start.ts late, after it has read its configuration.
  const loadService = (name: ServiceName): Promise<void> =>
    load('--import', `./services/${name}/src/start.ts`, serviceProgram(name));
  await Promise.all([load(...sidecarFlags, SIDECAR_PROGRAM), ...SERVICES.map(loadService)]);
  return withCache;
}

async function waitForAll(parts: MeshParts, options: LocalMeshOptions): Promise<void> {
  const readyMsMax = options.readyMsMax ?? READY_MS_MAX;
  const settled = new AbortController();
  const deadline = AbortSignal.timeout(readyMsMax);
  const given = options.signal === undefined ? [] : [options.signal];
  const signal = AbortSignal.any([settled.signal, deadline, ...given]);
  const missing = new Map<ServiceName, string>();
  const oneReady = async (service: ServiceName): Promise<void> => {
    const onNotReady = (why: string): void => void missing.set(service, why);
    await waitUntilReady(parts.place(service).telemetry, { signal, onNotReady });
    missing.delete(service);
    options.onReady?.(service);
  };
  const failed = parts.failed().then((error) => Promise.reject(error));
  try {
    await Promise.race([Promise.all(SERVICES.map(oneReady)), failed]);
  } catch (error) {
    if (!deadline.aborted) throw error;
    const reasons = [...missing].map(([service, why]) => `${service}: ${why}`).join('; ');
    throw new MeshStartError(
      `the mesh was not ready within ${readyMsMax} ms (${reasons}); logs are in ${parts.logsDir}`,
    );
  } finally {
    settled.abort();
  }
}
