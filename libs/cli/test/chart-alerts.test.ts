/** The chart's alerts, by Prometheus' own tool: they load, they fire on what they are for, and each has a runbook. */
import { execFile } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { CHART } from './chart/helm.ts';
import { ensurePromtool } from './chart/promtool.ts';
import { ROOT } from './run-cli.ts';

type Rule = {
  readonly alert?: string;
  readonly labels?: { readonly severity?: string };
  readonly annotations?: { readonly summary?: string; readonly runbook?: string };
};

const run = promisify(execFile);
/** The rules are asked at every minute of days. */
const RULES_MS_MAX = 120_000;
const RULES = join(CHART, 'alerts/gatehouse.rules.yaml');
const TESTS = ['gatehouse.tests.yaml', 'gatehouse.day.tests.yaml'].map((name) => join(CHART, 'alerts', name));
const RUNBOOKS = join(ROOT, 'docs/runbooks');
const promtool = await ensurePromtool();

const { groups } = parse(await readFile(RULES, 'utf8')) as {
  readonly groups: readonly { readonly rules: readonly Rule[] }[];
};
const alerts = groups.flatMap(({ rules }) => rules).filter(({ alert }) => alert !== undefined);

describe.skipIf(promtool === null)('promtool', { timeout: RULES_MS_MAX }, () => {
  test('takes every rule', async () => {
    const { stdout } = await run(promtool ?? '', ['check', 'rules', RULES]);
    expect(stdout).toMatch(/SUCCESS: \d+ rules found/);
  });

  test('finds that each alert fires on what it is for, and is silent beside it', async () => {
    const { stdout } = await run(promtool ?? '', ['test', 'rules', ...TESTS]);
    expect(stdout.match(/SUCCESS/g)).toHaveLength(TESTS.length);
  });
});

test('every alert is tested', async () => {
  const tests = (await Promise.all(TESTS.map((file) => readFile(file, 'utf8')))).join('');
  for (const { alert } of alerts) expect(tests).toContain(`alertname: ${alert}`);
});

test('every alert has a severity, a summary and a runbook of its name, and every runbook an alert', async () => {
  for (const { alert, labels, annotations } of alerts) {
    expect(labels?.severity).toMatch(/^(page|ticket)$/);
    expect(annotations?.summary).toContain('{{ $labels.');
    expect(annotations?.runbook).toBe(`docs/runbooks/${alert}.md`);
  }
  const pages = await readdir(RUNBOOKS);
  expect(pages.toSorted()).toEqual(alerts.map(({ alert }) => `${alert}.md`).toSorted());
});
