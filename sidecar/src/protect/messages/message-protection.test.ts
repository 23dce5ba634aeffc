import { deflateSync, gzipSync } from 'node:zlib';
import { BinaryWriter } from '@bufbuild/protobuf/wire';
import { EVERY_SENSITIVITY, type TextPlan, TextWalker } from '@gatehouse/contracts';
import { Any } from '@gatehouse/contracts/any';
import { StreamEmbedRequest } from '@gatehouse/contracts/embeddings';
import { GenerateRequest, GenerateResponse, StreamGenerateResponse } from '@gatehouse/contracts/inference';
import { ExecuteRequest, ExecuteResponse, StreamExecuteResponse } from '@gatehouse/contracts/orchestration';
import { BadRequest } from '@gatehouse/contracts/rpc-error-details';
import { Status } from '@gatehouse/contracts/rpc-status';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Field, field } from '../../http2/index.ts';
import type { Detector } from '../detectors/detector.ts';
import { PlaceholderBook } from '../placeholder-book.ts';
import type { CallProtection } from '../protector.ts';
import { MessageProtection } from './message-protection.ts';
import { RuleSet } from './rule-set.ts';
import {
  contract,
  EXECUTE,
  framed,
  GENERATE,
  protecting,
  STREAM_EMBED,
  STREAM_EXECUTE,
  STREAM_GENERATE,
  sendThrough,
  unframed,
} from './test/protected-call.ts';

const CARD = '4111 1111 1111 1111';
const BARE_CARD = '4111111111111111';
const SEED = 20_261_122;

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

function delta(text: string, outputTokens = 0): Buffer {
  const event = { $case: 'delta' as const, value: { text, outputTokens } };
  return Buffer.from(StreamGenerateResponse.encode({ event }).finish());
}

const completed = Buffer.from(
  StreamGenerateResponse.encode(
    StreamGenerateResponse.fromPartial({
      event: { $case: 'completed', value: { usage: { inputTokens: 3, outputTokens: 9 } } },
    }),
  ).finish(),
);

function eventsOf(bodies: readonly Buffer[]) {
  return bodies.map((body) => StreamGenerateResponse.decode(body).event);
}

function textOf(bodies: readonly Buffer[]): string {
  return eventsOf(bodies)
    .map((event) => (event?.$case === 'delta' ? event.value.text : ''))
    .join('');
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

describe('a text that comes in pieces', () => {
  test(`is redacted as the whole of it would be, however it is cut (seed ${SEED})`, () => {
    const words = fc.constantFrom(
      'hello ',
      CARD,
      BARE_CARD,
      'a@example.org',
      ' ',
      '😀',
      'é ',
      '1234 ',
      '. ',
      '4111-',
    );
    fc.assert(
      fc.property(
        fc.array(words, { maxLength: 8 }).map((all) => all.join('')),
        fc.array(fc.integer({ min: 1, max: 7 }), { minLength: 1, maxLength: 60 }),
        (text, sizes) => {
          const characters = Array.from(text);
          const pieces: string[] = [];
          for (let at = 0, i = 0; at < characters.length; i++) {
            const size = sizes[i % sizes.length] as number;
            pieces.push(characters.slice(at, at + size).join(''));
            at += size;
          }
          const whole = cards(GENERATE);
          const answer = GenerateResponse.encode(GenerateResponse.fromPartial({ text })).finish();
          const expected = GenerateResponse.decode(sendThrough(whole.response, [answer])[0] as Buffer).text;
          const bodies = pieces.map((piece, index) => delta(piece, index + 1));
          const out = sendThrough(cards(STREAM_GENERATE).response, [...bodies, completed]);
          expect(textOf(out)).toBe(expected);
          expect(out.at(-1)).toEqual(completed);
          const tokens = eventsOf(out).flatMap((event) =>
            event?.$case === 'delta' ? [event.value.outputTokens] : [],
          );
          expect(tokens).toEqual(tokens.toSorted((one, other) => one - other));
        },
      ),
      { seed: SEED, numRuns: 400 },
    );
  });

  test('comes out with the next piece, before a message that is none, or at the end', () => {
    const { response } = cards(STREAM_GENERATE);
    const send = (body: Buffer): Buffer[] => unframed(response?.message(framed(body)) as Buffer);
    expect(textOf(send(delta('pay 4111', 1)))).toBe('pay ');
    expect(eventsOf(send(delta('? ', 2)))).toEqual([
      { $case: 'delta', value: { text: '4111? ', outputTokens: 2 } },
    ]);
    expect(textOf(send(delta('and 41', 3)))).toBe('and ');
    const last = send(completed);
    expect(eventsOf(last.slice(0, 1))).toEqual([{ $case: 'delta', value: { text: '41', outputTokens: 3 } }]);
    expect(last[1]).toEqual(completed);
    expect(response?.end()).toHaveLength(0);
  });

  test('goes on after a message in between; a number across it does not', () => {
    const { response } = cards(STREAM_GENERATE);
    const send = (body: Buffer): Buffer[] => unframed(response?.message(framed(body)) as Buffer);
    send(delta('a 4111'));
    expect(textOf(send(completed))).toBe('4111');
    expect(textOf(send(delta(' b. 4111 1111 ')))).toBe(' b. ');
    expect(textOf(send(completed))).toBe('4111 1111 ');
    expect(response?.message(framed(delta('1111 1111 is it')))).toMatchObject({
      kind: 'protected',
      because: 'unwritable',
    });
  });

  test('a piece without text, which the wire leaves out, does not end it', () => {
    const out = sendThrough(cards(STREAM_GENERATE).response, [
      delta('4111 1111 '),
      delta('', 5),
      delta('1111 1111.'),
    ]);
    expect(textOf(out)).toBe('[CARD_1].');
  });

  test('texts with keys of their own interleave', () => {
    const piece = (path: string, text: string, outputTokens: number, attempt = 1): Buffer =>
      Buffer.from(
        StreamExecuteResponse.encode({
          event: { $case: 'nodeDelta', value: { path, text, outputTokens, attempt } },
        }).finish(),
      );
    const out = sendThrough(cards(STREAM_EXECUTE).response, [
      piece('one', '4111 1111 ', 1),
      piece('two', '5500 0000 ', 2),
      piece('one', '1111 1111 ', 3),
      piece('one', '4111', 3, 2),
      piece('two', '0000 0004 ', 4),
      piece('two', '55', 5),
    ]).map((body) => StreamExecuteResponse.decode(body).event);
    const texts = new Map<string, string>();
    let tokens = 0;
    for (const event of out) {
      if (event?.$case !== 'nodeDelta') continue;
      const { path, attempt, text, outputTokens } = event.value;
      texts.set(`${path} ${attempt}`, (texts.get(`${path} ${attempt}`) ?? '') + text);
      expect(outputTokens).toBeGreaterThanOrEqual(tokens);
      tokens = outputTokens;
    }
    expect(Object.fromEntries(texts)).toEqual({
      'one 1': '[CARD_1] ',
      'one 2': '4111',
      'two 1': '[CARD_2] 55',
    });
  });

  test('a message that names one text ends that one, and leaves the others as they are', () => {
    const piece = (path: string, text: string): Buffer =>
      Buffer.from(
        StreamExecuteResponse.encode({
          event: { $case: 'nodeDelta', value: { path, text, outputTokens: 1, attempt: 1 } },
        }).finish(),
      );
    const over = Buffer.from(
      StreamExecuteResponse.encode(
        StreamExecuteResponse.fromPartial({ event: { $case: 'nodeEnded', value: { path: 'one' } } }),
      ).finish(),
    );
    const out = sendThrough(cards(STREAM_EXECUTE).response, [
      piece('one', 'ends in 41'),
      piece('two', '4111 1111 '),
      over,
      piece('two', '1111 1111? '),
    ]).map((body) => {
      const { event } = StreamExecuteResponse.decode(body);
      return event?.$case === 'nodeDelta' ? `${event.value.path}: ${event.value.text}` : event?.$case;
    });
    expect(out).toEqual(['one: ends in ', 'two: ', 'one: 41', 'nodeEnded', 'two: [CARD_1]? ']);
  });

  test('the whole text in a last event has the placeholders of its pieces', () => {
    const event = Buffer.from(
      StreamExecuteResponse.encode({
        event: {
          $case: 'nodeDelta',
          value: { path: 'a', text: `see ${CARD}.`, outputTokens: 1, attempt: 1 },
        },
      }).finish(),
    );
    const whole = Buffer.from(
      StreamExecuteResponse.encode({
        event: {
          $case: 'completed',
          value: ExecuteResponse.fromPartial({ outputs: { out: `see ${BARE_CARD}.` } }),
        },
      }).finish(),
    );
    const out = sendThrough(cards(STREAM_EXECUTE).response, [event, whole]).map(
      (body) => StreamExecuteResponse.decode(body).event,
    );
    expect(out.at(-1)?.value).toMatchObject({ outputs: { out: 'see [CARD_1].' } });
  });

  test('more texts at once than are followed end the call', () => {
    const { response } = cards(STREAM_EXECUTE);
    const refusals = Array.from({ length: 1100 }, (_, index) =>
      response?.message(
        framed(
          StreamExecuteResponse.encode({
            event: {
              $case: 'nodeDelta',
              value: { path: `n${index}`, text: '41', outputTokens: 1, attempt: 1 },
            },
          }).finish(),
        ),
      ),
    ).filter((result) => result !== undefined && 'kind' in result);
    expect(refusals[0]).toMatchObject({ kind: 'protected', because: 'too-many-texts' });
  });

  test('a field that comes twice in one piece is refused: decoders take the last alone', () => {
    const inner = new BinaryWriter().tag(1, 2).string('4111 ').tag(1, 2).string('1111').finish();
    const body = Buffer.from(new BinaryWriter().tag(2, 2).bytes(inner).finish());
    expect(cards(STREAM_GENERATE).response?.message(framed(body))).toMatchObject({
      kind: 'upstream-malformed',
    });
  });
});

describe('metadata and status', () => {
  const change = (fields: readonly Field[], begin = cards): unknown => {
    const result = begin(GENERATE).response?.fields(fields) as readonly Field[] | { kind: string };
    return 'kind' in result ? result : result.map(({ name, value }) => `${name}: ${value}`);
  };

  test('texts, bytes and the status message are looked at; what the sidecar reads itself is not', () => {
    const fields = [
      field(':status', '200'),
      field('content-type', 'application/grpc'),
      field('x-note', `card ${CARD}`),
      field('x-json', `{"c":"\\u0034111111111111111"}`),
      field('x-data-bin', `${Buffer.from(CARD).toString('base64')},AAEC`),
      field('grpc-status', '3'),
      field('grpc-message', 'no%3A 4111 1111 1111 1111%25'),
      field('authorization', `Bearer ${BARE_CARD}`),
    ];
    expect(change(fields)).toEqual([
      ':status: 200',
      'content-type: application/grpc',
      'x-note: card [CARD_1]',
      'x-json: {"c":"[CARD_1]"}',
      `x-data-bin: ${Buffer.from('[CARD_1]').toString('base64').replace(/=+$/, '')},AAEC`,
      'grpc-status: 3',
      'grpc-message: no: [CARD_1]%25',
      `authorization: Bearer ${BARE_CARD}`,
    ]);
  });

  test('fields that hold nothing are the very same', () => {
    const fields = [field('x-note', 'hello'), field('x-data-bin', 'AAEC'), field('grpc-message', 'fine%21')];
    const { response } = cards(GENERATE);
    expect(response?.fields(fields)).toBe(fields);
    expect(response?.fields(fields)).toBe(fields);
  });

  test('bytes that are no text are refused where something has to change in them', () => {
    const value = Buffer.concat([Buffer.from([0, 1, 255]), Buffer.from(BARE_CARD)]).toString('base64');
    expect(change([field('x-data-bin', value)])).toMatchObject({
      kind: 'protected',
      because: 'unwritable',
      field: 'x-data-bin',
    });
    expect(change([field(BARE_CARD, 'x')])).toMatchObject({ kind: 'protected', because: 'unwritable' });
  });

  test('status details are changed inside, and left out where that can not be', () => {
    const violation = BadRequest.encode({
      fieldViolations: [{ field: 'f', description: `has ${CARD}` }],
    }).finish();
    const known = Any.fromPartial({
      typeUrl: 'type.googleapis.com/google.rpc.BadRequest',
      value: Buffer.from(violation),
    });
    const detailsField = (details: Any[]): Field =>
      field(
        'grpc-status-details-bin',
        Buffer.from(Status.encode({ code: 3, message: `no ${CARD}`, details }).finish()).toString('base64'),
      );
    const [changed] = change([detailsField([known])]) as string[];
    const status = Status.decode(Buffer.from((changed as string).split(': ')[1] as string, 'base64'));
    expect(status.message).toBe('no [CARD_1]');
    expect(BadRequest.decode(status.details[0]?.value as Buffer).fieldViolations[0]?.description).toBe(
      'has [CARD_1]',
    );

    const unknown = Any.fromPartial({
      typeUrl: 'type.googleapis.com/no.Such',
      value: Buffer.from(`\0${BARE_CARD}`),
    });
    expect(change([field('grpc-status', '3'), detailsField([unknown])])).toEqual(['grpc-status: 3']);
    expect(change([field('grpc-status-details-bin', 'bm90IGEgc3RhdHVz')])).toEqual([]);
  });

  test('a protection that refuses refuses metadata by its name', () => {
    const refusing = protecting([{ detectors: ['CARD'], action: 'REFUSE' }]);
    expect(change([field('x-note', CARD)], refusing)).toMatchObject({
      kind: 'protected',
      because: 'found',
      field: 'x-note',
    });
  });
});
