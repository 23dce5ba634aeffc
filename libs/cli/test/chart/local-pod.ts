/** A pod that the chart renders, run as processes of this machine in the order in which the kubelet starts and ends its containers. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Container, Manifest, Pod } from './helm.ts';

const READY_MS_MAX = 60_000;
const POLL_MS = 100;
/** For a test of a few processes, on a machine that does other things as well. */
export const TEST_MS_MAX = 180_000;

type Items = readonly { readonly key: string; readonly path: string }[];
type Source = {
  readonly configMap?: { readonly name: string; readonly items?: Items };
  readonly secret?: { readonly name: string; readonly items?: Items };
};
type Volume = Source & {
  readonly name: string;
  readonly projected?: { readonly sources: readonly Source[] };
};
type ProbedContainer = Container & {
  readonly ports?: readonly { readonly name: string; readonly containerPort: number }[];
  readonly startupProbe?: { readonly httpGet: { readonly path: string; readonly port: string | number } };
  readonly command?: readonly string[];
};

export type LocalPodOptions = {
  readonly pod: Pod;
  readonly manifests: readonly Manifest[];
  /** What a container runs in place of its image's entry point, by the container's name. */
  readonly programs: Readonly<Record<string, readonly string[]>>;
  /** ConfigMaps, Secrets and volumes that are not the chart's, by kind and name: `Secret redis`, `Volume gatehouse-identity`. */
  readonly elsewhere: Readonly<Record<string, Readonly<Record<string, string>>>>;
  /** Addresses of the cluster, and where they are here. */
  readonly addresses?: Readonly<Record<string, string>>;
};

/** A container that has ended, by its name, or a preStop hook, as `hook of NAME`. */
export type Ended = { readonly what: string; readonly code: number | null };

type Running = {
  readonly child: ChildProcess;
  readonly output: () => string;
  readonly ended: Promise<Ended>;
};

export class LocalPod {
  readonly folder: string;
  readonly #options: LocalPodOptions;
  readonly #running = new Map<string, Running>();
  /** What has ended, in this order. */
  readonly order: Ended[] = [];

  private constructor(folder: string, options: LocalPodOptions) {
    this.folder = folder;
    this.#options = options;
  }

  /** Mounts its volumes. Nothing runs yet. @throws for a volume or a key that nobody has */
  static async create(options: LocalPodOptions): Promise<LocalPod> {
    const pod = new LocalPod(await mkdtemp(join(tmpdir(), 'gh-pod-')), options);
    for (const container of pod.#containers()) await pod.#mount(container);
    return pod;
  }

  #containers(): ProbedContainer[] {
    const { initContainers = [], containers } = this.#options.pod;
    return [...initContainers, ...containers];
  }

  /** Native sidecars one after the other, each once its start-up probe is answered, then the others. */
  async start(): Promise<void> {
    const { initContainers = [], containers } = this.#options.pod;
    for (const container of initContainers) {
      this.#run(container);
      await this.#started(container);
    }
    for (const container of containers) this.#run(container);
  }

  /** Whether a container runs. */
  isRunning(name: string): boolean {
    return this.#running.get(name)?.child.exitCode === null;
  }

  /** What a container has written to its standard output. */
  output(name: string): string {
    return this.#running.get(name)?.output() ?? '';
  }

  /** Waits for a container that ends by itself. */
  ended(name: string): Promise<Ended> {
    const running = this.#running.get(name);
    return running === undefined ? Promise.reject(new Error(`${name} does not run`)) : running.ended;
  }

  /**
   * All preStop hooks at once; SIGTERM for a container after its own; native sidecars only once the containers have ended.
   * @param onHooks called while the hooks run
   */
  async end(onHooks: () => Promise<void> = async () => {}, onAppsDrained = async () => {}): Promise<void> {
    const { initContainers = [], containers } = this.#options.pod;
    const hooks = new Map(
      [...initContainers, ...containers].map((container) => [container.name, this.#preStop(container)]),
    );
    await onHooks();
    for (const { name } of containers) await hooks.get(name);
    await onAppsDrained();
    await Promise.all(containers.map(({ name }) => this.#terminate(name)));
    for (const { name } of initContainers.toReversed()) {
      await hooks.get(name);
      await this.#terminate(name);
    }
  }

  /** At once, with its files. */
  async remove(): Promise<void> {
    for (const { child } of this.#running.values()) if (child.exitCode === null) child.kill('SIGKILL');
    await rm(this.folder, { recursive: true, force: true });
  }

  /** A text with paths and addresses of the pod as they are here. */
  here(text: string): string {
    const moved = text.replaceAll(/\/(etc|run|var\/lib)\/gatehouse/g, `${this.folder}$&`);
    return Object.entries(this.#options.addresses ?? {}).reduce(
      (said, [there, here]) => said.replaceAll(there, here),
      moved,
    );
  }

  async #mount(container: ProbedContainer): Promise<void> {
    for (const { name, mountPath } of container.volumeMounts ?? []) {
      const volume = (this.#options.pod.volumes ?? []).find((each) => each.name === name) as
        | Volume
        | undefined;
      const folder = join(this.folder, mountPath);
      await mkdir(folder, { recursive: true });
      const own = this.#options.elsewhere[`Volume ${name}`] ?? {};
      const sources = volume === undefined ? [] : [volume, ...(volume.projected?.sources ?? [])];
      const files = [own, ...sources.map((source) => this.#filesOf(source))].flatMap(Object.entries<string>);
      for (const [path, text] of files) {
        const file = join(folder, path);
        await mkdir(dirname(file), { recursive: true });
        // A signature is over the document's bytes.
        await writeFile(file, path.startsWith('policy.yaml') ? text : this.here(text));
      }
    }
  }

  #filesOf({ configMap, secret }: Source): Record<string, string> {
    const { name, items } = configMap ?? secret ?? {};
    if (name === undefined) return {};
    const kind = configMap === undefined ? 'Secret' : 'ConfigMap';
    const found = this.#options.manifests.find((each) => each.kind === kind && each.metadata.name === name);
    const data = found?.data ?? this.#options.elsewhere[`${kind} ${name}`];
    if (data === undefined) throw new Error(`no ${kind} ${name}`);
    if (items === undefined) return { ...data };
    return Object.fromEntries(
      items.map(({ key, path }) => {
        const text = data[key];
        if (text === undefined) throw new Error(`no key ${key} in ${kind} ${name}`);
        return [path, text];
      }),
    );
  }

  #run(container: ProbedContainer): void {
    const [program = '', ...first] = this.#options.programs[container.name] ?? [];
    const args = [
      ...first.map((each) => this.here(each)),
      ...(container.args ?? []).map((each) => this.here(each)),
    ];
    const env = Object.fromEntries((container.env ?? []).map(({ name, value }) => [name, value]));
    const child = this.#spawn(program, args, env);
    let output = '';
    child.stdout?.on('data', (chunk: Buffer) => {
      output += chunk.toString();
    });
    this.#running.set(container.name, {
      child,
      output: () => output,
      ended: this.#endOf(container.name, child),
    });
  }

  #spawn(program: string, args: readonly string[], env: Readonly<Record<string, string>> = {}): ChildProcess {
    const child = spawn(program, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { PATH: `${dirname(process.execPath)}:${process.env['PATH']}`, ...env },
    });
    child.stderr?.pipe(process.stderr, { end: false });
    return child;
  }

  async #endOf(what: string, child: ChildProcess): Promise<Ended> {
    const [code] = (await once(child, 'close')) as [number | null];
    const ended = { what, code };
    this.order.push(ended);
    return ended;
  }

  async #started({ name, startupProbe, ports = [] }: ProbedContainer): Promise<void> {
    if (startupProbe === undefined) return;
    const { path, port } = startupProbe.httpGet;
    const number = ports.find((each) => each.name === port)?.containerPort ?? Number(port);
    await until(async () => {
      if (!this.isRunning(name)) throw new Error(`${name} ended before it had started`);
      return (await probe(number, path)) === 200;
    });
  }

  async #preStop({ name, lifecycle }: Container): Promise<void> {
    const { exec, httpGet } = lifecycle?.preStop ?? {};
    const what = `hook of ${name}`;
    if (exec !== undefined) {
      const [program = '', ...args] = exec.command.map((each) => this.here(each));
      const child = this.#spawn(program, args);
      child.stdout?.resume();
      await this.#endOf(what, child);
    } else if (httpGet !== undefined) {
      const status = await probe(httpGet.port, httpGet.path);
      this.order.push({ what, code: status === 200 ? 0 : status });
    }
  }

  async #terminate(name: string): Promise<void> {
    const running = this.#running.get(name);
    if (running === undefined) return;
    if (running.child.exitCode === null) running.child.kill('SIGTERM');
    await running.ended;
  }
}

/** The status of a probe; 0 while nobody listens. */
export async function probe(port: number, path: string): Promise<number> {
  return fetch(`http://127.0.0.1:${port}${path}`).then(
    ({ status }) => status,
    () => 0,
  );
}

/** @throws when it is not so in time */
export async function until(condition: () => Promise<boolean>): Promise<void> {
  const ends = performance.now() + READY_MS_MAX;
  while (!(await condition())) {
    if (performance.now() > ends) throw new Error(`not within ${READY_MS_MAX} ms: ${condition.toString()}`);
    await delay(POLL_MS);
  }
}
