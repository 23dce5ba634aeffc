import { BinaryWriter } from '@bufbuild/protobuf/wire';
import { GenerateResponse, StreamGenerateResponse } from '@gatehouse/contracts/inference';
import { ExecuteResponse, StreamExecuteResponse } from '@gatehouse/contracts/orchestration';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  delta,
  framed,
  GENERATE,
  protecting,
  STREAM_EXECUTE,
  STREAM_GENERATE,
  sendThrough,
  unframed,
} from './test/protected-call.ts';

const CARD = '4111 1111 1111 1111';
const BARE_CARD = '4111111111111111';
const SEED = 20_261_122;

const cards = protecting([{ detectors: ['CARD', 'EMAIL'] }]);

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
