/** The promotion gate: over what was measured elsewhere, and over a real Prometheus that scrapes two versions of a mesh. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { stringify } from 'yaml';
import { generatorAs } from '../../../sidecar/test/support/generate-calls.ts';
import {
  ensurePrometheus,
  type Prometheus,
  startPrometheus,
} from '../../../sidecar/test/support/prometheus.ts';
import {
  spiffe,
  startTestMesh,
  type TestMesh,
  TRUST_DOMAIN,
} from '../../../sidecar/test/support/test-mesh.ts';
import { startTokenApp, type TokenApp } from '../../../sidecar/test/support/token-app.ts';
import { readGate } from '../src/gate-document.ts';
import { type CliRun, ROOT, runCli } from './run-cli.ts';

const EXAMPLE = join(ROOT, 'docs/examples/promotion-gate');
const example = (name: string): string => join(EXAMPLE, name);

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'gh-gate-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function written(name: string, content: object | string): Promise<string> {
  const file = join(folder, name);
  await writeFile(file, typeof content === 'string' ? content : stringify(content));
  return file;
}

describe('gatehouse gate, over what was measured elsewhere', () => {
  const gate = (canary: string, ...more: string[]): Promise<CliRun> =>
    runCli(
      folder,
      'gate',
      example('gate.yaml'),
      '--baseline',
      example('baseline.json'),
      '--canary',
      canary,
      ...more,
    );

  it('lets a canary pass that is within its bounds, and shows them', async () => {
    const { exitCode, out } = await gate(example('canary.json'));
    expect(out).toMatch(/✓ +errors +0\.07 % +0\.23 % +at most 0\.27 %/);
    expect(out).toMatch(/✓ +first token, p99 +640 ms +655 ms +at most 832 ms/);
    expect(out).toMatch(/\ngo on\n$/);
    expect(exitCode).toBe(0);
  });

  it('stops one that fails more often and answers later, and says by how much', async () => {
    const { exitCode, out } = await gate(example('slow-canary.json'));
    expect(out).toMatch(/✗ +errors +0\.07 % +0\.68 % +at most 0\.27 %/);
    expect(out).toMatch(/✗ +first token, p99 +640 ms +1980 ms +at most 832 ms/);
    expect(out).toMatch(/✓ +latency, p99/);
    expect(out).toMatch(/\nstop\n$/);
    expect(exitCode).toBe(1);
    const json = await gate(example('slow-canary.json'), '--json');
    const { passes, checks } = JSON.parse(json.out) as { passes: boolean; checks: { passes: boolean }[] };
    expect([json.exitCode, passes, checks.filter((check) => !check.passes).length]).toEqual([1, false, 2]);
  });

  it.each([
    ['has too few calls', { calls: 99 }, /✗ +calls +4210 +99 +at least 100 of each/],
    ['does not say how many calls it has', { calls: null }, /✗ +calls +4210 +no data/],
    ['has no first tokens', { firstTokenP99Ms: null }, /✗ +first token, p99 +640 ms +no data/],
  ])('stops a canary that %s', async (_, change, expected) => {
    const good = JSON.parse(await readFile(example('canary.json'), 'utf8')) as object;
    const { exitCode, out } = await gate(await written('canary.json', { ...good, ...change }));
    expect(out).toMatch(expected);
    expect(exitCode).toBe(1);
  });

  it('stops where Prometheus does not answer, and where the policy or its records cannot be read', async () => {
    const silent = await runCli(folder, 'gate', example('gate.yaml'), '--prometheus', 'http://127.0.0.1:1');
    expect(silent.out).toMatch(/Prometheus at http:\/\/127\.0\.0\.1:1 does not answer: .+\nstop\n$/);
    const file = await written('gate.yaml', { policy: { document: 'none.yaml', audit: ['none'] } });
    const blind = await runCli(folder, 'gate', file);
    expect(blind.out).toMatch(/none\.yaml cannot be read \(ENOENT\)\nstop\n$/);
    expect([silent.exitCode, blind.exitCode]).toEqual([1, 1]);
  });

  it("takes the documentation's own document", async () => {
    const page = await readFile(join(ROOT, 'docs/promotion-gate.md'), 'utf8');
    const [, text = ''] = /```yaml\n(.*?)```/s.exec(page) ?? [];
    expect(readGate(text, 'promotion-gate.md')).toMatchObject({ value: { policy: { losesMax: 0 } } });
  });

  it('takes no document that looks at nothing, or has a wrong value, and says where', async () => {
    for (const [text, expected] of [
      ['{}', /gate\.yaml:1:1: .*expected policy or slo/],
      ['slo: { callsMin: 10 }', /expected at least one of errorRatio/],
      ['slo: { errorRatio: {} }', /gate\.yaml:1:8: slo\.errorRatio: .*expected at least one bound/],
      [
        'slo: { errorRatio: { max: 5 } }',
        /slo\.errorRatio\.max: got 5, expected a share of calls from 0 to 1/,
      ],
      ['slo: { latencyP99Ms: { max: 5 }, baseline: "a}" }', /slo\.baseline: .*expected label matchers/],
    ] as const) {
      const { exitCode, err } = await runCli(folder, 'gate', await written('gate.yaml', text));
      expect(err).toMatch(expected);
      expect(exitCode).toBe(2);
    }
    const unasked = await runCli(folder, 'gate', example('gate.yaml'));
    expect([unasked.exitCode, unasked.err]).toEqual([2, expect.stringContaining('expected --prometheus')]);
  });
});

const program = await ensurePrometheus();
const CALLS = 25;
const SEEN_MS_MAX = 40_000;

describe.skipIf(program === null)('gatehouse gate, over a real Prometheus', () => {
  let prometheus: Prometheus;
  let apps: TokenApp[];
  let stable: TestMesh;
  let canary: TestMesh;

  const rule = (id: string, method: string) => ({
    id,
    effect: 'ALLOW',
    identities: [spiffe('caller')],
    methods: [`gatehouse.inference.v1.InferenceService/${method}`],
  });
  const policyOf = (version: string, ...rules: object[]) => ({
    version,
    trustDomains: [TRUST_DOMAIN],
    rules,
  });
  const POLICY = policyOf('running', rule('streams', 'StreamGenerate'), rule('whole', 'Generate'));

  beforeAll(async () => {
    apps = [await startTokenApp(), await startTokenApp()];
    const versions = apps.map(({ address }) =>
      startTestMesh({ contract: {}, app: address, policy: stringify(POLICY), audit: {} }),
    );
    [stable, canary] = (await Promise.all(versions)) as [TestMesh, TestMesh];
    prometheus = await startPrometheus(program ?? '', {
      stable: stable.inbound.telemetryAddress,
      canary: canary.inbound.telemetryAddress,
    });
  }, 60_000);

  afterAll(async () => {
    await Promise.all([stable?.stop(), canary?.stop(), prometheus?.stop()]);
    for (const app of apps ?? []) app.stop();
  }, 30_000);

  async function call(mesh: TestMesh): Promise<void> {
    const caller = await generatorAs(mesh, 'caller');
    await Promise.all(Array.from({ length: CALLS }, () => caller.run({ input: 3, deltas: 2 })));
  }

  async function untilSeen(job: string, calls: number): Promise<void> {
    const until = performance.now() + SEEN_MS_MAX;
    const seen = async (): Promise<number> => {
      const [sum] = await prometheus.query(`sum(rpc_server_call_duration_seconds_count{job="${job}"})`);
      return Number(sum?.value[1] ?? 0);
    };
    while ((await seen()) < calls) {
      if (performance.now() > until) throw new Error(`Prometheus has not seen ${calls} calls of ${job}`);
      await delay(100);
    }
  }

  const gateOf = (candidate: string): object => ({
    policy: {
      document: candidate,
      audit: [stable, canary].map((mesh) => join(mesh.folder, 'audit-0')),
      decisionsMin: 2 * CALLS,
    },
    slo: {
      baseline: 'job="stable"',
      canary: 'job="canary"',
      window: '5m',
      callsMin: CALLS,
      errorRatio: { max: 0.05 },
      refusalRatio: { aboveBaselineMax: 0.05 },
      // Wide: what is tested is that they are measured, on a machine that may be busy.
      latencyP99Ms: { max: 30_000 },
      firstTokenP99Ms: { max: 30_000 },
    },
  });

  async function gate(candidate: object): Promise<CliRun> {
    await written('candidate.yaml', candidate);
    const file = await written('rollout.yaml', gateOf('candidate.yaml'));
    return runCli(folder, 'gate', file, '--prometheus', prometheus.url, '--json');
  }

  it('lets a rollout go on whose canary answers and whose policy takes nothing away, and stops it when either changes', async () => {
    await Promise.all([call(stable), call(canary)]);
    await Promise.all([untilSeen('stable', CALLS), untilSeen('canary', CALLS)]);
    // Records are written a moment after their calls.
    const good = await vi.waitFor(async () => {
      const run = await gate(POLICY);
      expect(JSON.parse(run.out)).toMatchObject({ replay: { replayed: 2 * CALLS } });
      return run;
    }, SEEN_MS_MAX);
    expect(JSON.parse(good.out)).toMatchObject({
      passes: true,
      missing: [],
      baseline: { calls: CALLS, errorRatio: 0, refusalRatio: 0, latencyP99Ms: expect.any(Number) },
      canary: { calls: CALLS, errorRatio: 0, refusalRatio: 0, firstTokenP99Ms: expect.any(Number) },
      replay: { replayed: 2 * CALLS, unchanged: 2 * CALLS },
    });
    expect(good.exitCode).toBe(0);

    const narrower = await gate(policyOf('narrower', rule('whole', 'Generate')));
    expect(namesOf(narrower)).toEqual(['calls refused from now on']);
    expect(JSON.parse(narrower.out)).toMatchObject({
      replay: {
        differences: [{ change: 'loses', identity: spiffe('caller'), before: 'streams', count: 2 * CALLS }],
      },
    });

    apps[1]?.stop();
    await call(canary);
    await untilSeen('canary', 2 * CALLS);
    const bad = await gate(POLICY);
    expect(namesOf(bad)).toEqual(['errors', 'refusals']);
    expect(JSON.parse(bad.out)).toMatchObject({ canary: { calls: 2 * CALLS, errorRatio: 0.5 } });
    expect([narrower.exitCode, bad.exitCode]).toEqual([1, 1]);
  }, 180_000);

  /** What did not pass. */
  function namesOf({ out }: CliRun): string[] {
    const { checks } = JSON.parse(out) as { checks: { name: string; passes: boolean }[] };
    return checks.filter(({ passes }) => !passes).map(({ name }) => name);
  }
});
