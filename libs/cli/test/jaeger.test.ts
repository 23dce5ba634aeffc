/** An orchestration through the real mesh, stored by a real Jaeger and read back from it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { OrchestrationServiceService } from '@gatehouse/contracts/orchestration';
import {
  connectToMesh,
  isServiceError,
  type LocalMesh,
  readCallFailure,
  startLocalMesh,
} from '@gatehouse/local-mesh';
import { createIdSource, formatTraceparent } from '@gatehouse/telemetry/trace-context';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { findTool, ToolUnavailable } from '../../tooling/src/external-tools/ensure-tool.ts';
import { modelsDir } from '../src/models-dir.ts';
import { ROOT } from './run-cli.ts';

const READY_MS_MAX = 20_000;
const STORED_MS_MAX = 15_000;
const POLL_MS = 200;
const QUESTION = 'How long do refunds of kettles take?';

type JaegerSpan = {
  readonly spanID: string;
  readonly processID: string;
  readonly operationName: string;
  readonly references: readonly { readonly refType: string; readonly spanID: string }[];
  readonly tags: readonly { readonly key: string; readonly value: unknown }[];
  readonly logs: readonly { readonly fields: readonly { readonly key: string; readonly value: unknown }[] }[];
};
type JaegerTrace = {
  readonly spans: readonly JaegerSpan[];
  readonly processes: Readonly<Record<string, { readonly serviceName: string }>>;
};

const program = await jaegerProgram();

describe.skipIf(program === null)('in Jaeger', () => {
  let jaeger: ChildProcess;
  let queryUrl = '';
  let dataDir: string;
  let mesh: LocalMesh;

  beforeAll(async () => {
    const [otlp, query, admin] = [await freePort(), await freePort(), await freePort()];
    queryUrl = `http://127.0.0.1:${query}`;
    jaeger = spawn(
      program ?? '',
      [
        `--collector.otlp.grpc.host-port=127.0.0.1:${otlp}`,
        `--query.http-server.host-port=127.0.0.1:${query}`,
        `--admin.http.host-port=127.0.0.1:${admin}`,
        ...['collector.otlp.http', 'collector.http-server', 'collector.grpc-server', 'query.grpc-server'].map(
          (name) => `--${name}.host-port=127.0.0.1:0`,
        ),
        '--log-level=error',
      ],
      { stdio: ['ignore', 'ignore', 'inherit'], env: { SPAN_STORAGE_TYPE: 'memory' } },
    );
    await poll(READY_MS_MAX, async () => (await fetch(`http://127.0.0.1:${admin}/`).catch(() => null))?.ok);
    dataDir = await mkdtemp(join(tmpdir(), 'gatehouse-jaeger-'));
    mesh = await startLocalMesh({
      root: ROOT,
      dataDir,
      modelsDir: modelsDir(process.env),
      otlpEndpoint: `http://127.0.0.1:${otlp}`,
      env: { PATH: process.env['PATH'] ?? '' },
      clock: Date.now,
    });
  }, 120_000);

  afterAll(async () => {
    await mesh?.stop();
    if (jaeger !== undefined && jaeger.exitCode === null) {
      const ended = once(jaeger, 'exit');
      jaeger.kill('SIGTERM');
      await ended;
    }
    if (dataDir !== undefined) await rm(dataDir, { recursive: true, force: true });
  }, 60_000);

  /** Begins a trace of our own, so that it can be asked for. */
  const trace = () => {
    const ids = createIdSource();
    const traceId = ids.traceId();
    const spanId = ids.spanId();
    return {
      traceId,
      spanId,
      traceparent: formatTraceparent({ traceId, spanId, sampled: true, random: true }),
    };
  };
  const stored = async (traceId: string, isWhole: (found: JaegerTrace) => boolean): Promise<JaegerTrace> => {
    let found: JaegerTrace | undefined;
    await poll(STORED_MS_MAX, async () => {
      const answer = await fetch(`${queryUrl}/api/traces/${traceId}`);
      if (!answer.ok) return false;
      [found] = ((await answer.json()) as { readonly data: readonly JaegerTrace[] }).data;
      return found !== undefined && isWhole(found);
    });
    return found as JaegerTrace;
  };
  const servicesOf = ({ spans, processes }: JaegerTrace): ReadonlySet<string> =>
    new Set(spans.map(({ processID }) => processes[processID]?.serviceName ?? ''));
  const tagsOf = ({ tags }: JaegerSpan): Readonly<Record<string, unknown>> =>
    Object.fromEntries(tags.map(({ key, value }) => [key, value]));

  test('a graph of calls is one trace through every process, with its rules, its models and no content', async () => {
    const { traceId, spanId, traceparent } = trace();
    const client = await connectToMesh(mesh.state, 'orchestration', 'developer');
    const request = {
      source: { $case: 'graph' as const, value: 'answer-from-passages' },
      inputs: { question: QUESTION, passages: ['Refunds take five working days.', 'Cards can be frozen.'] },
    };
    await client.unary(OrchestrationServiceService.execute, request, { traceparent });
    client.close();
    const processes = ['orchestration', 'embeddings', 'inference'].flatMap((name) => [
      name,
      `${name}-sidecar`,
    ]);
    const found = await stored(traceId, (each) => {
      const ids = new Set([spanId, ...each.spans.map(({ spanID }) => spanID)]);
      const services = servicesOf(each);
      const isConnected = each.spans.every(({ references }) =>
        references.every(({ spanID }) => ids.has(spanID)),
      );
      return isConnected && processes.every((name) => services.has(name));
    });

    const roots = found.spans.filter(({ references }) => references.some(({ spanID }) => spanID === spanId));
    expect(roots.map(({ operationName }) => operationName)).toEqual([
      'gatehouse.orchestration.v1.OrchestrationService/Execute',
    ]);
    const inbound = found.spans.filter((span) => tagsOf(span)['gatehouse.direction'] === 'inbound');
    expect(inbound.length).toBeGreaterThanOrEqual(3);
    for (const span of inbound) {
      expect(tagsOf(span)).toMatchObject({
        'rpc.system.name': 'grpc',
        'rpc.status_code': 'OK',
        'gatehouse.policy.decision': 'allow',
        'gatehouse.policy.rule': expect.stringMatching(/^(developer|orchestration)-may-/),
        'gatehouse.policy.decision_id': expect.stringMatching(/^[0-9a-f]+-[0-9a-z]+$/),
      });
    }
    const generation = found.spans.find((span) => tagsOf(span)['gen_ai.operation.name'] === 'chat');
    expect(generation && tagsOf(generation)).toMatchObject({
      'gen_ai.request.model': 'smollm2-135m-instruct',
      'gen_ai.usage.output_tokens': expect.any(Number),
    });
    expect(JSON.stringify(found)).not.toMatch(/kettle|five working days|frozen/i);
  }, 60_000);

  test('the trace id of a refusal leads to the rule that decided', async () => {
    const { traceId, traceparent } = trace();
    const client = await connectToMesh(mesh.state, 'orchestration', 'intern');
    const failure = await client
      .unary(
        OrchestrationServiceService.execute,
        { source: { $case: 'graph', value: 'answer-from-passages' }, inputs: {} },
        { traceparent },
      )
      .then(
        () => null,
        (error: unknown) => (isServiceError(error) ? readCallFailure(error) : null),
      );
    client.close();
    expect(failure?.metadata['trace_id']).toBe(traceId);
    const { spans } = await stored(traceId, (each) => each.spans.length > 0);
    expect(spans.map(tagsOf)).toEqual([
      expect.objectContaining({
        'gatehouse.policy.decision': 'deny',
        'gatehouse.policy.rule': failure?.metadata['rule'],
        'gatehouse.policy.decision_id': failure?.metadata['decision_id'],
        'gatehouse.refusal.reason': failure?.reason,
      }),
    ]);
  }, 30_000);
});

async function poll(msMax: number, isDone: () => Promise<boolean | undefined>): Promise<void> {
  const until = performance.now() + msMax;
  while (performance.now() < until) {
    if (await isDone()) return;
    await delay(POLL_MS);
  }
  throw new Error(`not done within ${msMax} ms`);
}

/** Null where it has not been built: that takes too long within a test run. */
async function jaegerProgram(): Promise<string | null> {
  try {
    return join(await findTool('jaeger', { env: process.env }), 'all-in-one');
  } catch (error) {
    if (!(error instanceof ToolUnavailable)) throw error;
    process.stderr.write(`not run: ${error.message}\n`);
    return null;
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  if (address === null || typeof address === 'string') throw new Error('the server has no port');
  return address.port;
}
