import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, chown, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { parse, stringify } from 'yaml';
import type { ContainerEngine } from './container-engine.ts';
import { GROUP, sidecarOptions, writeVolumes } from './container-mesh.ts';

const READY_MS_MAX = 30_000;
const POLL_MS = 2;
/** Of the kernel's clock in /proc. */
const MS_PER_TICK = 10;

export type Start = {
  /** From the start of `podman run` to the first 200 of /readyz. */
  readonly wholeMs: number;
  /** From the start of the container's own process. */
  readonly ownMs: number;
  /** Processor time of that process until then. */
  readonly processorMs: number;
};

/** Starts a sidecar in a container before an app that is there already, until it says that it is ready; and ends it. */
export async function measureStart(engine: ContainerEngine, image: string): Promise<Start> {
  const volumes = await writeVolumes();
  const app = join(volumes.sockets('inference'), 'app.sock');
  // An app without a health service counts as ready when it answers.
  const server = new Server();
  const name = `${volumes.folder.split('/').at(-1)}-start`;
  try {
    await new Promise<void>((resolve, reject) =>
      server.bindAsync(`unix:${app}`, ServerCredentials.createInsecure(), (error) =>
        error === null ? resolve() : reject(error),
      ),
    );
    await chown(app, 0, GROUP);
    await chmod(app, 0o660);
    await listenOnFreePorts(volumes.config('inference'));
    const options = ['--rm', '--name', name, '--network=host', ...sidecarOptions(volumes, 'inference')];
    return await start(engine, { name, args: engine.runArguments(options, image) });
  } finally {
    await engine.podman('rm', '--force', '--time=0', '--ignore', name);
    server.forceShutdown();
    await volumes.remove();
  }
}

/** The machine's own network is used, so that the test can ask the probe without a process in between. */
async function listenOnFreePorts(file: string): Promise<void> {
  const config = parse(await readFile(file, 'utf8')) as {
    inbound: { listen: string };
    telemetry: { listen: string };
  };
  config.inbound.listen = '127.0.0.1:0';
  config.telemetry.listen = '127.0.0.1:0';
  await writeFile(file, stringify(config));
}

async function start(
  engine: ContainerEngine,
  { name, args }: { readonly name: string; readonly args: readonly string[] },
): Promise<Start> {
  const [program = '', ...rest] = engine.commandLine(args);
  const begunMs = performance.now();
  const child = spawn(program, rest, { stdio: ['ignore', 'pipe', 'inherit'] });
  const exited = once(child, 'exit');
  let telemetryAddress: string | undefined;
  for await (const line of createInterface(child.stdout)) {
    ({ telemetryAddress } = JSON.parse(line) as { telemetryAddress?: string });
    if (telemetryAddress !== undefined) break;
  }
  if (telemetryAddress === undefined) throw new Error('the sidecar ended before it had started');
  while (!(await fetch(`http://${telemetryAddress}/readyz`)).ok) {
    if (performance.now() - begunMs > READY_MS_MAX) throw new Error('the sidecar does not become ready');
    await delay(POLL_MS);
  }
  const readyMs = performance.now();
  child.stdout.resume();
  const format = '{{.State.Pid}} {{.State.StartedAt.UnixMilli}}';
  const [pid = '', startedMs = ''] = (await engine.podman('inspect', '--format', format, name)).out.split(
    ' ',
  );
  const [user, system] = ((await readFile(`/proc/${pid}/stat`, 'utf8')).split(') ')[1] ?? '')
    .split(' ')
    .slice(11, 13);
  await engine.podman('kill', '--signal=TERM', name);
  const [code] = (await exited) as [number | null];
  if (code !== 0) throw new Error(`the sidecar ended with ${code}`);
  return {
    wholeMs: readyMs - begunMs,
    ownMs: performance.timeOrigin + readyMs - Number(startedMs),
    processorMs: (Number(user) + Number(system)) * MS_PER_TICK,
  };
}
