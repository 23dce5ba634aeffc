import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import {
  createScreen,
  createTourTrace,
  type LocalMesh,
  receiveTraces,
  runTour,
  startLocalMesh,
  type TraceReceiver,
} from '@gatehouse/local-mesh';
import { createSpanRecorder } from '@gatehouse/telemetry/span-recorder';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { modelsDir } from '../src/models-dir.ts';
import {
  type CallerProject,
  dependOnJavaPackage,
  installNpmPackage,
  installPythonWheel,
  requireGoModule,
} from './packages/install-packages.ts';
import { ROOT, runCli } from './run-cli.ts';

const MODEL = 'smollm2-135m-instruct';
const MISMATCH = {
  code: expect.stringMatching(/^FAILED_?PRECONDITION$/i),
  reason: 'CONTRACT_MISMATCH',
  message: expect.stringMatching(/of contract 9\.0\.0, and contract \d+\.\d+\.\d+ is served/),
};

let dataDir: string;
let receiver: TraceReceiver;
let mesh: LocalMesh;

beforeAll(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'gatehouse-test-'));
  receiver = await receiveTraces();
  mesh = await startLocalMesh({
    root: ROOT,
    dataDir,
    modelsDir: modelsDir(process.env),
    otlpEndpoint: receiver.endpoint,
    env: { PATH: process.env['PATH'] ?? '' },
    clock: Date.now,
  });
}, 90_000);

afterAll(async () => {
  await mesh?.stop();
  receiver?.close();
  await rm(dataDir, { recursive: true, force: true });
}, 60_000);

function isOnPath(program: string): boolean {
  return (process.env['PATH'] ?? '').split(delimiter).some((folder) => existsSync(join(folder, program)));
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

describe('a running mesh', () => {
  it('shows each thing that the tour is for, and what comes of it', async () => {
    let shown = '';
    const recorder = await createSpanRecorder({
      serviceName: 'gatehouse-cli',
      otlpEndpoint: receiver.endpoint,
    });
    const trace = createTourTrace({ recorder, receiver, clock: Date.now });
    const screen = createScreen({ write: (text) => (shown += text) });
    const failed = await runTour({
      mesh: mesh.state,
      screen,
      trace,
      signal: new AbortController().signal,
      verifyAudit: async (folder) => {
        const { exitCode, out } = await runCli(dataDir, 'audit', 'verify', folder);
        shown += out;
        return exitCode === 0;
      },
    });
    await recorder.shutdown();
    expect({ failed, shown }).toMatchObject({ failed: [] });
    expect(shown).toMatch(/\d+ tokens from smollm2-135m-instruct/);
    expect(shown).toMatch(/PERMISSION_DENIED/);
    expect(shown).toMatch(/✗ intern-may-not-run-models/);
    expect(shown).toMatch(/RESOURCE_EXHAUSTED/);
    expect(shown).toMatch(/Card on file: +\[CARD_1\]/);
    expect(shown).toMatch(/long-answers-need-approval, in shadow/);
    expect(shown).toMatch(/entr(y|ies) \d+.*segment-/);
    expect(shown).toMatch(/orchestration-sidecar.*StreamExecute.*rule developer-may-call-everything/);
    expect(shown).toMatch(/inference-sidecar.*rule orchestration-may-generate/);
  }, 90_000);

  it('refuses a second mesh on the same data folder in one sentence', async () => {
    const options = { root: ROOT, dataDir, modelsDir: '', otlpEndpoint: '', env: {}, clock: Date.now };
    await expect(startLocalMesh(options)).rejects.toThrow(`a mesh runs already (process ${process.pid})`);
  });
});

describe('a project that only installed', () => {
  const SPIFFE_ID = /expected spiffe:.*-of-others/;
  it.for<[string, (folder: string) => Promise<CallerProject>, string[], RegExp]>([
    ['the npm package', installNpmPackage, ['npm'], SPIFFE_ID],
    // grpcio looks at names alone.
    ['the Python wheel', installPythonWheel, ['python3'], /Hostname Verification/],
    ['the Go module', requireGoModule, ['go'], SPIFFE_ID],
    ['the Java package', dependOnJavaPackage, ['mvn', 'javac'], SPIFFE_ID],
  ])(
    '%s streams over the network and through a sidecar, is told why a call failed, and knows whom it calls',
    { timeout: 600_000 },
    async ([, install, programs, stranger], { skip }) => {
      const missing = programs.filter((program) => !isOnPath(program));
      // Where that would go unseen it is a failure.
      if (missing.length > 0 && !process.env['CI']) skip(`${missing.join(' and ')} not on the PATH`);
      const { inference, orchestration } = mesh.state.services;
      const { certificateFile, keyFile } = mesh.state.identities.developer;
      const args = [inference.inbound, certificateFile, keyFile, mesh.state.bundleFile, orchestration.egress];
      const { call, pretend } = await install(dataDir);
      // Nothing here retries, and on a busy machine a handshake can take longer than a sidecar waits.
      const prints = (expected: object): Promise<void> =>
        vi.waitFor(async () => expect(await call(args)).toMatchObject(expected), { timeout: 120_000 });
      await prints({
        network: { tokens: 5 },
        sidecar: { tokens: 5 },
        unknownModel: {
          code: expect.stringMatching(/^NOT_?FOUND$/i),
          reason: 'MODEL_UNKNOWN',
          message: expect.stringContaining('no model of that name'),
        },
        stranger: {
          code: expect.stringMatching(/^UNAVAILABLE$/i),
          message: expect.stringMatching(stranger),
        },
      });
      await pretend('9.0.0');
      await prints({ network: MISMATCH, sidecar: MISMATCH });
    },
  );
});

describe('gatehouse call', () => {
  it('makes a unary call and shows the answer as JSON', async () => {
    const data = JSON.stringify({ model: MODEL, prompt: 'Once upon a time', maxTokens: 5 });
    const { exitCode, out, err } = await runCli(
      dataDir,
      'call',
      'InferenceService/Generate',
      '--data',
      data,
      '--json',
    );
    expect(err).toBe('');
    expect(JSON.parse(out)).toMatchObject({ completion: { model: MODEL, usage: { outputTokens: 5 } } });
    expect(exitCode).toBe(0);
  });

  it('shows a stream of answers one a line', async () => {
    const data = JSON.stringify({ model: MODEL, prompt: 'Once upon a time', maxTokens: 5 });
    const { out } = await runCli(dataDir, 'call', 'InferenceService/StreamGenerate', '--data', data);
    const events = out
      .trim()
      .split('\n')
      .map((line) => Object.keys(JSON.parse(line) as object)[0]);
    expect(events[0]).toBe('started');
    expect(events.at(-1)).toBe('completed');
    expect(events).toContain('delta');
  });

  it('sends a list as a stream of requests', async () => {
    const requests = ['one', 'two'].map((id) => ({ id, model: 'all-minilm-l6-v2', input: `sentence ${id}` }));
    const { exitCode, out } = await runCli(
      dataDir,
      'call',
      'EmbeddingsService/StreamEmbed',
      '--data',
      JSON.stringify(requests),
    );
    const ids = out
      .trim()
      .split('\n')
      .map((line) => (JSON.parse(line) as { id: string }).id);
    expect(ids.toSorted()).toEqual(['one', 'two']);
    expect(exitCode).toBe(0);
  });

  it('shows a refusal with its reason and rule, to people and to programs, with exit code 1', async () => {
    const data = JSON.stringify({ model: MODEL, prompt: 'Hello' });
    const args = ['call', 'InferenceService/Generate', '--data', data, '--as', 'intern'];
    const people = await runCli(dataDir, ...args);
    expect(people.err).toContain('PERMISSION_DENIED DENIED_BY_RULE');
    const programs = await runCli(dataDir, ...args, '--json');
    expect(JSON.parse(programs.out)).toMatchObject({
      error: {
        code: 'PERMISSION_DENIED',
        reason: 'DENIED_BY_RULE',
        metadata: { rule: 'intern-may-not-run-models' },
      },
    });
    expect([people.exitCode, programs.exitCode]).toEqual([1, 1]);
  });

  it('names every field of a request that is wrong', async () => {
    const data = JSON.stringify({ model: MODEL, prompt: 'Hello', temperature: 9, topP: 7 });
    const { out } = await runCli(dataDir, 'call', 'InferenceService/Generate', '--data', data, '--json');
    const { error } = JSON.parse(out) as { error: { code: string; details: unknown } };
    expect(error.code).toBe('INVALID_ARGUMENT');
    expect(JSON.stringify(error.details)).toMatch(/temperature.*top_?p/i);
  });
});

describe('gatehouse circuits', () => {
  it('shows each endpoint that orchestration calls, closed, with the calls so far', async () => {
    const { out } = await runCli(dataDir, 'circuits', '--json');
    const circuits = JSON.parse(out) as Record<string, unknown>[];
    expect(circuits.map(({ upstream }) => String(upstream)).toSorted()).toEqual(['embeddings', 'inference']);
    for (const circuit of circuits) {
      expect(circuit).toMatchObject({ sidecar: 'orchestration', state: 'closed', failuresTotal: 0 });
      expect(circuit['successesTotal']).toBeGreaterThan(0);
    }
    expect((await runCli(dataDir, 'circuits')).out).toMatch(
      /orchestration +inference +127\.0\.0\.1:\d+ +closed/,
    );
  });
});

describe('gatehouse policy explain', () => {
  it('says what the policy in force decides, rule by rule', async () => {
    const args = ['policy', 'explain', '--to', 'InferenceService/Generate', '--model', MODEL];
    const refused = await runCli(dataDir, ...args, '--from', 'intern');
    expect(refused.out).toContain('refused DENIED_BY_RULE by rule intern-may-not-run-models');
    expect(refused.out).toMatch(/intern-may-look-at-models \(ALLOW\): .*does not name the method/);
    expect(refused.exitCode).toBe(1);
    const allowed = await runCli(dataDir, ...args, '--from', 'orchestration', '--json');
    expect(JSON.parse(allowed.out)).toMatchObject({ allowed: true, ruleId: 'orchestration-may-generate' });
    expect(allowed.exitCode).toBe(0);
  });
});

describe('gatehouse sidecar check', () => {
  it("finds the mesh's own configurations valid", async () => {
    const file = join(mesh.state.configDir, 'orchestration-sidecar.yaml');
    expect(await runCli(dataDir, 'sidecar', 'check', file)).toMatchObject({ exitCode: 0, err: '' });
  });
});

// Last: they take the mesh down.
describe('a mesh that ends', () => {
  it('drains the inbound half of a sidecar that is told to, and says so when it has ended', async () => {
    const { admin } = mesh.state.services.embeddings;
    const { exitCode, out } = await runCli(dataDir, 'sidecar', 'drain', '--admin', admin, '--wait');
    expect([exitCode, out]).toEqual([0, 'Inbound has drained; egress goes on.\n']);
    const nobody = await runCli(dataDir, 'sidecar', 'drain', '--admin', 'unix:/nowhere/admin.sock');
    expect(nobody).toMatchObject({ exitCode: 1, err: expect.stringContaining('unix:/nowhere/admin.sock') });
  });

  it('says which process has ended when one is killed', async () => {
    const pid = mesh.pids['embeddings'] ?? 0;
    process.kill(pid, 'SIGKILL');
    expect((await mesh.failed).message).toContain('the embeddings process has ended (signal SIGKILL)');
  });

  it('leaves neither a process nor a state file behind', async () => {
    await mesh.stop();
    expect(Object.values(mesh.pids).filter(isAlive)).toEqual([]);
    expect((await runCli(dataDir, 'circuits')).err).toContain('no local mesh is running');
  }, 60_000);
});
