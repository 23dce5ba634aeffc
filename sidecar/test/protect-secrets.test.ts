import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { decodeStatusDetails } from '@gatehouse/contracts';
import { Any } from '@gatehouse/contracts/any';
import {
  type GenerateRequest,
  type GenerateResponse,
  InferenceServiceClient,
  InferenceServiceService,
  type StreamGenerateResponse,
} from '@gatehouse/contracts/inference';
import { ErrorInfo } from '@gatehouse/contracts/rpc-error-details';
import { Status } from '@gatehouse/contracts/rpc-status';
import { credentials, Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { afterEach, expect, test, vi } from 'vitest';
import { stringify } from 'yaml';
import { startRawCollector } from '../../libs/telemetry/test/raw-collector.ts';
import { explain, getConfig, listCircuits, listDecisions } from './support/admin.ts';
import { type ModelApp, startModelApp } from './support/model-app.ts';
import { spiffe, startTestMesh, type TestMesh, TLS_OPTIONS, TRUST_DOMAIN } from './support/test-mesh.ts';

/** Stands in every secret that is planted, and nowhere else. */
const MARK = 'zq7x9kw3vjplanted';
const CARD = '4111111111111111';
const SECRET = `${MARK} ${CARD} ada@planted.example`;

const after: (() => unknown)[] = [];
afterEach(async () => {
  for (const each of after.splice(0).toReversed()) await each();
});

/** A text as it might be written: as it is, percent-encoded, in base64 at any offset, in hexadecimal. */
function writtenForms(text: string): RegExp {
  const bytes = Buffer.from(text);
  const base64 = [0, 1, 2].map((offset) =>
    Buffer.concat([Buffer.alloc(offset), bytes])
      .toString('base64')
      .slice(4, -4),
  );
  const forms = [text, encodeURIComponent(text), ...base64, bytes.toString('hex')];
  return new RegExp(forms.map((form) => form.replace(/[.*+?^${}()|[\]\\/]/g, '\\$&')).join('|'), 'i');
}

const FORBIDDEN = [MARK, CARD, 'ada@planted.example'].map(writtenForms);

function policy(jwksFile: string): string {
  return stringify({
    version: 'secrets-1',
    trustDomains: [TRUST_DOMAIN],
    jwtIssuers: [
      {
        name: 'people',
        issuer: 'https://people.example',
        audiences: ['mesh'],
        algorithms: ['ES256'],
        jwksFile,
      },
    ],
    rules: [
      {
        id: 'readers',
        effect: 'ALLOW',
        identities: [spiffe('caller'), spiffe('strict')],
        permissions: ['inference.generate'],
        token: { issuer: 'people', claims: [{ name: 'role', values: ['reader'] }] },
      },
    ],
    limits: [
      {
        id: 'many',
        per: ['identity', 'claim:tenant'],
        requests: { perSecond: 1000, burst: 100 },
        tokensPerMinute: 1_000_000,
      },
    ],
    protections: [
      { id: 'cards', match: { identities: [spiffe('caller')] }, detectors: ['CARD'], action: 'REDACT' },
      {
        id: 'mail',
        match: { identities: [spiffe('caller')] },
        detectors: ['EMAIL'],
        action: 'PSEUDONYMISE_REVERSIBLY',
        key: 'main',
      },
      { id: 'watch', detectors: ['PHONE', 'IBAN'], action: 'RECORD' },
      { id: 'strict', match: { identities: [spiffe('strict')] }, detectors: ['CARD'], action: 'REFUSE' },
    ],
    audit: { allowedSampleRatio: 1, answerWaits: true },
  });
}

type Outcome = { readonly code: status; readonly told: string; readonly text: string };

function outcomeOf(error: ServiceError | null, text: string): Outcome {
  const encoded = error?.metadata?.get('grpc-status-details-bin')[0];
  const details = Buffer.isBuffer(encoded) ? JSON.stringify(decodeStatusDetails(encoded)) : '';
  const all = JSON.stringify(error?.metadata?.toJSON() ?? {});
  return { code: error?.code ?? status.OK, told: `${error?.details ?? ''} ${details} ${all}`, text };
}

class Caller {
  readonly #client: InferenceServiceClient;
  constructor(client: InferenceServiceClient) {
    this.#client = client;
    after.push(() => client.close());
  }

  generate(metadata: Metadata): Promise<Outcome> {
    return new Promise((resolve) => {
      this.#client.generate(promptOf(SECRET), metadata, (error, answer) =>
        resolve(outcomeOf(error, answer?.text ?? '')),
      );
    });
  }

  /** Sends bytes that are no request. */
  garbage(metadata: Metadata): Promise<Outcome> {
    const { path, responseDeserialize } = InferenceServiceService.generate;
    return new Promise((resolve) => {
      this.#client.makeUnaryRequest<string, GenerateResponse>(
        path,
        (text) => Buffer.from(text),
        responseDeserialize,
        SECRET,
        metadata,
        (error) => resolve(outcomeOf(error, '')),
      );
    });
  }

  stream(metadata: Metadata): Promise<Outcome> {
    return new Promise((resolve) => {
      let text = '';
      const call = this.#client.streamGenerate(promptOf(SECRET), metadata);
      call.on('data', ({ event }: StreamGenerateResponse) => {
        if (event?.$case === 'delta') text += event.value.text;
      });
      call.on('error', (error: ServiceError) => resolve(outcomeOf(error, text)));
      call.on('end', () => resolve(outcomeOf(null, text)));
    });
  }
}

function promptOf(text: string): GenerateRequest {
  return {
    model: 'm',
    input: { $case: 'prompt', value: text },
    stop: [text],
    jsonSchema: '',
    priority: 0,
  } as unknown as GenerateRequest;
}

/** Answers and statuses with secrets in all that they have. */
function plantInAnswers(app: ModelApp, fails: boolean): void {
  const trailers = new Metadata();
  const info = ErrorInfo.encode({ reason: 'R', domain: 'd', metadata: { note: SECRET } }).finish();
  const details = [
    Any.fromPartial({ typeUrl: 'type.googleapis.com/google.rpc.ErrorInfo', value: Buffer.from(info) }),
  ];
  trailers.set(
    'grpc-status-details-bin',
    Buffer.from(Status.encode({ code: 9, message: SECRET, details }).finish()),
  );
  const head = new Metadata();
  head.set('x-note', SECRET);
  head.set('x-note-bin', Buffer.from(SECRET));
  const failure = { code: status.FAILED_PRECONDITION, details: SECRET, metadata: trailers };
  app.answer = {
    head,
    text: SECRET,
    pieces: SECRET.match(/.{1,4}/g) as string[],
    ...(fails ? { failure } : {}),
  };
}

function textOf(value: unknown): string {
  return JSON.stringify(value, (_, each: unknown) => (typeof each === 'bigint' ? String(each) : each));
}

async function emittedBy(mesh: TestMesh): Promise<Map<string, string>> {
  const emitted = new Map<string, string>();
  for (const sidecar of [mesh.inbound, mesh.egress]) {
    const name = sidecar === mesh.inbound ? 'inbound' : 'egress';
    emitted.set(`${name} metrics`, await mesh.metrics(sidecar));
    emitted.set(`${name} config`, textOf(await getConfig(sidecar)));
    emitted.set(`${name} circuits`, textOf(await listCircuits(sidecar)));
    emitted.set(`${name} decisions`, textOf(await listDecisions(sidecar)));
  }
  const decisions = await listDecisions(mesh.inbound);
  const { decisionId } = decisions[0] as { decisionId: string };
  emitted.set('explain', textOf(await explain(mesh.inbound, { decisionId }).catch(String)));
  const folder = join(mesh.folder, 'audit-0');
  for (const file of await readdir(folder))
    emitted.set(`audit ${file}`, (await readFile(join(folder, file))).toString('latin1'));
  return emitted;
}

test('secrets in prompts, answers, metadata, status and tokens leave in nothing that the mesh tells of itself', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'gh-secrets-'));
  after.push(() => rm(folder, { recursive: true, force: true }));
  const app = await startModelApp(`unix:${join(folder, 'app.sock')}`);
  after.push(() => app.stop());
  const [spans, records] = [await startRawCollector(), await startRawCollector('logs.v1.LogsService')];
  after.push(
    () => spans.close(),
    () => records.close(),
  );
  const { privateKey, publicKey } = await generateKeyPair('ES256');
  const jwk = { ...(await exportJWK(publicKey)), kid: 'k', alg: 'ES256', use: 'sig' };
  await writeFile(join(folder, 'jwks.json'), JSON.stringify({ keys: [jwk] }));
  const keyText = Buffer.from(`${MARK} ${'k'.repeat(32)}`).toString('base64');
  await writeFile(join(folder, 'main.key'), keyText);
  const logs: string[] = [];
  const mesh = await startTestMesh({
    app: app.address,
    contract: {},
    policy: policy(join(folder, 'jwks.json')),
    protection: { keys: [{ name: 'main', file: join(folder, 'main.key') }] },
    audit: { otlpEndpoint: records.endpoint, groupMsMax: 0 },
    otlpEndpoint: spans.endpoint,
    logs: { write: (line) => void logs.push(line) },
  });
  let stopped = false;
  const stop = async (): Promise<void> => {
    if (!stopped) await mesh.stop();
    stopped = true;
  };
  after.push(stop);

  const sign = (claims: object, expires: string): Promise<string> =>
    // Claims that the policy names stand in audit records, for replays; of the subject its digest does.
    new SignJWT({ role: 'reader', sub: SECRET, tenant: 'acme', note: SECRET, ...claims })
      .setProtectedHeader({ alg: 'ES256', kid: 'k' })
      .setIssuer('https://people.example')
      .setAudience('mesh')
      .setIssuedAt()
      .setExpirationTime(expires)
      .sign(privateKey);
  const metadataWith = async (claims: object, expires = '5m'): Promise<Metadata> => {
    const metadata = new Metadata();
    metadata.set('authorization', `Bearer ${await sign(claims, expires)}`);
    metadata.set('x-note', SECRET);
    metadata.set('x-note-bin', Buffer.from(SECRET));
    return metadata;
  };
  const valid = await metadataWith({});
  const open = new Caller(
    new InferenceServiceClient(`unix:${join(mesh.folder, 'egress.sock')}`, credentials.createInsecure(), {
      'grpc.default_authority': 'echo',
    }),
  );
  const strict = new Caller(
    new InferenceServiceClient(
      mesh.inbound.inboundAddress ?? '',
      await mesh.credentialsOf('strict'),
      TLS_OPTIONS,
    ),
  );

  plantInAnswers(app, false);
  const passed = [await open.generate(valid), await open.stream(valid)];
  expect(passed.map(({ code, text }) => [code, text.includes(MARK), text.includes(CARD)])).toEqual([
    [status.OK, true, false],
    [status.OK, true, false],
  ]);
  plantInAnswers(app, true);
  const failed = [await open.generate(valid), await open.stream(valid)];
  expect(failed.map(({ code, told }) => [code, told.includes(MARK), told.includes(CARD)])).toEqual([
    [status.FAILED_PRECONDITION, true, false],
    [status.FAILED_PRECONDITION, true, false],
  ]);
  expect(app.requests.every(({ stop }) => stop[0]?.includes(MARK))).toBe(true);
  const withoutCard = await metadataWith({ sub: 'x', note: 'x' });
  for (const key of ['x-note', 'x-note-bin']) withoutCard.remove(key);
  const refused = {
    protected: await strict.generate(valid),
    protectedStream: await strict.stream(withoutCard),
    garbage: await open.garbage(valid),
    expired: await open.generate(await metadataWith({}, '-10m')),
    wrongClaims: await open.generate(await metadataWith({ role: 'writer' })),
    badToken: await open.generate(metadataOf(`Bearer ${SECRET.replaceAll(/[ @]/g, '-')}`)),
    noToken: await open.generate(metadataOf(`Basic ${Buffer.from(SECRET).toString('base64')}`)),
  };
  for (const [name, { code }] of Object.entries(refused)) expect([name, code]).not.toEqual([name, status.OK]);
  for (const { told } of Object.values(refused)) for (const form of FORBIDDEN) expect(told).not.toMatch(form);

  await vi.waitFor(() => expect(records.exports.length).toBeGreaterThan(0), { timeout: 10_000 });
  const emitted = await emittedBy(mesh);
  await stop();
  emitted.set('logs', logs.join('\n'));
  emitted.set('spans', Buffer.concat(spans.exports).toString('latin1'));
  emitted.set('exported records', Buffer.concat(records.exports).toString('latin1'));

  expect(emitted.get('logs')).toContain('PROTECTED_REQUEST');
  expect(emitted.get('spans')).toContain('gatehouse.protection.hits');
  expect(emitted.get('inbound metrics')).toMatch(/gatehouse_protection_hits_total\{[^}]*CARD[^}]*\} [1-9]/);
  expect(emitted.get('inbound config')).toContain('main.key');
  expect([...emitted.keys()].filter((name) => name.startsWith('audit '))).not.toHaveLength(0);
  for (const [name, text] of emitted) {
    expect([name, text.length > 0 || name === 'egress decisions']).toEqual([name, true]);
    for (const form of [...FORBIDDEN, writtenForms(keyText)])
      expect([name, form.exec(text)?.index]).toEqual([name, undefined]);
  }
});

test('a secret that is written in any of these ways would be found', () => {
  const [mark] = FORBIDDEN as [RegExp];
  for (const offset of ['', 'a', 'ab'])
    expect(Buffer.from(`${offset}${MARK} and more`).toString('base64')).toMatch(mark);
  expect(JSON.stringify({ text: SECRET })).toMatch(mark);
  expect(Buffer.from(SECRET).toString('hex')).toMatch(mark);
});

function metadataOf(authorization: string): Metadata {
  const metadata = new Metadata();
  metadata.set('authorization', authorization);
  return metadata;
}
