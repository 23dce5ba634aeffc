/** How many series a sidecar's metrics can have, whatever callers bring: the table of docs/capacity.md. */
import { readFile } from 'node:fs/promises';
import { Registry } from 'prom-client';
import { expect, test } from 'vitest';
import { registerCallers } from '../src/admin/caller-metrics.ts';
import { registerDurations } from '../src/admin/duration-metrics.ts';
import type { Stream } from '../src/http2/index.ts';
import type { DecisionFacts } from '../src/path/4-authorise.ts';
import type { Admitted } from '../src/path/5-admit.ts';
import { ByteBudget } from '../src/path/byte-budget.ts';
import { Call } from '../src/path/call.ts';
import { CallMetrics } from '../src/path/call-metrics.ts';
import { UsageMeter } from '../src/path/usage-meter.ts';
import { readMetrics } from './support/read-metrics.ts';

const CALLERS = 1000;
const PATH = '/gatehouse.inference.v1.InferenceService/StreamGenerate';

/** A sidecar's counts after calls of a thousand callers for a thousand models. */
function afterThousands(): CallMetrics {
  const metrics = new CallMetrics('inbound');
  for (let n = 0; n < CALLERS; n++) {
    const call = new Call('inbound', {} as Stream, 0);
    call.identity = `spiffe://test/caller-${n}`;
    call.path = PATH;
    call.method = { kind: 'server-streaming' } as Call['method'];
    call.requestValues = { model: `model-${n}` } as Call['requestValues'];
    call.decision = { allowed: true, ruleId: `rule-${n}`, reason: '' } as DecisionFacts;
    new UsageMeter(call as Admitted, metrics, new ByteBudget(0), () => metrics.firstToken(call, 500)).told(
      3,
      4,
    );
    metrics.ended(call, { status: 0, refusal: null, requestMessages: 1, responseMessages: 1 }, 1000);
  }
  return metrics;
}

async function seriesOf(metrics: CallMetrics): Promise<ReadonlyMap<string, number>> {
  const registry = new Registry();
  registerDurations(registry, [metrics]);
  registerCallers(registry, [metrics]);
  const counts = new Map<string, number>();
  for (const { name } of readMetrics(await registry.metrics()).samples) {
    const family = name.replace(/_(bucket|sum|count)$/, '');
    counts.set(family, (counts.get(family) ?? 0) + 1);
  }
  return counts;
}

test('a thousand callers of a thousand models make no more series than the page on capacity says, and none is left out', async () => {
  const metrics = afterThousands();
  const counts = await seriesOf(metrics);
  const page = await readFile(new URL('../../docs/capacity.md', import.meta.url), 'utf8');
  const rows = [...page.matchAll(/^\| `(gatehouse_(?:caller|model|time)_\w+)` +\| [^|]+\| +([\d,]+) +\|$/gm)];
  const said = new Map(rows.map(([, name = '', most = '']) => [name, Number(most.replaceAll(',', ''))]));
  const labelled = [...counts].filter(([name]) => name.startsWith('gatehouse_'));
  expect(new Map(labelled)).toEqual(said);
  // All calls are there: the first under their own names, the others under one.
  const text = async (): Promise<string> => {
    const registry = new Registry();
    registerCallers(registry, [metrics]);
    return registry.metrics();
  };
  const read = readMetrics(await text());
  const other = { identity: '_OTHER', outcome: 'answered' };
  expect(read.value('gatehouse_caller_calls_total', other)).toBe(CALLERS - 256);
  expect(read.value('gatehouse_model_tokens_total', { model: '_OTHER', kind: 'output' })).toBe(
    4 * (CALLERS - 64),
  );
});
