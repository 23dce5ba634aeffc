/** What autoscalers ask Prometheus: each query gives the number that is meant, by Prometheus' own tool. */
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parse, stringify } from 'yaml';
import { CHART } from './chart/helm.ts';
import { ensurePromtool } from './chart/promtool.ts';
import { find, MINIMAL, RECORDED, render, tools } from './chart/render-chart.ts';

const run = promisify(execFile);
const promtool = await ensurePromtool();
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'gatehouse-scaling-'));
});

afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

/** Two pods of inference, in the fourth minute; a queue of 3 and 5, 60 and 120 tokens a second; and what must not be counted. */
const POD = 'mesh-gatehouse-inference-5d8f7c9b6-';
const of = (pod: string, more = '') => `{namespace="models", pod="${pod}"${more}}`;
const SERIES = [
  { series: `gatehouse_model_queue_depth${of(`${POD}abcde`)}`, values: '3x8' },
  { series: `gatehouse_model_queue_depth${of(`${POD}fghij`)}`, values: '5x8' },
  { series: `gatehouse_model_queue_depth${of('another-5d8f7c9b6-klmno')}`, values: '900x8' },
  { series: `gatehouse_model_tokens_total${of(`${POD}abcde`, ', kind="output"')}`, values: '0+1800x8' },
  { series: `gatehouse_model_tokens_total${of(`${POD}fghij`, ', kind="output"')}`, values: '0+3600x8' },
  { series: `gatehouse_model_tokens_total${of(`${POD}abcde`, ', kind="input"')}`, values: '0+9000x8' },
];

type Sample = { readonly labels: string; readonly value: number };

/** @throws what the tool says when an expression gives something else */
async function holds(expressions: Readonly<Record<string, readonly Sample[]>>): Promise<void> {
  const file = join(folder, 'queries.yaml');
  const promql = Object.entries(expressions).map(([expr, samples]) => ({
    expr,
    eval_time: '4m',
    exp_samples: samples,
  }));
  const tests = [{ interval: '30s', input_series: SERIES, promql_expr_test: promql }];
  await writeFile(file, stringify({ rule_files: [], evaluation_interval: '30s', tests }));
  await run(promtool ?? '', ['test', 'rules', file]).catch((error: { stdout: string; stderr: string }) => {
    throw new Error(`${error.stdout}${error.stderr}`);
  });
}

describe.skipIf('missing' in tools || promtool === null)('scaling', () => {
  test('begins with three pods where high availability is asked for', async () => {
    const values = { inference: { autoscaling: { enabled: true } } };
    const manifests = await render([MINIMAL, join(CHART, 'values-ha.yaml')], values);
    const hpa = find(manifests, 'HorizontalPodAutoscaler', 'mesh-gatehouse-inference');
    expect(hpa.spec).toMatchObject({ minReplicas: 3, maxReplicas: 6 });
    expect(find(manifests, 'Deployment', 'mesh-gatehouse-inference').spec).not.toHaveProperty('replicas');
  });

  test('by KEDA asks for the sums over the pods of the service, which KEDA divides by their number', async () => {
    const { spec } = find(
      await render([RECORDED]),
      'ScaledObject',
      'mesh-gatehouse-inference',
    ) as unknown as {
      spec: { triggers: { metricType: string; metadata: { query: string; threshold: string } }[] };
    };
    expect(spec.triggers.map(({ metadata }) => metadata.threshold)).toEqual(['4', '400']);
    expect(new Set(spec.triggers.map(({ metricType }) => metricType))).toEqual(new Set(['AverageValue']));
    const [queue = '', tokens = ''] = spec.triggers.map(({ metadata }) => metadata.query);
    await holds({ [queue]: [{ labels: '{}', value: 8 }], [tokens]: [{ labels: '{}', value: 180 }] });
    await expect(holds({ [queue]: [{ labels: '{}', value: 908 }] })).rejects.toThrow('FAILED');
  });

  test('by a HorizontalPodAutoscaler asks for metrics that the adapter’s rules make for each pod', async () => {
    const values = {
      inference: { autoscaling: { enabled: true, targetQueueDepth: 4, targetTokensPerSecond: 400 } },
    };
    const hpa = find(await render([MINIMAL], values), 'HorizontalPodAutoscaler', 'mesh-gatehouse-inference');
    const { metrics } = hpa.spec as unknown as { metrics: { pods?: { metric: { name: string } } }[] };
    const asked = metrics.flatMap(({ pods }) => pods?.metric.name ?? []);
    expect(asked).toEqual(['gatehouse_queue_depth', 'gatehouse_tokens_per_second']);

    const { rules } = parse(await readFile(join(CHART, 'examples/prometheus-adapter.yaml'), 'utf8')) as {
      rules: { custom: { seriesQuery: string; name: { as: string }; metricsQuery: string }[] };
    };
    expect(rules.custom.map(({ name }) => name.as)).toEqual(asked);
    const [queue = '', tokens = ''] = rules.custom.map(({ seriesQuery, metricsQuery }) =>
      metricsQuery
        .replaceAll('<<.Series>>', seriesQuery.replace(/\{.*/, ''))
        .replaceAll('<<.LabelMatchers>>', `namespace="models",pod=~"${POD}abcde|${POD}fghij"`)
        .replaceAll('<<.GroupBy>>', 'pod'),
    );
    const each = (first: number, second: number): Sample[] => [
      { labels: `{pod="${POD}abcde"}`, value: first },
      { labels: `{pod="${POD}fghij"}`, value: second },
    ];
    await holds({ [queue]: each(3, 5), [tokens]: each(60, 120) });
  });
});
