import { cp, mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AuditRecord } from '@gatehouse/contracts/audit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openAudit, readSigningKey } from '../../../sidecar/src/audit/index.ts';
import { runCli } from './run-cli.ts';

const GENERATE = 'gatehouse.inference.v1.InferenceService/Generate';
const LIST = 'gatehouse.inference.v1.ModelService/ListModels';
const [DEVELOPER, INTERN] = ['developer', 'intern'].map(
  (name) => `spiffe://gatehouse.local/ns/local/sa/${name}`,
) as [string, string];
const FIRST_AT = Date.UTC(2026, 10, 22, 9);

let data: string;
let folder: string;

/** Records of the local mesh's sidecar, an hour apart. */
const RECORDS = [
  AuditRecord.fromPartial({
    caller: { identity: DEVELOPER },
    method: GENERATE,
    model: 'smollm2-135m-instruct',
    allowed: true,
    ruleId: 'developers',
  }),
  AuditRecord.fromPartial({
    caller: { identity: INTERN },
    method: LIST,
    allowed: true,
    ruleId: 'interns-look',
  }),
  AuditRecord.fromPartial({
    caller: { identity: INTERN },
    method: GENERATE,
    model: 'smollm2-135m-instruct',
    reason: 'NO_MATCHING_RULE',
    outcome: { status: 7 },
  }),
  AuditRecord.fromPartial({
    caller: { identity: DEVELOPER, tokenIssuer: 'staff', claims: { team: '"risk"' } },
    method: GENERATE,
    model: 'other',
    allowed: true,
    ruleId: 'developers',
    outcome: { status: 0, inputTokens: 12n, outputTokens: 34n },
  }),
  AuditRecord.fromPartial({
    caller: { identity: DEVELOPER },
    method: GENERATE,
    reason: 'TOKEN_EXPIRED',
    outcome: { status: 16 },
  }),
];

beforeAll(async () => {
  data = await mkdtemp(join(tmpdir(), 'cli-audit-'));
  folder = join(data, 'audit', 'inference');
  const key = join(data, 'audit', 'signing.key');
  await mkdir(folder, { recursive: true });
  expect((await runCli(data, 'audit', 'keygen', key)).exitCode).toBe(0);
  const signing = readSigningKey(await readFile(key, 'utf8'));
  if (typeof signing === 'string') throw new Error(signing);
  const opened = await openAudit({
    folder,
    limits: {
      segmentBytesMax: 1_000_000,
      segmentsKeptMax: null,
      recordsWaitingMax: 100,
      groupMsMax: 1,
      writeMsMax: 5000,
      retryMs: 1000,
    },
    clock: Date.now,
    onFailing: () => {},
    onRecovered: () => {},
    onWritten: () => {},
    signing: {
      key: signing,
      everyEntries: 1000,
      everyMs: 60_000,
      onCheckpoint: () => {},
      onFailure: () => {},
    },
    workload: 'spiffe://gatehouse.local/ns/local/sa/inference',
    policyVersion: 'v1',
    onBroken: 'refuse',
  });
  if ('problem' in opened) throw new Error(opened.problem);
  for (const [index, record] of RECORDS.entries()) {
    const started = new Date(FIRST_AT + index * 3_600_000);
    opened.log.append({ ...record, decisionId: `d-${index}`, started, ended: started });
  }
  await opened.close();
});
afterAll(() => rm(data, { recursive: true, force: true }));

describe('gatehouse audit', () => {
  it('makes a key that only its owner can read, and writes over none', async () => {
    const key = join(data, 'new.key');
    expect((await runCli(data, 'audit', 'keygen', key)).out).toContain(`${key}.pub`);
    expect((await stat(key)).mode & 0o777).toBe(0o600);
    const again = await runCli(data, 'audit', 'keygen', key);
    expect([again.exitCode, again.err]).toEqual([2, `gatehouse: ${key} cannot be written (EEXIST)\n`]);
  });

  it('finds a chain of the local mesh whole, by its own checkpoint', async () => {
    const { exitCode, out } = await runCli(data, 'audit', 'verify', 'inference');
    expect([exitCode, out]).toEqual([
      0,
      '✓ the chain is whole: 6 entries in 1 segment, the last is 6; signed through entry 6\n',
    ]);
  });

  it('says which entry was changed when one byte was, and what was cut off', async () => {
    const copy = join(data, 'copy');
    const [checkpoint, key] = [join(folder, 'checkpoint.jws'), join(data, 'audit', 'signing.key.pub')];
    await cp(folder, copy, { recursive: true });
    const file = join(copy, 'segment-0000000000000001.gha');
    const bytes = await readFile(file);
    const changed = Buffer.from(bytes);
    changed[bytes.indexOf('d-2')] = 'D'.charCodeAt(0);
    await writeFile(file, changed);
    const args = ['audit', 'verify', copy, '--checkpoint', checkpoint, '--key', key];
    const broken = await runCli(data, ...args);
    expect(broken.exitCode).toBe(1);
    expect(broken.out).toMatch(
      /^✗ entry 4 changed \(segment-0000000000000001\.gha, offset \d+\)\n✗ the chain is broken/,
    );
    await writeFile(file, bytes.subarray(0, bytes.indexOf('d-3')));
    const cut = JSON.parse((await runCli(data, ...args, '--json')).out) as object;
    expect(cut).toMatchObject({
      intact: false,
      signedThrough: 6,
      problems: [{ kind: 'missing', sequence: 5, throughSequence: 6 }],
    });
    const blind = await runCli(data, 'audit', 'verify', copy);
    expect([blind.exitCode, blind.out]).toEqual([
      0,
      expect.stringContaining('no checkpoint was given: an end that was cut off is not found'),
    ]);
  });

  it('believes no checkpoint that another key has signed', async () => {
    await runCli(data, 'audit', 'keygen', join(data, 'other.key'));
    const { exitCode, err } = await runCli(
      data,
      'audit',
      'verify',
      'inference',
      '--key',
      join(data, 'other.key.pub'),
    );
    expect([exitCode, err]).toEqual([
      1,
      `gatehouse: ${join(folder, 'checkpoint.jws')}:1: its signature is not of this key\n`,
    ]);
  });

  it.each([
    [
      ['--identity', 'spiffe://gatehouse.local/ns/*'],
      [0, 1, 2, 3, 4],
    ],
    [
      ['--identity', INTERN],
      [1, 2],
    ],
    [
      ['--since', '2026-11-22T11:00Z'],
      [2, 3, 4],
    ],
    [
      ['--until', '2026-11-22T11:00Z'],
      [0, 1],
    ],
    [
      ['--method', 'InferenceService/Generate', '--decision', 'deny'],
      [2, 4],
    ],
    [['--model', 'other'], [3]],
    [
      ['--rule', 'developers'],
      [0, 3],
    ],
    [['--reason', 'TOKEN_EXPIRED'], [4]],
    [['--status', 'permission_denied'], [2]],
    [['--decision-id', 'd-1'], [1]],
    [['--trace-id', 'none'], []],
    [
      ['--limit', '2'],
      [3, 4],
    ],
  ])('finds records by %j', async (args, expected) => {
    const { out } = await runCli(data, 'audit', 'query', 'inference', ...args, '--json');
    const found = out
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => (JSON.parse(line) as { decisionId: string }).decisionId);
    expect(found).toEqual(expected.map((index) => `d-${index}`));
  });

  it('shows records as a table, with their tokens and why they were refused', async () => {
    const { out } = await runCli(data, 'audit', 'query', 'inference', '--limit', '3');
    const lines = out.split('\n');
    expect(lines[0]).toMatch(/^entry +time +caller +method +model +decision +rule +reason/);
    expect(lines[1]).toMatch(
      /^4 .*InferenceService\/Generate .*deny +– +NO_MATCHING_RULE +PERMISSION_DENIED/,
    );
    expect(lines[2]).toMatch(/allow +developers +– +OK +12\/34 +d-3$/);
    expect(lines[4]).toBe('5 records match, the newest 3 are shown');
  });

  it.each([
    [['query', 'inference', '--since', 'yesterday'], '--since yesterday: expected a time'],
    [['query', 'inference', '--status', 'BAD'], '--status BAD: expected a gRPC status'],
    [['query', 'inference', '--decision', 'maybe'], '--decision maybe: expected allow or deny'],
    [['verify', 'nowhere'], 'nowhere: expected a folder with audit segments'],
  ])('answers %j with exit code 2 and what is expected', async (args, sentence) => {
    const { exitCode, err } = await runCli(data, 'audit', ...args);
    expect(exitCode).toBe(2);
    expect(err).toContain(sentence);
  });
});

describe('gatehouse policy replay', () => {
  async function policy(rules: string): Promise<string> {
    const file = join(data, 'candidate.yaml');
    await writeFile(file, `version: candidate\ntrustDomains: [gatehouse.local]\n${rules}`);
    return file;
  }
  const issuers = `
jwtIssuers:
  - { name: staff, issuer: https://login.example.com, audiences: [gatehouse], algorithms: [ES256], jwksFile: keys.json }
`;

  it('says who gains and who loses what, and by which rule', async () => {
    const candidate = await policy(`
rules:
  - { id: small-models, effect: ALLOW, identities: ["spiffe://gatehouse.local/**"], methods: [${GENERATE}], models: ["smollm2-*"] }
  - { id: look, effect: ALLOW, identities: [${INTERN}], methods: [${LIST}] }
`);
    const { exitCode, out } = await runCli(
      data,
      'policy',
      'replay',
      candidate,
      '--from',
      'inference',
      '--json',
    );
    expect(exitCode).toBe(0);
    expect(JSON.parse(out)).toMatchObject({
      replayed: 4,
      unchanged: 2,
      passedOver: 1,
      differences: [
        {
          change: 'gains',
          identity: INTERN,
          before: 'NO_MATCHING_RULE',
          after: 'small-models',
          decisionId: 'd-2',
        },
        {
          change: 'loses',
          identity: DEVELOPER,
          model: 'other',
          before: 'developers',
          after: 'MODEL_NOT_ALLOWED',
        },
      ],
    });
    const table = await runCli(data, 'policy', 'replay', candidate, '--from', 'inference', '--fail-on-loss');
    expect(table.exitCode).toBe(1);
    expect(table.out).toContain('4 decisions asked again of policy candidate@');
  });

  it('decides by the claims on record, and says "may" of those that are not', async () => {
    const rulesWith = (claim: string, value: string): string => `${issuers}
rules:
  - { id: team, effect: ALLOW, identities: [${DEVELOPER}], methods: [${GENERATE}], models: [other],
      token: { issuer: staff, claims: [{ name: ${claim}, values: [${value}] }] } }
`;
    const differences = async (claim: string, value: string): Promise<unknown> => {
      const file = await policy(rulesWith(claim, value));
      const { out } = await runCli(data, 'policy', 'replay', file, '--from', folder, '--json');
      return (JSON.parse(out) as { differences: { decisionId: string; change: string }[] }).differences.find(
        ({ decisionId }) => decisionId === 'd-3',
      )?.change;
    };
    expect(await differences('team', 'risk')).toBe(undefined);
    expect(await differences('team', 'fraud')).toBe('loses');
    expect(await differences('grade', 'senior')).toBe('may-lose');
  });
});
