/**
 * Every command of the runbooks, on a real mesh: shell commands and the CLI are run, PromQL is evaluated by a real Prometheus that
 * scrapes the mesh, and kubectl reads its own command lines, up to where it would ask a cluster.
 */
import { execFile } from 'node:child_process';
import { copyFile, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type LocalMesh, startLocalMesh } from '@gatehouse/local-mesh';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  ensurePrometheus,
  type Prometheus,
  startPrometheus,
} from '../../../sidecar/test/support/prometheus.ts';
import { modelsDir } from '../src/models-dir.ts';
import { chartTools } from './chart/helm.ts';
import { ROOT, runCli } from './run-cli.ts';

const RUNBOOKS = join(ROOT, 'docs/runbooks');
const COMMAND_MS_MAX = 20_000;
/** A sidecar's telemetry port in the pages, and its service's. */
const TELEMETRY = 'http://127.0.0.1:9464';
const SERVICE = 'http://127.0.0.1:9465';
const GATEHOUSE = 'npm run gatehouse -- ';

const program = await ensurePrometheus();
const tools = await chartTools();
const pages = [
  ...(await readdir(RUNBOOKS)).map((name) => join(RUNBOOKS, name)),
  join(ROOT, 'docs/on-call.md'),
];

type Lines = { readonly page: string; readonly language: string; readonly lines: readonly string[] };

async function linesOf(page: string): Promise<Lines[]> {
  const text = await readFile(page, 'utf8');
  return [...text.matchAll(/^```(\w*)\n([\s\S]*?)^```/gm)].map(([, language = '', block = '']) => ({
    page: page.slice(ROOT.length),
    language,
    lines: block.split('\n').filter((line) => line !== '' && !line.startsWith('#')),
  }));
}

const blocks = (await Promise.all(pages.map(linesOf))).flat();
const all = (language: string, isOf: (line: string) => boolean = () => true): string[] => [
  ...new Set(blocks.flatMap((each) => (each.language === language ? each.lines.filter(isOf) : []))),
];
const isKubectl = (line: string): boolean => line.startsWith('kubectl ');

test('runbooks have the same parts, and a first look that can be run', async () => {
  for (const page of pages.slice(0, -1)) {
    const text = await readFile(page, 'utf8');
    expect([...text.matchAll(/^## (.*)$/gm)].map(([, title]) => title)).toEqual([
      'Symptoms',
      'First look',
      'Causes and ways out',
    ]);
    const languages = (await linesOf(page)).map(({ language }) => language);
    expect([page, languages]).toEqual([page, ['promql', 'sh']]);
  }
});

test('whatever may be away has a state of calls, a metric, an alert with its runbook, and a test that is there', async () => {
  const rules = await readFile(join(ROOT, 'charts/gatehouse/alerts/gatehouse.rules.yaml'), 'utf8');
  const rows = await awayRows();
  expect(rows.length).toBeGreaterThan(10);
  for (const { alert, runbook, metric, file, title } of rows) {
    expect(rules).toContain(`alert: ${alert}\n`);
    expect(runbook).toBe(`runbooks/${alert}.md`);
    // The alert goes by the metric, or by what its calls come to.
    const [rule = ''] = rules.slice(rules.indexOf(`alert: ${alert}\n`)).split('\n      - alert:');
    expect([alert, alert.startsWith('GatehouseErrorBudget') || rule.includes(metric)]).toEqual([alert, true]);
    expect([file, title, (await readFile(join(ROOT, file), 'utf8')).includes(title)]).toEqual([
      file,
      title,
      true,
    ]);
  }
});

describe('on a mesh', () => {
  let dataDir: string;
  let mesh: LocalMesh;
  beforeAll(async () => {
    dataDir = await mkdtemp(join(tmpdir(), 'gh-runbooks-'));
    mesh = await startLocalMesh({
      root: ROOT,
      dataDir,
      modelsDir: modelsDir(process.env),
      otlpEndpoint: 'http://127.0.0.1:1',
      env: { PATH: process.env['PATH'] ?? '' },
      clock: Date.now,
    });
    // What the pages speak of: a stream of tokens, a call that was refused, the file of an identity.
    const data = JSON.stringify({ model: 'smollm2-135m-instruct', prompt: 'Once', maxTokens: 3 });
    const call = ['call', 'InferenceService/StreamGenerate', '--data', data];
    expect((await runCli(dataDir, ...call)).err).toBe('');
    expect((await runCli(dataDir, ...call, '--as', 'intern')).exitCode).toBe(1);
    await copyFile(mesh.state.identities.inference.certificateFile, join(dataDir, 'tls.crt'));
  }, 120_000);
  afterAll(async () => {
    await mesh?.stop();
    await rm(dataDir, { recursive: true, force: true });
  }, 60_000);

  /** Runs a command line in a shell, in the mesh's folder. */
  const shell = (line: string, input = ''): Promise<{ code: number; out: string; err: string }> =>
    new Promise((resolve) => {
      const { inference } = mesh.state.services;
      const here = line
        .replaceAll(TELEMETRY, `http://${inference.telemetry}`)
        .replaceAll(SERVICE, `--unix-socket ${inference.metrics.slice('unix:'.length)} http://service`);
      const child = execFile(
        'bash',
        ['-o', 'pipefail', '-c', here],
        { cwd: dataDir, timeout: COMMAND_MS_MAX },
        (error, out, err) =>
          resolve({ code: error === null ? 0 : typeof error.code === 'number' ? error.code : -1, out, err }),
      );
      child.stdin?.end(input);
    });

  test.each(all('sh', (line) => !isKubectl(line) && !line.startsWith(GATEHOUSE)))(
    '%s',
    async (line) => {
      const { code, out, err } = await shell(line);
      expect({ line, code, err }).toEqual({ line, code: 0, err: '' });
      expect(out.trim()).not.toBe('');
    },
    COMMAND_MS_MAX,
  );

  test.each(all('sh', (line) => line.startsWith(GATEHOUSE)))(
    '%s',
    async (line) => {
      const words = line
        .slice(GATEHOUSE.length)
        .split(' ')
        .map((word) => (word === 'policy.yaml' ? mesh.state.policyFile : word))
        .map((word) => (word === 'AUDIT-FOLDER' ? mesh.state.auditDirs.inference : word));
      const { exitCode, out, err } = await runCli(dataDir, ...words);
      // 1: the answer is no.
      expect({ line, err }).toEqual({ line, err: '' });
      expect([0, 1]).toContain(exitCode);
      expect(out.trim()).not.toBe('');
    },
    COMMAND_MS_MAX,
  );

  describe.skipIf(program === null)('Prometheus', () => {
    let prometheus: Prometheus;
    beforeAll(async () => {
      const { inference, orchestration } = mesh.state.services;
      prometheus = await startPrometheus(program ?? '', {
        'gatehouse-inference': inference.telemetry,
        'gatehouse-orchestration': orchestration.telemetry,
      });
    }, 30_000);
    afterAll(() => prometheus.stop());

    test.each(all('promql'))('evaluates %s', async (query) => {
      await expect(prometheus.query(query)).resolves.toBeInstanceOf(Array);
    });

    test('knows every metric that the pages and the alerts ask about', async () => {
      const { inference, orchestration } = mesh.state.services;
      const texts = await Promise.all([
        ...[inference, orchestration].map(async ({ telemetry }) =>
          (await fetch(`http://${telemetry}/metrics`)).text(),
        ),
        shell(`curl -s ${SERVICE}/metrics`).then(({ out }) => out),
      ]);
      const known = new Set(
        texts.flatMap((text) => [...text.matchAll(/^# TYPE (\w+)/gm)].map(([, name]) => name)),
      );
      const rules = await readFile(join(ROOT, 'charts/gatehouse/alerts/gatehouse.rules.yaml'), 'utf8');
      const asked = [...all('promql').join('\n').matchAll(METRIC), ...rules.matchAll(METRIC)];
      const unknown = asked
        .map(([name]) => name.replace(/_(bucket|count|sum)$/, ''))
        .filter((name) => !known.has(name) && !known.has(`${name}_seconds`));
      expect([...new Set(unknown)]).toEqual([]);
      expect(asked.length).toBeGreaterThan(50);
    });
  });
});

describe.skipIf('missing' in tools)('kubectl', () => {
  test.each(all('sh', isKubectl))(
    '%s',
    async (line) => {
      const kubectl = 'missing' in tools ? '' : tools.kubectl;
      const { err } = await new Promise<{ err: string }>((resolve) => {
        const words = line.split(' ').slice(1);
        execFile(
          kubectl,
          [...words, '--server=http://127.0.0.1:1', '--request-timeout=1s'],
          { timeout: COMMAND_MS_MAX, env: {} },
          (_error, _out, text) => resolve({ err: text }),
        );
      });
      // It has understood the line, and asks.
      expect(err).toMatch(/connection refused|was refused/);
      expect(err).not.toMatch(/unknown (flag|command)|error: (required|you must)/);
    },
    30_000,
  );
});

/** The rows of docs/operate.md about what happens while something is away. */
async function awayRows() {
  const page = await readFile(join(ROOT, 'docs/operate.md'), 'utf8');
  const section = page.slice(page.indexOf('## What happens while … is away'));
  const cells = section
    .split('\n')
    .filter((line) => line.startsWith('| ') && !line.startsWith('| ---'))
    .slice(1)
    .map((line) => line.split('|').map((cell) => cell.trim()));
  return cells.map(([, , , metric = '', alert = '', seen = '']) => {
    const [, name = '', runbook = ''] = /^\[(\w+)\]\((.*)\)$/.exec(alert) ?? [];
    const [, file = '', title = ''] = /^`(.*)`: (.*)$/.exec(seen) ?? [];
    return { metric: metric.replaceAll('`', ''), alert: name, runbook, file, title };
  });
}

/** Names of ours. Those of recording rules have colons. */
const METRIC = /\b(?:gatehouse_|rpc_server_|rpc_client_|process_)[a-z0-9_]+/g;
