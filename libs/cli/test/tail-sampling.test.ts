/** The chart's collector configuration in a real collector: which traces it passes on to a real Jaeger. */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { createIdSource, formatTraceparent } from '@gatehouse/telemetry/trace-context';
import { status } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { externalTool } from '../../../sidecar/test/conformance/support/external-tool.ts';
import { freePort } from '../../../sidecar/test/conformance/support/free-port.ts';
import { run } from '../../../sidecar/test/support/calls.ts';
import { startTestMesh, type TestMesh } from '../../../sidecar/test/support/test-mesh.ts';
import { COLLECTED, tools as chartTools, MINIMAL, render } from './chart/render-chart.ts';
import { ended, type Jaeger, poll, startJaeger } from './jaeger/start-jaeger.ts';

const SLOW_MS_MIN = 1000;
const READY_MS_MAX = 30_000;

const tool = await externalTool('jaeger');
const tools = 'missing' in tool ? '' : tool.folder;

describe.skipIf(tools === '' || 'missing' in chartTools)('the collector of the chart', () => {
  let folder: string;
  let jaeger: Jaeger;
  let mesh: TestMesh;
  let collector: ChildProcess;
  const program = join(tools, 'collector');

  /** The configuration that the chart renders, with ports of this machine. */
  async function configuration(port: number, exportTo: string): Promise<string> {
    const settings = {
      collector: {
        endpoint: exportTo,
        plaintext: true,
        decisionWait: '1s',
        slowMsMin: SLOW_MS_MIN,
        sharePercent: 0,
      },
    };
    const objects = (await render([MINIMAL, COLLECTED], settings)) as readonly {
      readonly data?: Readonly<Record<string, string>>;
    }[];
    const found = objects.flatMap(({ data }) => data?.['collector.yaml'] ?? []);
    expect(found).toHaveLength(1);
    return (found[0] ?? '').replace('0.0.0.0:4317', `127.0.0.1:${port}`);
  }

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'gatehouse-collector-'));
    jaeger = await startJaeger(tools);
    const port = await freePort();
    const file = join(folder, 'collector.yaml');
    await writeFile(file, await configuration(port, new URL(jaeger.otlpEndpoint).host));
    // Says what is wrong with a configuration, where there is something.
    await promisify(execFile)(program, ['validate', '--config', file]);
    collector = spawn(program, ['--config', file], { stdio: 'ignore' });
    await poll(READY_MS_MAX, () => isListening(port));
    mesh = await startTestMesh({ otlpEndpoint: `http://127.0.0.1:${port}` });
  }, 90_000);

  afterAll(async () => {
    await mesh?.stop();
    if (collector !== undefined) await ended(collector);
    await jaeger?.stop();
    await rm(folder, { recursive: true, force: true });
  }, 60_000);

  async function traced(call: (metadata: Record<string, string>) => Promise<unknown>): Promise<string> {
    const ids = createIdSource();
    const traceId = ids.traceId();
    await call({
      traceparent: formatTraceparent({ traceId, spanId: ids.spanId(), sampled: true, random: true }),
    });
    return traceId;
  }

  test('keeps what failed, was refused, was tried again or took long, whole, and of the rest its share', async () => {
    const client = mesh.client();
    const unary = (request: object) => (metadata: Record<string, string>) =>
      run(client, 'unary', [request], { metadata });
    const plain = [];
    for (let made = 0; made < 20; made++) plain.push(await traced(unary({ text: 'x' })));
    const stranger = await mesh.clientAs('stranger');
    const kept = [
      [2, await traced(unary({ failCode: status.INTERNAL }))],
      [1, await traced((metadata) => run(stranger, 'unary', [{}], { metadata }))],
      [
        7,
        await traced((metadata) =>
          run(client, 'repeatable', [{ failCode: status.UNAVAILABLE }], { metadata }),
        ),
      ],
      [2, await traced(unary({ text: 'x', delayMs: SLOW_MS_MIN + 200 }))],
    ] as const;
    for (const [spans, traceId] of kept)
      await jaeger.stored(traceId, (found) => found.spans.length === spans);
    // Those came earlier, so they have been decided on.
    for (const traceId of plain) expect(await jaeger.find(traceId)).toBeNull();
  }, 90_000);

  test('would not start with a key that its parts do not know', async () => {
    const file = join(folder, 'wrong.yaml');
    const good = await configuration(1, 'jaeger:4317');
    const validate = async (text: string): Promise<string> => {
      await writeFile(file, text);
      return promisify(execFile)(program, ['validate', '--config', file]).then(
        () => '',
        (error: { readonly stderr: string }) => error.stderr,
      );
    };
    expect(await validate(good)).toBe('');
    expect(await validate(good.replace('threshold_ms', 'treshold_ms'))).toContain('treshold_ms');
  }, 30_000);
});

function isListening(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', () => resolve(false));
  });
}
