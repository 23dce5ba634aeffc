/** Every panel of the chart's dashboards, asked of a real Prometheus that scrapes a running mesh. */
import { generateKeyPairSync } from 'node:crypto';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { type InferenceProcess, startInference } from '../../services/inference/test/inference-process.ts';
import { run } from './support/calls.ts';
import { generatorAs } from './support/generate-calls.ts';
import { ensurePrometheus, type Prometheus, startPrometheus } from './support/prometheus.ts';
import { type SpanReceiver, startSpanReceiver } from './support/span-receiver.ts';
import { spiffe, startTestMesh, type TestMesh, TRUST_DOMAIN } from './support/test-mesh.ts';
import { startTokenApp, type TokenApp } from './support/token-app.ts';

type Dashboard = {
  readonly panels: readonly {
    readonly title: string;
    readonly targets: readonly { readonly expr: string; readonly exemplar?: boolean }[];
  }[];
  readonly templating: {
    readonly list: readonly { readonly name: string; readonly type: string; readonly query: unknown }[];
  };
};

const FOLDER = new URL('../../charts/gatehouse/dashboards/', import.meta.url).pathname;
/** Of everything that has a panel something: limits, protections, rules in shadow. */
const POLICY = stringify({
  version: 'dashboards-1',
  trustDomains: [TRUST_DOMAIN],
  rules: [
    {
      id: 'callers',
      effect: 'ALLOW',
      identities: [spiffe('caller'), spiffe('picky')],
      permissions: ['echo.call'],
    },
    {
      id: 'no-picky-callers',
      effect: 'DENY',
      shadow: true,
      identities: [spiffe('picky')],
      permissions: ['echo.call'],
    },
  ],
  limits: [
    {
      id: 'by-model',
      match: { identities: [spiffe('picky')] },
      per: ['identity', 'model'],
      requests: { perSecond: 5 },
      concurrentCalls: 10,
    },
  ],
  protections: [{ id: 'no-cards', detectors: ['CARD'], action: 'REDACT' }],
});
const TOKEN_POLICY = stringify({
  version: 'dashboards-2',
  trustDomains: [TRUST_DOMAIN],
  rules: [
    {
      id: 'models',
      effect: 'ALLOW',
      identities: [spiffe('caller')],
      permissions: ['inference.generate'],
      models: ['*'],
    },
  ],
});
/** Of a service that only shows its queue. */
const IDLE_MODEL = {
  name: 'm',
  engine: 'openai',
  baseUrl: 'http://127.0.0.1:1/v1',
  upstreamModel: 'm',
  contextTokensMax: 64,
};
const CARD = 'card 4242 4242 4242 4242';
/** Two scrapes within the window make a rate. Prometheus takes some seconds before it begins. */
const SCRAPES_MIN = 3;
const CALLS_MS_MAX = 40_000;
const program = await ensurePrometheus();
const names = await readdir(FOLDER);

describe.skipIf(program === null)('the dashboards', () => {
  let receiver: SpanReceiver;
  let mesh: TestMesh;
  let app: TokenApp;
  let tokens: TestMesh;
  let service: InferenceProcess;
  let prometheus: Prometheus;

  beforeAll(async () => {
    receiver = await startSpanReceiver();
    const otlpEndpoint = receiver.endpoint;
    mesh = await startTestMesh({
      policy: POLICY,
      limits: { adaptive: { enabled: true } },
      inboundConfig: async (file) => {
        const { privateKey } = generateKeyPairSync('ed25519');
        await writeFile(file('audit.key'), privateKey.export({ type: 'pkcs8', format: 'pem' }));
        return {
          audit: { folder: file('audit'), signingKeyFile: file('audit.key'), checkpointEveryMs: 2000 },
        };
      },
      otlpEndpoint,
    });
    app = await startTokenApp();
    tokens = await startTestMesh({ contract: {}, app: app.address, policy: TOKEN_POLICY, otlpEndpoint });
    service = await startInference({
      models: [IDLE_MODEL],
      telemetry: { metricsListen: '127.0.0.1:0' },
    });
    prometheus = await startPrometheus(program ?? '', {
      'gatehouse-echo': mesh.inbound.telemetryAddress,
      'gatehouse-caller': mesh.egress.telemetryAddress,
      'gatehouse-tokens': tokens.inbound.telemetryAddress,
      'gatehouse-inference': metricsAddressOf(service),
    });
    const [caller, picky, stranger] = [
      mesh.client(),
      await mesh.clientAs('picky'),
      await mesh.clientAs('stranger'),
    ];
    const generator = await generatorAs(tokens, 'caller');
    const until = performance.now() + CALLS_MS_MAX;
    const scrapes = async (): Promise<number> => {
      const counts = await prometheus.query(
        'count_over_time(gatehouse_caller_calls_total{outcome="refused"}[5m])',
      );
      return counts.length < 3 ? 0 : Math.min(...counts.map(({ value }) => Number(value[1])));
    };
    while (performance.now() < until && (await scrapes()) < SCRAPES_MIN) {
      await run(caller, 'unary', [{ text: CARD }]);
      await run(picky, 'unary', [{ model: 'small-1' }]);
      await run(stranger, 'unary', [{}]);
      await generator.run({ input: 3, deltas: 4 });
      await delay(50);
    }
  }, 60_000);

  afterAll(async () => {
    await prometheus?.stop();
    await mesh?.stop();
    await tokens?.stop();
    app?.stop();
    await service?.end('SIGKILL');
    receiver?.close();
  });

  test.each(names)('%s: every panel has something to show', async (name) => {
    const { panels, templating } = JSON.parse(await readFile(join(FOLDER, name), 'utf8')) as Dashboard;
    expect(panels.length).toBeGreaterThan(3);
    const variables = templating.list.filter(({ type }) => type === 'query').map((each) => each.name);
    const empty: string[] = [];
    for (const { title, targets } of panels) {
      for (const { expr } of targets) {
        const used = [...expr.matchAll(/\$(\w+)/g)].map(([, variable]) => variable);
        expect(variables).toEqual(expect.arrayContaining(used));
        if ((await prometheus.query(expr.replaceAll(/\$\w+/g, '.*'))).length === 0)
          empty.push(`${title}: ${expr}`);
      }
    }
    expect(empty).toEqual([]);
  });

  test('the overview tells faults from refusals', async () => {
    const refused = await prometheus.query('sum(gatehouse_caller_calls_total{outcome="refused"})');
    const failed = await prometheus.query('sum(gatehouse_caller_calls_total{outcome="failed"})');
    expect(Number(refused[0]?.value[1])).toBeGreaterThan(0);
    expect(Number(failed[0]?.value[1])).toBe(0);
  });

  test('panels of latencies lead to traces: Prometheus has exemplars for what they ask', async () => {
    let leading = 0;
    for (const name of names) {
      const { panels } = JSON.parse(await readFile(join(FOLDER, name), 'utf8')) as Dashboard;
      for (const { expr } of panels.flatMap(({ targets }) => targets.filter(({ exemplar }) => exemplar))) {
        const found = await prometheus.exemplars(expr.replaceAll(/\$\w+/g, '.*'));
        expect(found.map(({ labels }) => labels['trace_id'])).toContainEqual(
          expect.stringMatching(/^[0-9a-f]{32}$/),
        );
        leading += 1;
      }
    }
    expect(leading).toBeGreaterThan(3);
  });
});

/** Where the service says that its own metrics are. */
function metricsAddressOf({ lines }: InferenceProcess): string {
  const line = lines.find((each) => each.includes('"serving"')) ?? '{}';
  return (JSON.parse(line) as { metricsAddress?: string }).metricsAddress ?? '';
}
