/** Every panel of the chart's dashboards, asked of a real Prometheus that scrapes a running mesh. */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { run } from './support/calls.ts';
import { ensurePrometheus, type Prometheus, startPrometheus } from './support/prometheus.ts';
import { spiffe, startTestMesh, type TestMesh, TRUST_DOMAIN } from './support/test-mesh.ts';

type Dashboard = {
  readonly panels: readonly {
    readonly title: string;
    readonly targets: readonly { readonly expr: string }[];
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
const CARD = 'card 4242 4242 4242 4242';
/** Two scrapes within the window make a rate. Prometheus takes some seconds before it begins. */
const SCRAPES_MIN = 3;
const CALLS_MS_MAX = 40_000;
const program = await ensurePrometheus();
const names = await readdir(FOLDER);

describe.skipIf(program === null)('the dashboards', () => {
  let mesh: TestMesh;
  let prometheus: Prometheus;

  beforeAll(async () => {
    mesh = await startTestMesh({ policy: POLICY, audit: {}, limits: { adaptive: { enabled: true } } });
    prometheus = await startPrometheus(program ?? '', {
      'gatehouse-echo': mesh.inbound.telemetryAddress,
      'gatehouse-caller': mesh.egress.telemetryAddress,
    });
    const [caller, picky, stranger] = [
      mesh.client(),
      await mesh.clientAs('picky'),
      await mesh.clientAs('stranger'),
    ];
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
      await delay(50);
    }
  }, 60_000);

  afterAll(async () => {
    await prometheus?.stop();
    await mesh?.stop();
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
});
