/** What the chart renders for one pod, run as processes here: started, and ended in the order in which Kubernetes ends it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { createAuthority } from '@gatehouse/identity';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Manifest } from './chart/helm.ts';
import { MINIMAL, podOf, render, textOf, tools } from './chart/render-chart.ts';
import { ROOT } from './run-cli.ts';

const NAME = 'mesh-gatehouse-orchestration';
const NOTICE_MS = 700;
const READY_MS_MAX = 20_000;
const started: ChildProcess[] = [];
let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'gh-pod-'));
});

afterEach(async () => {
  for (const child of started.splice(0)) child.kill('SIGKILL');
  await rm(folder, { recursive: true, force: true });
});

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  return typeof address === 'object' && address !== null ? address.port : 0;
}

/** Puts everything that the pod mounts below the folder, in place of /etc/gatehouse and /run/gatehouse. */
async function mountVolumes(manifests: readonly Manifest[]): Promise<void> {
  const authority = await createAuthority({
    trustDomain: 'example.org',
    clock: Date.now,
    validForMs: 3_600_000,
  });
  const credentials = await authority.issue({
    spiffeId: `spiffe://example.org/ns/models/sa/${NAME}`,
    validForMs: 600_000,
  });
  const files: Readonly<Record<string, string>> = {
    'config/sidecar.yaml': textOf(manifests, `${NAME}-sidecar`, 'sidecar.yaml'),
    'service/service.yaml': textOf(manifests, NAME, 'service.yaml'),
    'policy/policy.yaml': textOf(manifests, 'mesh-gatehouse-policy', 'policy.yaml'),
    'identity/tls.crt': credentials.certificatePem,
    'identity/tls.key': credentials.keyPem,
    'identity/ca.crt': authority.bundlePem,
  };
  for (const [name, text] of Object.entries(files)) {
    const file = join(folder, 'etc', name);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, here(text));
  }
}

function here(text: string): string {
  return text.replaceAll('/etc/gatehouse', `${folder}/etc`).replaceAll('/run/gatehouse', `${folder}/run`);
}

function start(command: readonly string[], env: Readonly<Record<string, string>> = {}): ChildProcess {
  const [program = '', ...args] = command;
  const child = spawn(program, args, {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { PATH: `${dirname(process.execPath)}:${process.env['PATH']}`, ...env },
  });
  child.stderr?.pipe(process.stderr, { end: false });
  started.push(child);
  return child;
}

/** The status of a probe; 0 while nobody listens. */
async function probe(port: number, path: string): Promise<number> {
  return fetch(`http://127.0.0.1:${port}${path}`).then(
    ({ status }) => status,
    () => 0,
  );
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  const ends = performance.now() + READY_MS_MAX;
  while (!(await condition())) {
    if (performance.now() > ends) throw new Error(`not within ${READY_MS_MAX} ms: ${condition.toString()}`);
    await delay(20);
  }
}

describe.skipIf('missing' in tools)('a pod that the chart renders', () => {
  test('starts its sidecar first, gets ready, drains before the app ends, and ends whole', async () => {
    const [mtls, telemetry, servicePort] = [await freePort(), await freePort(), await freePort()];
    const manifests = await render([MINIMAL], {
      telemetry: { servicePort },
      sidecar: {
        listenAddress: '127.0.0.1',
        ports: { mtls, telemetry },
        limits: { drainNoticeMs: NOTICE_MS, drainMsMax: 5000 },
      },
    });
    await mountVolumes(manifests);
    const pod = podOf(manifests, 'Deployment', NAME);
    const [sidecarSpec] = pod.initContainers ?? [];
    const [appSpec] = pod.containers;
    const argsOf = (spec?: { readonly args?: readonly string[] }) => (spec?.args ?? []).map(here);

    const env = Object.fromEntries((sidecarSpec?.env ?? []).map(({ name, value }) => [name, value]));
    const main = (path: string): string[] => [process.execPath, join(ROOT, path)];
    const sidecar = start([...main('sidecar/src/main.ts'), ...argsOf(sidecarSpec)], env);
    await until(async () => (await probe(telemetry, '/livez')) === 200);
    expect(await probe(telemetry, '/readyz')).toBe(503);
    const app = start([...main('services/orchestration/src/main.ts'), ...argsOf(appSpec)]);
    await until(async () => (await probe(telemetry, '/readyz')) === 200);

    expect(await probe(servicePort, '/metrics')).toBe(200);

    // Hooks of both containers run at once; each container's SIGTERM comes after its own, the sidecar's after the app's end.
    const begunMs = performance.now();
    const order: string[] = [];
    const ended = async (name: string, child: ChildProcess): Promise<unknown> => {
      const [code] = (await once(child, 'exit')) as [unknown];
      order.push(name);
      return code;
    };
    const hookOfApp = ended('hook of the app', start(appSpec?.lifecycle?.preStop.exec?.command ?? []));
    const hook = (sidecarSpec?.lifecycle?.preStop.exec?.command ?? []).map(here);
    const hookOfSidecar = ended('hook of the sidecar', start(hook));
    await until(async () => (await probe(telemetry, '/readyz')) !== 200);
    expect(app.exitCode).toBeNull();
    expect(await hookOfSidecar).toBe(0);
    expect(await hookOfApp).toBe(0);
    expect(performance.now() - begunMs).toBeGreaterThan(NOTICE_MS);
    // Inbound has drained; the sidecar serves the app until it has ended.
    expect([await probe(telemetry, '/drained'), await probe(telemetry, '/livez')]).toEqual([200, 200]);
    const egress = connect(join(folder, 'run/egress.sock'));
    await once(egress, 'connect');
    egress.destroy();
    app.kill('SIGTERM');
    expect(await ended('app', app)).toBe(0);
    sidecar.kill('SIGTERM');
    expect(await ended('sidecar', sidecar)).toBe(0);
    expect(order).toEqual(['hook of the sidecar', 'hook of the app', 'app', 'sidecar']);
  });
});
