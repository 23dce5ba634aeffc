/** The images as they are run: built by buildah, confined as the chart confines them, calling each other through their sidecars. */

import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { GenerateRequest, InferenceServiceClient } from '@gatehouse/contracts/inference';
import { OrchestrationServiceClient } from '@gatehouse/contracts/orchestration';
import { type ClientOptions, credentials, type ServiceError } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { builtImage, removeUnusedImages } from './built-images.ts';
import { type ContainerEngine, containerEngine } from './container-engine.ts';
import { type ContainerMesh, startContainerMesh } from './container-mesh.ts';

/** A first build packs and commits six images. */
const BUILD_MS_MAX = 600_000;
const READY_MS_MAX = 180_000;
const POLL_MS = 100;
const SERVICES = ['inference', 'embeddings', 'orchestration'] as const;

const engine = await containerEngine();

describe.skipIf(engine === null)('in containers', () => {
  const { podman, runArguments } = engine as ContainerEngine;
  let mesh: ContainerMesh;

  beforeAll(async () => {
    const images = {} as Record<(typeof SERVICES)[number] | 'sidecar', string>;
    for (const name of ['sidecar', ...SERVICES] as const)
      images[name] = await builtImage(engine as ContainerEngine, name);
    mesh = await startContainerMesh(engine as ContainerEngine, images);
    await poll(READY_MS_MAX, mesh.isReady);
  }, BUILD_MS_MAX);

  afterAll(async () => {
    await mesh?.remove();
    await removeUnusedImages(engine as ContainerEngine);
  }, 60_000);

  /** What a client of the caller's pod dials: its sidecar's socket, and a service's name as authority. */
  const dial = (
    service: (typeof SERVICES)[number],
  ): [string, ReturnType<typeof credentials.createInsecure>, ClientOptions] => [
    `unix:${join(mesh.volumes.sockets('caller'), 'egress.sock')}`,
    credentials.createInsecure(),
    { 'grpc.default_authority': service },
  ];

  test('a call goes from the caller’s sidecar through the others to real models and back', async () => {
    const client = new OrchestrationServiceClient(...dial('orchestration'));
    try {
      const answer = await unary((done) =>
        client.execute(
          {
            source: { $case: 'graph', value: 'answer-from-passages' },
            inputs: {
              question: 'How long do refunds take?',
              passages: ['Refunds take five working days.', 'Cards can be frozen.'],
            },
          },
          done,
        ),
      );
      expect(answer).toMatchObject({ outputs: { citations: expect.any(Array) } });
    } finally {
      client.close();
    }
  }, 60_000);

  test('every sidecar and service tells its health, and one that nobody answers for is not healthy', async () => {
    for (const name of [...SERVICES, 'inference-sidecar'])
      expect([name, (await podman('healthcheck', 'run', mesh.container(name))).code]).toEqual([name, 0]);
    const check = '/app/node_modules/@gatehouse/service-kit/src/health-check/main.js';
    const { code } = await podman(
      'exec',
      mesh.container('inference'),
      'node',
      check,
      '/run/gatehouse/none.sock',
    );
    expect(code).toBe(1);
  }, 30_000);

  test('a process has no capability, can get none, and writes nowhere but to its volumes', async () => {
    const look = `const fs = require('node:fs'); const status = fs.readFileSync('/proc/self/status', 'utf8');
      const tried = ['/app/x', '/x', '/etc/x', '/usr/x'].map((path) => { try { fs.writeFileSync(path, ''); return path } catch ({ code }) { return code } });
      const field = (name) => new RegExp('^' + name + ':\\\\s+(\\\\S+)', 'm').exec(status)[1];
      console.log(JSON.stringify({ tried: [...new Set(tried)], uid: field('Uid'), gid: field('Gid'), effective: field('CapEff'), bounding: field('CapBnd'), noNewPrivileges: field('NoNewPrivs') }))`;
    for (const [name, uid] of [
      ['inference-sidecar', '64001'],
      ['embeddings', '64002'],
    ] as const) {
      const { out } = await podman('exec', mesh.container(name), 'node', '-e', look);
      expect(JSON.parse(out)).toEqual({
        tried: ['EROFS'],
        uid,
        gid: '64000',
        effective: '0000000000000000',
        bounding: '0000000000000000',
        noNewPrivileges: '1',
      });
    }
    expect((await podman('exec', mesh.container('inference-sidecar'), 'sh', '-c', 'id')).code).not.toBe(0);
  }, 30_000);

  test(
    'the image of the command drains a sidecar over its admin socket',
    async () => {
      const { folder } = mesh.volumes;
      const admin = join(folder, 'orchestration/admin');
      const options = [
        '--rm',
        '--network=none',
        '--memory=256m',
        '--volume',
        `${admin}:/run/gatehouse-admin`,
      ];
      const command = ['sidecar', 'drain', '--admin', 'unix:/run/gatehouse-admin/admin.sock', '--wait'];
      const image = await builtImage(engine as ContainerEngine, 'cli');
      const { code, out, err } = await podman(...runArguments(options, image, command));
      expect({ code, out, err }).toEqual({ code: 0, out: 'Inbound has drained; egress goes on.\n', err: '' });
    },
    BUILD_MS_MAX,
  );

  test('SIGTERM lets a stream end first, in the sidecar and then in the service, and both exit with 0', async () => {
    const client = new InferenceServiceClient(...dial('inference'));
    try {
      const stream = client.streamGenerate(
        GenerateRequest.fromPartial({
          model: 'smollm2-135m-instruct',
          input: { $case: 'prompt', value: 'Once upon a time there was' },
          maxTokens: 96,
        }),
      );
      let events = 0;
      const ended = new Promise<ServiceError | null>((resolve) => {
        stream
          .on('data', () => events++)
          .on('error', resolve)
          .on('end', () => resolve(null));
      });
      await poll(READY_MS_MAX / 6, async () => events > 2);
      await podman('kill', '--signal=TERM', mesh.container('inference-sidecar'));
      expect(await ended).toBeNull();
      expect(await exitCode('inference-sidecar')).toBe(0);
      await podman('kill', '--signal=TERM', mesh.container('embeddings'));
      expect(await exitCode('embeddings')).toBe(0);
    } finally {
      client.close();
    }
  }, 60_000);

  async function exitCode(name: string): Promise<number> {
    return Number((await podman('wait', mesh.container(name))).out.trim());
  }
});

function unary<T>(call: (done: (error: ServiceError | null, answer: T) => void) => unknown): Promise<T> {
  return new Promise((resolve, reject) => {
    call((error, answer) => (error === null ? resolve(answer) : reject(error)));
  });
}

async function poll(msMax: number, isDone: () => Promise<boolean>): Promise<void> {
  const until = performance.now() + msMax;
  while (performance.now() < until) {
    if (await isDone()) return;
    await delay(POLL_MS);
  }
  throw new Error(`not done within ${msMax} ms`);
}
