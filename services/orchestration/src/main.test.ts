import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import {
  type ExecuteRequest,
  type ExecuteResponse,
  OrchestrationServiceClient,
  type StreamExecuteResponse,
} from '@gatehouse/contracts/orchestration';
import { credentials, Metadata } from '@grpc/grpc-js';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { readGraphDocument, until } from '../test/orchestration-peer.ts';
import { startScriptedModels } from '../test/scripted-models.ts';
import { type CollectedSpan, startSpanCollector } from '../test/span-collector.ts';

let dir: string;
let running: ChildProcess | undefined;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'orc-'));
});
afterEach(async () => {
  running?.kill('SIGKILL');
  await rm(dir, { recursive: true, force: true });
});

/** Starts the program; `ready` when it serves, or when it has ended. */
async function start(config: object): Promise<{ ended: Promise<number>; stderr: () => string }> {
  const file = join(dir, 'config.yaml');
  await writeFile(file, JSON.stringify({ name: 'orchestration', listen: socket(), ...config }));
  const main = fileURLToPath(new URL('main.ts', import.meta.url));
  const child = spawn(process.execPath, [main, '--config', file], { stdio: ['ignore', 'pipe', 'pipe'] });
  running = child;
  let stderr = '';
  child.stderr.on('data', (bytes: Buffer) => {
    stderr += bytes.toString();
  });
  const ended = once(child, 'exit').then(([code]) => Number(code));
  const serving = (async () => {
    for await (const line of createInterface(child.stdout)) if (line.includes('"serving"')) return;
  })();
  await Promise.race([serving, ended]);
  return { ended, stderr: () => stderr };
}

const socket = (): string => `unix:${join(dir, 'app.sock')}`;

function execute(request: ExecuteRequest, metadata = new Metadata()): Promise<ExecuteResponse> {
  const client = new OrchestrationServiceClient(socket(), credentials.createInsecure());
  return new Promise<ExecuteResponse>((resolve, reject) => {
    client.execute(request, metadata, (error, response) => (error ? reject(error) : resolve(response)));
  }).finally(() => client.close());
}

async function readStream(request: ExecuteRequest, metadata: Metadata): Promise<void> {
  const client = new OrchestrationServiceClient(socket(), credentials.createInsecure());
  try {
    const told: string[] = [];
    const events: AsyncIterable<StreamExecuteResponse> = client.streamExecute(request, metadata);
    for await (const { event } of events) told.push(event?.$case ?? 'nothing');
    expect(told.at(-1)).toBe('completed');
  } finally {
    client.close();
  }
}

test.each(['Execute', 'StreamExecute'] as const)(
  '%s is one trace: calls of models under their node, nodes under the node around them',
  async (method) => {
    const models = await startScriptedModels();
    const collector = await startSpanCollector();
    try {
      const { ended } = await start({
        egress: models.address,
        upstreams: { inference: 'inference', embeddings: 'embeddings' },
        telemetry: { otlpEndpoint: collector.endpoint, sampleRatio: 1 },
      });
      const document = readGraphDocument(`
name: traced
nodes:
  - id: each
    map: { over: '\${nodes.find.output}', concurrencyMax: 2, nodes: [{ id: ask, generate: { model: m, prompt: 'secret \${item.passage}' } }] }
  - { id: find, retrieve: { model: e, query: secret, passages: '\${inputs.passages}', topK: 2 } }
inputs: [{ name: passages, type: VALUE_TYPE_LIST }]
outputs: [{ name: all, value: '\${nodes.each.output}' }]
`);
      if (!document.ok) throw new Error('the graph is not valid');
      const metadata = new Metadata();
      const traceId = '0af7651916cd43dd8448eb211c80319c';
      metadata.set('traceparent', `00-${traceId}-b7ad6b7169203331-01`);
      const request: ExecuteRequest = {
        source: { $case: 'inline', value: document.graph },
        inputs: { passages: ['secret a', 'secret b'] },
      };
      await (method === 'Execute' ? execute(request, metadata) : readStream(request, metadata));
      running?.kill('SIGTERM');
      expect(await ended).toBe(0);
      await until(() => collector.spans.length >= 8);
      expect(collector.spans.every((span) => span.traceId === traceId)).toBe(true);
      expect(treeOf(collector.spans)).toEqual([
        `server gatehouse.orchestration.v1.OrchestrationService/${method}`,
        '  internal node map each',
        '    internal node generate each[0]/ask',
        '      client gatehouse.inference.v1.InferenceService/StreamGenerate',
        '    internal node generate each[1]/ask',
        '      client gatehouse.inference.v1.InferenceService/StreamGenerate',
        '  internal node retrieve find',
        '    client gatehouse.embeddings.v1.EmbeddingsService/Embed',
      ]);
      expect(JSON.stringify(collector.spans)).not.toContain('secret');
      const parents = models.calls.map(
        ({ metadata: sent }) => String(sent.get('traceparent')[0]).split('-')[2],
      );
      const clientSpans = collector.spans.filter(({ kind }) => kind === 3).map(({ spanId }) => spanId);
      expect(new Set(parents)).toEqual(new Set(clientSpans));
    } finally {
      collector.close();
      models.close();
    }
  },
);

/** Lines of the trace, children indented under their parent, neighbours by name. */
function treeOf(spans: readonly CollectedSpan[], parent?: string, depth = 0): string[] {
  const ids = new Set(spans.map(({ spanId }) => spanId));
  const kinds = ['unspecified', 'internal', 'server', 'client'];
  return spans
    .filter(({ parentSpanId }) => (parent === undefined ? !ids.has(parentSpanId) : parentSpanId === parent))
    .map((span) => {
      const path = span.attributes
        .find((attribute) => attribute.startsWith('gatehouse.node.path='))
        ?.split('=')[1];
      return { span, line: [kinds[span.kind], span.name, path].filter(Boolean).join(' ') };
    })
    .sort((one, other) => one.line.localeCompare(other.line))
    .flatMap(({ span, line }) => [`${'  '.repeat(depth)}${line}`, ...treeOf(spans, span.spanId, depth + 1)]);
}

test('comes with graphs that it offers, lists and executes', async () => {
  const models = await startScriptedModels();
  try {
    const { ended } = await start({
      egress: models.address,
      upstreams: { inference: 'inference', embeddings: 'embeddings' },
    });
    const { outputs } = await execute({
      source: { $case: 'graph', value: 'answer-from-passages' },
      inputs: { question: 'aab', passages: ['zz', 'aab'] },
    });
    expect(outputs).toMatchObject({ found: [{ index: 1 }, { index: 0 }] });
    running?.kill('SIGTERM');
    expect(await ended).toBe(0);
  } finally {
    models.close();
  }
});

test('an invalid graph stops the start, with every error of every file', async () => {
  const graphsDir = join(dir, 'graphs');
  await mkdir(graphsDir);
  await writeFile(
    join(graphsDir, 'one.yaml'),
    'name: other\nnodes: [{ id: a, generate: { model: m, prompt: "${nodes.a.output}" } }]\noutputs: [{ name: o, value: x }]\n',
  );
  await writeFile(join(graphsDir, 'two.yaml'), 'name: two\nnodez: []\n');
  const { ended, stderr } = await start({
    egress: '127.0.0.1:1',
    upstreams: { inference: 'inference', embeddings: 'embeddings' },
    graphsDir,
  });
  expect(await ended).toBe(1);
  expect(stderr()).toContain('one.yaml: name: is "other"; a file is named after its graph');
  expect(stderr()).toContain('one.yaml: nodes[0].generate.prompt: ${nodes.a.output}: a cycle: a → a');
  expect(stderr()).toContain('two.yaml: nodez: there is no such key');
});
