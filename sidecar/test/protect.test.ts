import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { decodeStatusDetails, type StatusDetails } from '@gatehouse/contracts';
import { Any } from '@gatehouse/contracts/any';
import {
  type GenerateRequest,
  InferenceServiceClient,
  type StreamGenerateResponse,
} from '@gatehouse/contracts/inference';
import { ErrorInfo } from '@gatehouse/contracts/rpc-error-details';
import { Status } from '@gatehouse/contracts/rpc-status';
import { type ClientOptions, Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { parse, stringify } from 'yaml';
import { BUILT_IN_DETECTORS } from '../src/policy/protection-checks.ts';
import { builtInDetectors } from '../src/protect/index.ts';
import { CALL_KINDS, run } from './support/calls.ts';
import { type ModelApp, startModelApp } from './support/model-app.ts';
import { spiffe, startTestMesh, type TestMesh, TLS_OPTIONS, TRUST_DOMAIN } from './support/test-mesh.ts';

const CARD = '4111 1111 1111 1111';
const GZIP = 2;

function policyOf(protections: readonly object[], permissions: readonly string[]): string {
  return stringify({
    version: 'protect-1',
    trustDomains: [TRUST_DOMAIN],
    rules: [
      {
        id: 'all',
        effect: 'ALLOW',
        identities: [`spiffe://${TRUST_DOMAIN}/**`],
        permissions: [...permissions],
      },
    ],
    protections: [...protections],
  });
}

const PROTECTIONS = [
  { id: 'no-cards', match: { identities: [spiffe('caller')] }, detectors: ['CARD'], action: 'REDACT' },
  {
    id: 'pseudonyms',
    match: { identities: [spiffe('caller')] },
    detectors: ['EMAIL'],
    action: 'PSEUDONYMISE',
    key: 'main',
  },
  { id: 'strict', match: { identities: [spiffe('strict')] }, detectors: ['CARD'], action: 'REFUSE' },
  {
    id: 'large',
    match: { identities: [spiffe('modelled')], models: ['large-*'] },
    directions: ['RESPONSE'],
    detectors: ['CARD'],
    action: 'REDACT',
  },
  { id: 'watched', match: { identities: [spiffe('watched')] }, detectors: ['CARD'], action: 'RECORD' },
];

type Ended = {
  readonly code: status;
  readonly message: string;
  readonly details: StatusDetails;
  readonly head: Metadata | null;
  readonly events: readonly StreamGenerateResponse['event'][];
  readonly text: string;
};

describe('a model behind a sidecar that protects', () => {
  let folder: string;
  let app: ModelApp;
  let mesh: TestMesh;
  const clients: InferenceServiceClient[] = [];

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'gh-protect-'));
    app = await startModelApp(`unix:${join(folder, 'app.sock')}`);
    const keyFile = join(folder, 'main.key');
    await writeFile(keyFile, `${Buffer.alloc(32, 7).toString('base64')}\n`);
    mesh = await startTestMesh({
      app: app.address,
      contract: {},
      policy: policyOf(PROTECTIONS, ['inference.generate']),
      protection: { keys: [{ name: 'main', file: keyFile }] },
    });
  });
  afterAll(async () => {
    for (const client of clients) client.close();
    await mesh.stop();
    app.stop();
    await rm(folder, { recursive: true, force: true });
  });
  afterEach(() => {
    app.answer = {};
  });

  async function clientAs(name: string, options: ClientOptions = {}): Promise<InferenceServiceClient> {
    const channel = await mesh.credentialsOf(name);
    const client = new InferenceServiceClient(mesh.inbound.inboundAddress ?? '', channel, {
      ...TLS_OPTIONS,
      ...options,
    });
    clients.push(client);
    return client;
  }

  function ended(error: ServiceError | null, of: Partial<Ended>): Ended {
    const encoded = error?.metadata?.get('grpc-status-details-bin')[0];
    return {
      code: error?.code ?? status.OK,
      message: error?.details ?? '',
      details: Buffer.isBuffer(encoded) ? decodeStatusDetails(encoded) : {},
      head: null,
      events: [],
      text: '',
      ...of,
    };
  }

  const promptOf = (text: string, model = 'm'): GenerateRequest =>
    ({
      model,
      input: { $case: 'prompt', value: text },
      stop: [],
      jsonSchema: '',
      priority: 0,
    }) as unknown as GenerateRequest;

  function generate(
    client: InferenceServiceClient,
    text: string,
    metadata = new Metadata(),
    model = 'm',
  ): Promise<Ended> {
    return new Promise((resolve) => {
      let head: Metadata | null = null;
      const call = client.generate(promptOf(text, model), metadata, (error, answer) =>
        resolve(ended(error, { head, text: answer?.text ?? '' })),
      );
      call.on('metadata', (received: Metadata) => (head = received));
    });
  }

  function stream(client: InferenceServiceClient, text: string): Promise<Ended> {
    return new Promise((resolve) => {
      const events: StreamGenerateResponse['event'][] = [];
      const call = client.streamGenerate(promptOf(text));
      const result = (): Partial<Ended> => ({
        events,
        text: events.map((event) => (event?.$case === 'delta' ? event.value.text : '')).join(''),
      });
      call.on('data', ({ event }: StreamGenerateResponse) => events.push(event));
      call.on('error', (error: ServiceError) => resolve(ended(error, result())));
      call.on('end', () => resolve(ended(null, result())));
    });
  }

  test('takes a card number out of a streamed answer, wherever it is cut, and lets all else pass as it was', async () => {
    app.answer = { pieces: ['Pay', ' with 41', '11 11', '11 1111 11', '11, ple', 'ase', '.'] };
    const answer = await stream(await clientAs('caller'), 'how?');
    expect(answer.code).toBe(status.OK);
    expect(answer.text).toBe('Pay with [CARD_1], please.');
    expect(answer.events[0]).toMatchObject({ $case: 'started', value: { inputTokens: 3 } });
    expect(answer.events.at(-1)).toMatchObject({ $case: 'completed', value: { usage: { outputTokens: 7 } } });
    expect(JSON.stringify(answer.events)).not.toMatch(/1111/);
  });

  test('takes it out of the request before the app sees it, and gives it the same placeholder in the answer', async () => {
    app.answer = { text: `You said ${CARD} and 5500 0000 0000 0004.` };
    const answer = await generate(await clientAs('caller'), `My card is ${CARD}, mail me at a.b@example.org`);
    expect(answer.text).toBe('You said [CARD_1] and [CARD_2].');
    expect(app.requests.at(-1)?.input?.value).toMatch(/^My card is \[CARD_1\], mail me at \[EMAIL~[a-p]+\]$/);
  });

  test('reads a compressed request, and answers uncompressed', async () => {
    const client = await clientAs('caller', { 'grpc.default_compression_algorithm': GZIP });
    app.answer = { text: 'x'.repeat(2000) };
    expect((await generate(client, `${'y'.repeat(2000)} ${CARD}`)).code).toBe(status.OK);
    expect(app.requests.at(-1)?.input?.value).toBe(`${'y'.repeat(2000)} [CARD_1]`);
  });

  test('refuses a request with the field and the detector, before the app is asked', async () => {
    const asked = app.requests.length;
    const answer = await generate(await clientAs('strict'), `pay ${CARD}`);
    expect(answer).toMatchObject({
      code: status.INVALID_ARGUMENT,
      details: { errorInfo: { reason: 'PROTECTED_REQUEST' }, badRequest: [{ field: 'prompt' }] },
    });
    expect(answer.message).toContain('prompt of the request holds what policy protects (CARD)');
    expect(JSON.stringify(answer)).not.toContain('1111');
    expect(app.requests).toHaveLength(asked);
  });

  test('ends a stream in the middle where the answer may not be seen, and the app with it', async () => {
    app.answer = {
      pieces: ['Pay with ', '4111 1111', ' 1111 1111 ', ...Array.from({ length: 2000 }, () => 'and so on')],
    };
    const answer = await stream(await clientAs('strict'), 'how?');
    expect(answer).toMatchObject({
      code: status.PERMISSION_DENIED,
      text: 'Pay with ',
      details: {
        errorInfo: { reason: 'PROTECTED_RESPONSE' },
        preconditionFailure: [{ subject: 'delta.text', description: 'holds what policy protects (CARD)' }],
      },
    });
    await vi.waitFor(() => expect(app.cancelled()).toBeGreaterThan(0));
  });

  test('changes status message, details and metadata of both directions', async () => {
    const trailers = new Metadata();
    const info = ErrorInfo.encode({ reason: 'R', domain: 'd', metadata: { note: `card ${CARD}` } }).finish();
    const details = [
      Any.fromPartial({ typeUrl: 'type.googleapis.com/google.rpc.ErrorInfo', value: Buffer.from(info) }),
    ];
    trailers.set(
      'grpc-status-details-bin',
      Buffer.from(Status.encode({ code: 9, message: `no ${CARD}`, details }).finish()),
    );
    trailers.set('x-note', CARD);
    const head = new Metadata();
    head.set('x-head-bin', Buffer.from(`has ${CARD}`));
    app.answer = {
      head,
      failure: { code: status.FAILED_PRECONDITION, details: `not with ${CARD}`, metadata: trailers },
    };
    const sent = new Metadata();
    sent.set('x-note', `mine is ${CARD}`);
    sent.set('x-kept', 'as it was');
    const answer = await generate(await clientAs('caller'), 'hello', sent);
    expect(answer).toMatchObject({
      code: status.FAILED_PRECONDITION,
      message: 'not with [CARD_1]',
      details: { errorInfo: { metadata: { note: 'card [CARD_1]' } } },
    });
    expect(String(answer.head?.get('x-head-bin')[0])).toBe('has [CARD_1]');
    expect(app.metadata.at(-1)?.get('x-note')).toEqual(['mine is [CARD_1]']);
    expect(app.metadata.at(-1)?.get('x-kept')).toEqual(['as it was']);
  });

  test('counts what it finds, by detector and side, also where it only records', async () => {
    app.answer = { pieces: [CARD.slice(0, 8), CARD.slice(8)] };
    const answer = await stream(await clientAs('watched'), `from ${CARD}`);
    expect(answer.text).toBe(CARD);
    expect(app.requests.at(-1)?.input?.value).toBe(`from ${CARD}`);
    const metrics = await mesh.metrics(mesh.inbound);
    expect(metrics).toMatch(/gatehouse_protection_hits_total\{side="request",detector="CARD"\} \d+/);
    expect(metrics).toMatch(/gatehouse_protection_hits_total\{side="response",detector="CARD"\} \d+/);
    expect(metrics).toMatch(
      /gatehouse_refusals_total\{direction="inbound",reason="PROTECTED_RESPONSE"\} \d+/,
    );
  });

  test('protects answers of some models alone, for which it reads the request', async () => {
    const client = await clientAs('modelled');
    app.answer = { text: CARD };
    expect((await generate(client, CARD, new Metadata(), 'large-1')).text).toBe('[CARD_1]');
    expect(app.requests.at(-1)?.input?.value).toBe(CARD);
    expect((await generate(client, CARD, new Metadata(), 'small-1')).text).toBe(CARD);
  });

  test('leaves the calls of others alone', async () => {
    app.answer = { text: CARD };
    expect((await generate(await clientAs('other'), CARD)).text).toBe(CARD);
    expect(app.requests.at(-1)?.input?.value).toBe(CARD);
  });
});

describe('protection of every kind of call', () => {
  let mesh: TestMesh;
  beforeAll(async () => {
    mesh = await startTestMesh({ policy: policyOf(PROTECTIONS.slice(0, 1), ['echo.call']) });
  });
  afterAll(async () => {
    await mesh.stop();
  });

  test.each(CALL_KINDS)('a %s call is protected both ways, message by message', async (kind) => {
    const requests = [{ text: `a ${CARD} `, count: 2 }, { text: 'b 5500 0000 0000 0004' }];
    const sent = kind === 'unary' || kind === 'serverStream' ? requests.slice(0, 1) : requests;
    const answer = await run(mesh.client(), kind, sent, { metadata: { 'x-note': CARD } });
    expect(answer.code).toBe(status.OK);
    const texts = answer.answers.map(({ text }) => text);
    expect(texts).toEqual(
      {
        unary: ['a [CARD_1] '],
        clientStream: ['a [CARD_1] b [CARD_2]'],
        serverStream: ['a [CARD_1] 0', 'a [CARD_1] 1'],
        bidi: ['a [CARD_1] ', 'b [CARD_2]'],
      }[kind],
    );
    expect(answer.answers[0]?.metadata).toContain('x-note=[CARD_1]');
  });

  test.each(CALL_KINDS)('a %s call with large messages is protected, and goes on whole', async (kind) => {
    const text = `${'long text '.repeat(50_000)}${CARD}`;
    const answer = await run(mesh.client({ 'grpc.max_receive_message_length': -1 }), kind, [
      { text, payload: Buffer.alloc(100_000, 0x62), answerBytes: 300_000 },
    ]);
    expect(answer).toMatchObject({ code: status.OK, message: '' });
    expect(answer.answers[0]?.text.slice(-20)).toContain('[CARD_1]');
    expect(answer.answers[0]?.payload.length).toBe(300_000);
  });

  test('leaves nothing behind', async () => {
    const metrics = await mesh.metrics(mesh.inbound);
    expect(metrics).toMatch(/gatehouse_calls_active\{direction="inbound"\} 0/);
    expect(metrics).toMatch(/gatehouse_held_bytes 0/);
  });
});

describe('a policy whose protections can not be kept', () => {
  test.each([
    [
      'an unknown detector',
      { detectors: ['CRAD'], action: 'REDACT' },
      /policy\.yaml:\d+:\d+: .*CRAD.*expected a built-in detector/,
    ],
    [
      'a key that the configuration lacks',
      { detectors: ['CARD'], action: 'PSEUDONYMISE', key: 'other' },
      /policy\.yaml:\d+:\d+: .*other/,
    ],
  ])('is refused at start: %s', async (_, protection, expected) => {
    const policy = policyOf([{ id: 'p', ...protection }], ['echo.call']);
    await expect(startTestMesh({ policy })).rejects.toThrow(expected);
  });

  test('is refused at start: a pattern that needs more than linear time', async () => {
    const policy = stringify({
      ...(parse(policyOf([], ['echo.call'])) as object),
      detectors: [{ name: 'AHEAD', pattern: '(?=a)b' }],
    });
    await expect(startTestMesh({ policy })).rejects.toThrow(
      /policy\.yaml:\d+:\d+: detectors\[0\]\.pattern: .*expected a regular expression in RE2’s syntax/,
    );
  });

  test('names built-in detectors as they are called', () => {
    expect([...BUILT_IN_DETECTORS].toSorted()).toEqual(builtInDetectors.toSorted());
  });

  test('a key file that can not be used is refused with its name and the expected form, never its content', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'gh-key-'));
    const file = join(folder, 'short.key');
    await writeFile(file, 'c2VjcmV0');
    const starting = startTestMesh({
      protection: {
        keys: [
          { name: 'short', file },
          { name: 'gone', file: `${file}.not` },
        ],
      },
    });
    await expect(starting).rejects.toThrow(
      /short\.key: key short: has 6 bytes; expected at least 32\n.*gone: cannot be read/,
    );
    await rm(folder, { recursive: true, force: true });
  });
});
