import { deflateSync, gzipSync } from 'node:zlib';
import { BinaryWriter } from '@bufbuild/protobuf/wire';
import { EVERY_SENSITIVITY, type TextPlan, TextWalker } from '@gatehouse/contracts';
import { StreamEmbedRequest } from '@gatehouse/contracts/embeddings';
import { GenerateRequest, GenerateResponse } from '@gatehouse/contracts/inference';
import { ExecuteRequest } from '@gatehouse/contracts/orchestration';
import { describe, expect, test } from 'vitest';
import { field } from '../../http2/index.ts';
import type { Detector } from '../detectors/detector.ts';
import { PlaceholderBook } from '../placeholder-book.ts';
import type { CallProtection } from '../protector.ts';
import { MessageProtection } from './message-protection.ts';
import { RuleSet } from './rule-set.ts';
import {
  contract,
  delta,
  EXECUTE,
  framed,
  GENERATE,
  protecting,
  STREAM_EMBED,
  STREAM_GENERATE,
  sendThrough,
  unframed,
} from './test/protected-call.ts';

const CARD = '4111 1111 1111 1111';
const BARE_CARD = '4111111111111111';
const cards = protecting([{ detectors: ['CARD', 'EMAIL'] }]);

function encodeGenerate(request: object): Buffer {
  return Buffer.from(GenerateRequest.encode(GenerateRequest.fromPartial(request as never)).finish());
}

function prompt(text: string): Buffer {
  return encodeGenerate({ model: 'm', input: { $case: 'prompt', value: text } });
}

function requestOf(call: CallProtection, body: Buffer): GenerateRequest {
  return GenerateRequest.decode(sendThrough(call.request, [body])[0] as Buffer);
}

function refusalOf(run: () => unknown): unknown {
  try {
    run();
  } catch (error) {
    return (error as { refusal?: unknown }).refusal ?? error;
  }
  return null;
}

describe('messages of one piece', () => {
  test('a call has the same placeholder for a value wherever it stands, in both directions', () => {
    const call = cards(GENERATE);
    const request = requestOf(
      call,
      encodeGenerate({
        input: {
          $case: 'chat',
          value: {
            messages: [
              { role: 1, content: `I paid with ${CARD}.` },
              { role: 2, content: `Not with 5500 0000 0000 0004, but with ${BARE_CARD}.` },
            ],
          },
        },
        stop: [BARE_CARD],
      }),
    );
    const chat = request.input?.$case === 'chat' ? request.input.value.messages : [];
    expect(chat.map(({ content }) => content)).toEqual([
      'I paid with [CARD_1].',
      'Not with [CARD_2], but with [CARD_1].',
    ]);
    expect(request.stop).toEqual(['[CARD_1]']);
    const answer = Buffer.from(
      GenerateResponse.encode(GenerateResponse.fromPartial({ text: CARD })).finish(),
    );
    expect(GenerateResponse.decode(sendThrough(call.response, [answer])[0] as Buffer).text).toBe('[CARD_1]');
    expect(call.hits.text).toBe('request CARD=4, response CARD=1');
    expect(requestOf(cards(GENERATE), prompt(CARD)).input?.value).toBe('[CARD_1]');
  });

  test('what holds nothing goes on as the bytes that came, also compressed', () => {
    for (const message of [framed(prompt('hello')), framed(gzipSync(prompt('hello')), 1)]) {
      const { request } = cards(GENERATE);
      request?.fields([field('grpc-encoding', 'gzip')]);
      expect(request?.message(message)).toBe(message);
    }
  });

  test('unknown fields stay where they were', () => {
    const body = Buffer.from(
      new BinaryWriter().tag(500, 2).string('kept').raw(prompt(CARD)).tag(501, 0).uint32(7).finish(),
    );
    const [out] = sendThrough(cards(GENERATE).request, [body]);
    const expected = new BinaryWriter()
      .tag(500, 2)
      .string('kept')
      .raw(prompt('[CARD_1]'))
      .tag(501, 0)
      .uint32(7);
    expect(out).toEqual(Buffer.from(expected.finish()));
  });

  test('fields of other sensitivities are left alone, and metadata is looked at when asked for', () => {
    const body = encodeGenerate({ model: BARE_CARD, input: { $case: 'prompt', value: CARD } });
    expect(requestOf(cards(GENERATE), body)).toMatchObject({
      model: BARE_CARD,
      input: { value: '[CARD_1]' },
    });
    const metadata = protecting([{ detectors: ['CARD'], sensitivities: ['METADATA'] }]);
    expect(requestOf(metadata(GENERATE), body)).toMatchObject({ model: '[CARD_1]', input: { value: CARD } });
  });

  test('nested values, lists, maps with their keys, and numbers of google.protobuf.Value', () => {
    const inputs = {
      plain: CARD,
      [CARD]: 1,
      list: [1, [{ deep: `x ${CARD}` }]],
      number: Number(BARE_CARD),
      pi: 3.14,
    };
    const body = Buffer.from(ExecuteRequest.encode(ExecuteRequest.fromPartial({ inputs })).finish());
    const [out] = sendThrough(cards(EXECUTE).request, [body]);
    expect(ExecuteRequest.decode(out as Buffer).inputs).toEqual({
      plain: '[CARD_1]',
      '[CARD_1]': 1,
      list: [1, [{ deep: 'x [CARD_1]' }]],
      number: '[CARD_1]',
      pi: 3.14,
    });
  });

  test.each([
    ['escapes', `{"card":"\\u0034111 1111 1111 1111","n":1}`, `{"card":"[CARD_1]","n":1}`],
    ['a string alone', `"\\u0034111111111111111"`, `"[CARD_1]"`],
    ['keys', `{ "${BARE_CARD}" : [ true ] }`, `{ "[CARD_1]" : [ true ] }`],
    ['numbers', `[${BARE_CARD}, -1.50, 4.111111111111111e15]`, `["[CARD_1]", -1.50, "[CARD_1]"]`],
    ['JSON inside', JSON.stringify({ a: JSON.stringify([CARD]) }), JSON.stringify({ a: '["[CARD_1]"]' })],
    ['no JSON', `{"card": ${CARD}`, `{"card": [CARD_1]`],
  ])('JSON in a text stays JSON: %s', (_, text, expected) => {
    expect(requestOf(cards(GENERATE), prompt(text)).input?.value).toBe(expected);
  });

  test('JSON in more layers than are followed is refused', () => {
    let text = CARD;
    for (let i = 0; i < 12; i++) text = JSON.stringify([text]);
    expect(refusalOf(() => requestOf(cards(GENERATE), prompt(text)))).toMatchObject({
      kind: 'malformed',
      field: 'prompt',
    });
  });

  test.each([
    ['gzip', gzipSync],
    ['deflate', deflateSync],
  ] as const)(
    'a %s message is inflated, and goes on uncompressed where it has to change',
    (encoding, compress) => {
      const { request } = cards(GENERATE);
      request?.fields([field('grpc-encoding', encoding)]);
      const out = request?.message(framed(compress(prompt(CARD)), 1)) as Buffer;
      expect(out[0]).toBe(0);
      expect(GenerateRequest.decode(unframed(out)[0] as Buffer).input?.value).toBe('[CARD_1]');
    },
  );

  test.each<[string, string, Buffer, object]>([
    [
      'of an unknown encoding',
      'snappy',
      framed(Buffer.from('x'), 1),
      { kind: 'malformed', field: 'grpc-encoding' },
    ],
    [
      'that inflates too far',
      'gzip',
      framed(gzipSync(Buffer.alloc(2_000_000)), 1),
      { kind: 'malformed', field: 'message' },
    ],
    ['that is no protobuf', '', framed(Buffer.from('hello')), { kind: 'malformed', field: 'message' }],
    [
      'whose text is not UTF-8',
      '',
      framed(
        Buffer.from(
          new BinaryWriter()
            .tag(3, 2)
            .bytes(Buffer.from([0x61, 0xff]))
            .finish(),
        ),
      ),
      { kind: 'malformed', field: 'prompt', expected: 'valid UTF-8' },
    ],
  ])('a request %s is refused', (_, encoding, message, expected) => {
    const { request } = cards(GENERATE);
    if (encoding !== '') request?.fields([field('grpc-encoding', encoding)]);
    expect(request?.message(message)).toMatchObject(expected);
  });
});

describe('actions', () => {
  test('refuses with the field and the detector, and nothing of what was found', () => {
    const call = protecting([{ detectors: ['CARD'], action: 'REFUSE' }])(GENERATE);
    const body = encodeGenerate({
      input: {
        $case: 'chat',
        value: {
          messages: [
            { role: 1, content: 'x' },
            { role: 2, content: CARD },
          ],
        },
      },
    });
    const refusal = refusalOf(() => requestOf(call, body));
    expect(refusal).toEqual({
      kind: 'protected',
      direction: 'request',
      because: 'found',
      detector: 'CARD',
      field: 'chat.messages[1].content',
    });
    expect(call.hits.text).toBe('request CARD=1');
  });

  test('records without a change', () => {
    const call = protecting([{ detectors: ['CARD'], action: 'RECORD' }])(GENERATE);
    const message = framed(prompt(`${CARD} and ${CARD}`));
    expect(call.request?.message(message)).toBe(message);
    expect(call.hits.text).toBe('request CARD=2');
  });

  test.each(['PSEUDONYMISE', 'PSEUDONYMISE_REVERSIBLY'])(
    '%s gives the same pseudonym in every call',
    (action) => {
      const begin = protecting([{ detectors: ['CARD'], action, key: 'key' }]);
      const [one, other] = [begin(GENERATE), begin(GENERATE)].map(
        (call) => requestOf(call, prompt(BARE_CARD)).input?.value,
      );
      expect(one).toMatch(/^\[CARD[~=][a-p]+\]$/);
      expect(other).toBe(one);
    },
  );

  test('protections of other models and of the other direction do not act', () => {
    const begin = protecting([
      { detectors: ['CARD'], match: { models: ['large-*'] }, directions: ['REQUEST'] },
      { detectors: ['EMAIL'], directions: ['RESPONSE'] },
    ]);
    const text = `${CARD} a@example.org`;
    const out = (model: string): unknown =>
      begin(GENERATE, () => model).request &&
      requestOf(
        begin(GENERATE, () => model),
        prompt(text),
      ).input?.value;
    expect(out('small-1')).toBe(null);
    expect(out('large-1')).toBe('[CARD_1] a@example.org');
  });

  test('a stream whose later message names another model is protected as that model asks for', () => {
    const begin = protecting([{ detectors: ['CARD'], match: { models: ['large-*'] } }]);
    let model = 'small-1';
    const { request } = begin(STREAM_EMBED, () => model);
    const body = framed(
      StreamEmbedRequest.encode(StreamEmbedRequest.fromPartial({ id: '1', input: CARD })).finish(),
    );
    expect(request?.message(body)).toBe(body);
    model = 'large-1';
    const [out] = unframed(request?.message(body) as Buffer);
    expect(StreamEmbedRequest.decode(out as Buffer).input).toBe('[CARD_1]');
  });

  test('detectors of the document work beside the built-in ones', () => {
    const begin = protecting(
      [{ detectors: ['BADGE', 'WORDS'] }],
      [
        { name: 'BADGE', pattern: 'B-[0-9]{4}' },
        { name: 'WORDS', dictionary: { words: ['Bluebird'] } },
      ],
    );
    expect(requestOf(begin(GENERATE), prompt('B-1234 of bluebird')).input?.value).toBe(
      '[BADGE_1] of [WORDS_1]',
    );
  });
});

test('a detector that throws ends the call, and what it threw is dropped', () => {
  const broken: Detector = {
    name: 'BROKEN',
    charactersMax: 8,
    starts: { ascii: new Uint8Array(128).fill(1), beyondAscii: true, atWordStart: false },
    match: (text) => {
      throw new Error(text);
    },
  };
  const rules = new RuleSet([{ bits: EVERY_SENSITIVITY, rule: { action: 'redact', detectors: [broken] } }]);
  const plan = contract.methods.get(STREAM_GENERATE)?.responseText as TextPlan;
  const protection = new MessageProtection({
    direction: 'response',
    plan,
    statusPlan: null,
    isStream: true,
    bytesMax: 1000,
    walker: new TextWalker(contract.textPlans),
    rules: () => rules,
    book: new PlaceholderBook(),
    onHits: () => {},
  });
  const failed = { kind: 'protected', direction: 'response', because: 'failed', detector: 'BROKEN' };
  expect(protection.message(framed(delta(CARD)))).toEqual({ ...failed, field: 'delta.text' });
  expect(protection.fields([field('x-note', CARD)])).toEqual({
    ...failed,
    field: 'the name of a metadata entry',
  });
});
