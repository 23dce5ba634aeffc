/** An orchestration through the real mesh, stored by a real Jaeger and read back from it. */
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { GenerateRequest, InferenceServiceService } from '@gatehouse/contracts/inference';
import { OrchestrationServiceService } from '@gatehouse/contracts/orchestration';
import {
  connectToMesh,
  isServiceError,
  type JaegerTrace,
  type LocalMesh,
  readCallFailure,
  startLocalMesh,
} from '@gatehouse/local-mesh';
import { createIdSource, formatTraceparent } from '@gatehouse/telemetry/trace-context';
import { status } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { externalTool } from '../../../sidecar/test/conformance/support/external-tool.ts';
import { freePort } from '../../../sidecar/test/conformance/support/free-port.ts';
import { run } from '../../../sidecar/test/support/calls.ts';
import { startTestMesh } from '../../../sidecar/test/support/test-mesh.ts';
import { modelsDir } from '../src/models-dir.ts';
import {
  eventsOf,
  type Jaeger,
  type JaegerSpan,
  serviceOf,
  startJaeger,
  tagsOf,
} from './jaeger/start-jaeger.ts';
import { ROOT, runCli } from './run-cli.ts';

const GRAPH = 'answer-from-passages';
const QUESTION = 'How long do refunds of kettles take?';
const PASSAGES = ['Refunds take five working days.', 'Cards can be frozen.'];
const NO_CONTENT = /kettle|five working days|frozen/i;
const PROCESSES = ['orchestration', 'embeddings', 'inference'].flatMap((name) => [name, `${name}-sidecar`]);

const tool = await externalTool('jaeger');
const tools = 'missing' in tool ? '' : tool.folder;

describe.skipIf(tools === '')('in Jaeger', () => {
  let jaeger: Jaeger;
  let dataDir: string;
  let mesh: LocalMesh;

  beforeAll(async () => {
    jaeger = await startJaeger(tools);
    dataDir = await mkdtemp(join(tmpdir(), 'gatehouse-jaeger-'));
    mesh = await startLocalMesh({
      root: ROOT,
      dataDir,
      modelsDir: modelsDir(process.env),
      otlpEndpoint: jaeger.otlpEndpoint,
      env: { PATH: process.env['PATH'] ?? '' },
      clock: Date.now,
    });
  }, 120_000);

  afterAll(async () => {
    await mesh?.stop();
    await jaeger?.stop();
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

  async function executeAs(caller: 'developer' | 'intern', traceparent: string) {
    const client = await connectToMesh(mesh.state, 'orchestration', caller);
    const request = {
      source: { $case: 'graph' as const, value: GRAPH },
      inputs: { question: QUESTION, passages: PASSAGES },
    };
    try {
      await client.unary(OrchestrationServiceService.execute, request, { traceparent });
      return null;
    } catch (error) {
      if (!isServiceError(error)) throw error;
      return readCallFailure(error);
    } finally {
      client.close();
    }
  }

  test('a graph of calls is one trace through every process, with its rules, its models and no content', async () => {
    const { traceId, spanId, traceparent } = trace();
    expect(await executeAs('developer', traceparent)).toBeNull();
    const found = await jaeger.stored(traceId, (each) => isWhole(each, spanId));
    const parentOf = (span: JaegerSpan): JaegerSpan | undefined =>
      found.spans.find((each) => each.spanID === parentIdOf(span));

    const roots = found.spans.filter((span) => parentIdOf(span) === spanId);
    expect(roots.map((span) => [serviceOf(found, span), span.operationName])).toEqual([
      ['orchestration-sidecar', 'gatehouse.orchestration.v1.OrchestrationService/Execute'],
    ]);
    const inbound = found.spans.filter((span) => tagsOf(span)['gatehouse.direction'] === 'inbound');
    expect(inbound.length).toBeGreaterThanOrEqual(3);
    for (const span of inbound) {
      expect(tagsOf(span)).toMatchObject({
        'span.kind': 'server',
        'rpc.system.name': 'grpc',
        'rpc.method': span.operationName,
        'rpc.status_code': 'OK',
        'gatehouse.policy.decision': 'allow',
        'gatehouse.policy.rule': expect.stringMatching(/^(developer|orchestration)-may-/),
        'gatehouse.policy.decision_id': expect.stringMatching(/^[0-9a-f]+-[0-9a-z]+$/),
      });
      if (roots.includes(span)) continue;
      const egress = parentOf(span);
      expect(egress && serviceOf(found, egress)).toBe('orchestration-sidecar');
      expect(egress && tagsOf(egress)).toMatchObject({
        'span.kind': 'client',
        'rpc.method': span.operationName,
        'gatehouse.direction': 'egress',
        'gatehouse.upstream.name': expect.stringMatching(/^(inference|embeddings)$/),
        'gatehouse.breaker.state': 'closed',
      });
      const app = egress && parentOf(egress);
      expect(app && [serviceOf(found, app), tagsOf(app)['span.kind']]).toEqual(['orchestration', 'client']);
    }
  }, 60_000);

  test('what a model did has the attributes and the event of a generation, and nothing that was said', async () => {
    const { traceId, spanId, traceparent } = trace();
    expect(await executeAs('developer', traceparent)).toBeNull();
    const found = await jaeger.stored(traceId, (each) => isWhole(each, spanId));
    const generation = found.spans.find((span) => tagsOf(span)['gen_ai.operation.name'] === 'chat');
    expect(generation?.operationName).toBe('chat smollm2-135m-instruct');
    expect(generation && tagsOf(generation)).toMatchObject({
      'gen_ai.provider.name': 'llama.cpp',
      'gen_ai.request.model': 'smollm2-135m-instruct',
      'gen_ai.response.model': 'smollm2-135m-instruct',
      'gen_ai.usage.input_tokens': expect.any(Number),
      'gen_ai.usage.output_tokens': expect.any(Number),
      'gen_ai.response.finish_reasons': expect.any(String),
      'gen_ai.response.time_to_first_chunk': expect.any(Number),
    });
    expect(generation && eventsOf(generation).map(({ event }) => event)).toEqual(['gatehouse.first_token']);
    expect(JSON.stringify(found)).not.toMatch(NO_CONTENT);
  }, 60_000);

  test('a stream that its caller leaves has the spans of every process, and the app’s says that it was cancelled', async () => {
    const { traceId, traceparent } = trace();
    const client = await connectToMesh(mesh.state, 'inference', 'developer');
    const request = {
      ...GenerateRequest.fromPartial({ model: 'smollm2-135m-instruct', maxTokens: 200 }),
      input: { $case: 'prompt' as const, value: QUESTION },
    };
    const stream = client.serverStream(InferenceServiceService.streamGenerate, request, { traceparent });
    for await (const _ of stream) break;
    client.close();
    const found = await jaeger.stored(traceId, ({ spans }) => spans.length === 3);
    const names = (span: JaegerSpan | undefined) => span && [serviceOf(found, span), span.operationName];
    const app = found.spans.find(
      (span) => serviceOf(found, span) === 'inference' && tagsOf(span)['span.kind'] === 'server',
    );
    expect(names(app)).toEqual(['inference', 'gatehouse.inference.v1.InferenceService/StreamGenerate']);
    expect(app && tagsOf(app)).toMatchObject({ 'rpc.status_code': 'CANCELLED' });
    const generation = found.spans.find((span) => parentIdOf(span) === app?.spanID);
    expect(names(generation)).toEqual(['inference', 'text_completion smollm2-135m-instruct']);
  }, 60_000);

  test('the trace id of a refusal leads to span, log line, audit record and the rule that decided', async () => {
    const { traceId, traceparent } = trace();
    const failure = await executeAs('intern', traceparent);
    const decisionId = failure?.metadata['decision_id'] ?? '';
    expect(failure?.metadata['trace_id']).toBe(traceId);
    const { spans } = await jaeger.stored(traceId, (each) => each.spans.length > 0);
    expect(spans.map(tagsOf)).toEqual([
      expect.objectContaining({
        'gatehouse.policy.decision': 'deny',
        'gatehouse.policy.rule': failure?.metadata['rule'],
        'gatehouse.policy.decision_id': decisionId,
        'gatehouse.refusal.reason': failure?.reason,
      }),
    ]);

    const files = await readdir(mesh.state.logsDir);
    const logs = await Promise.all(files.map((file) => readFile(join(mesh.state.logsDir, file), 'utf8')));
    const [line = '{}', ...others] = logs.flatMap((text) =>
      text.split('\n').filter((each) => each.includes(traceId)),
    );
    expect(others).toEqual([]);
    expect(JSON.parse(line)).toMatchObject({ traceId, decisionId, reason: failure?.reason });

    const audit = await runCli(dataDir, 'audit', 'query', 'orchestration', '--trace-id', traceId, '--json');
    expect(JSON.parse(audit.out)).toMatchObject({ traceId, decisionId });

    const shown = await runCli(dataDir, 'trace', traceId, '--jaeger', jaeger.url);
    expect(shown.out).toContain(`refused: ${failure?.reason}`);
    const [, command = ''] = /^ {2}gatehouse (policy explain .*)$/m.exec(shown.out) ?? [];
    const explained = await runCli(dataDir, ...command.split(' '));
    expect(command).toBe(`policy explain --decision ${decisionId}`);
    expect(explained.out).toContain(`refused ${failure?.reason} by rule ${failure?.metadata['rule']}`);
  }, 60_000);

  test('gatehouse trace draws the tree, and says what it cannot have', async () => {
    const { traceId, spanId, traceparent } = trace();
    expect(await executeAs('developer', traceparent)).toBeNull();
    const found = await jaeger.stored(traceId, (each) => isWhole(each, spanId));
    const file = join(dataDir, 'trace.svg');
    const shown = await runCli(dataDir, 'trace', traceId, '--jaeger', jaeger.url, '--svg', file);
    expect(shown.exitCode).toBe(0);
    expect(shown.out).toContain(`trace ${traceId}: ${found.spans.length} spans of 6 processes`);
    expect(shown.out).toMatch(/orchestration-sidecar OrchestrationService\/Execute \(rule developer-may-/);
    const drawing = await readFile(file, 'utf8');
    expect(drawing.match(/<text /g)).toHaveLength(found.spans.length);
    expect(drawing).toMatch(/rule developer-may-/);

    const none = await runCli(dataDir, 'trace', '1'.repeat(32), '--jaeger', jaeger.url);
    expect([none.exitCode, none.err]).toEqual([
      1,
      `gatehouse: ${jaeger.url} has no trace ${'1'.repeat(32)}\n`,
    ]);
    const nobody = `127.0.0.1:${await freePort()}`;
    const away = await runCli(dataDir, 'trace', traceId, '--jaeger', `http://${nobody}`);
    expect([away.exitCode, away.err]).toEqual([
      2,
      `gatehouse: http://${nobody} cannot be asked: connect ECONNREFUSED ${nobody}\n`,
    ]);
    const wrong = await runCli(dataDir, 'trace', 'abc', '--jaeger', jaeger.url);
    expect(wrong.err).toBe("gatehouse: a trace's id is 32 digits of 0 to 9 and a to f, and abc is not\n");
  }, 60_000);

  test('each further try of a call is a span below it with a link to the try before, and a breaker that opens is told', async () => {
    const failing = await startTestMesh({ otlpEndpoint: jaeger.otlpEndpoint });
    try {
      const { traceId, spanId, traceparent } = trace();
      const request = { failCode: status.UNAVAILABLE };
      await run(failing.client(), 'repeatable', [request], { metadata: { traceparent } });
      const found = await jaeger.stored(traceId, ({ spans }) => spans.length === 7);
      const mine = found.spans.filter((span) => serviceOf(found, span) === 'caller-sidecar');
      const [own, ...others] = mine.filter((span) => parentIdOf(span) === spanId);
      expect(others).toEqual([]);
      const tries = mine.filter((span) => span !== own).sort((one, other) => one.startTime - other.startTime);
      expect(tries.map(parentIdOf)).toEqual([own?.spanID, own?.spanID, own?.spanID]);
      expect(tries.map((span) => tagsOf(span)['gatehouse.retry.number'])).toEqual([0, 1, 2]);
      expect(tries.map(linksOf)).toEqual([[], [tries[0]?.spanID], [tries[1]?.spanID]]);
      expect(own && eventsOf(own).map(({ event }) => event)).toEqual(['gatehouse.retry', 'gatehouse.retry']);

      const opening = trace();
      for (let calls = 0; calls < 30; calls++)
        await run(failing.client(), 'unary', [request], { metadata: { traceparent: opening.traceparent } });
      const changes = await jaeger.stored(opening.traceId, (each) => changesIn(each).length > 0);
      expect(changesIn(changes)).toEqual([expect.objectContaining({ from: 'closed', to: 'open' })]);
    } finally {
      await failing.stop();
    }
  }, 60_000);
});

/** Every process has sent its part, and every span but the caller's has its parent. */
function isWhole(found: JaegerTrace, callersSpanId: string): boolean {
  const ids = new Set([callersSpanId, ...found.spans.map(({ spanID }) => spanID)]);
  const services = new Set(found.spans.map((span) => serviceOf(found, span)));
  return (
    found.spans.every(({ references }) => references.every(({ spanID }) => ids.has(spanID))) &&
    PROCESSES.every((name) => services.has(name))
  );
}

function parentIdOf({ references }: JaegerSpan): string | undefined {
  return references.find(({ refType }) => refType === 'CHILD_OF')?.spanID;
}

function linksOf({ references }: JaegerSpan): readonly string[] {
  return references.filter(({ refType }) => refType === 'FOLLOWS_FROM').map(({ spanID }) => spanID);
}

function changesIn({ spans }: JaegerTrace) {
  return spans.flatMap(eventsOf).filter(({ event }) => event === 'gatehouse.breaker.state_changed');
}
