import fc from 'fast-check';
import { expect, test } from 'vitest';
import { MessageScanner, type ScanProblem } from './message-scanner.ts';

const LIMIT_BYTES = 64;

function framed(flag: number, length: number): Buffer {
  const bytes = Buffer.alloc(5 + length, 0xff);
  bytes[0] = flag;
  bytes.writeUInt32BE(length, 1);
  return bytes;
}

/** Scans `bytes` cut into pieces of these sizes, the last one taking the rest. */
function scanInPieces(bytes: Buffer, sizes: readonly number[], messagesMax: number) {
  const scanner = new MessageScanner(LIMIT_BYTES, messagesMax);
  let at = 0;
  let problem: ScanProblem | null = null;
  for (const size of [...sizes, bytes.length]) {
    // Each piece stands in the middle of a larger chunk, as bytes from a socket do.
    const end = Math.min(at + size, bytes.length);
    const chunk = Buffer.concat([Buffer.from([9, 9, 9]), bytes.subarray(at, end), Buffer.from([9, 9])]);
    problem = scanner.scan(chunk, 3, 3 + end - at);
    at = end;
    if (problem !== null || at === bytes.length) break;
  }
  return { problem, messages: scanner.messages };
}

const lengths = fc.array(
  fc.record({ flag: fc.constantFrom(0, 0, 0, 1, 1, 2, 255), length: fc.nat(LIMIT_BYTES + 3) }),
  { maxLength: 12 },
);

test('any way of cutting the bytes gives the same count and the same problem', () => {
  fc.assert(
    fc.property(
      lengths,
      fc.array(fc.nat(40), { maxLength: 60 }),
      fc.constantFrom(1, 3, Number.POSITIVE_INFINITY),
      (heads, sizes, messagesMax) => {
        const bytes = Buffer.concat(heads.map(({ flag, length }) => framed(flag, length)));
        const whole = scanInPieces(bytes, [bytes.length], messagesMax);
        expect(scanInPieces(bytes, sizes, messagesMax)).toEqual(whole);
        expect(
          scanInPieces(
            bytes,
            Array.from(bytes, () => 1),
            messagesMax,
          ),
        ).toEqual(whole);
      },
    ),
  );
});

test('the first message that breaks a rule is the one that is reported', () => {
  fc.assert(
    fc.property(lengths, (heads) => {
      const bad = heads.findIndex(({ flag, length }) => flag > 1 || length > LIMIT_BYTES);
      const { problem, messages } = scanInPieces(
        Buffer.concat(heads.map(({ flag, length }) => framed(flag, length))),
        [],
        Number.POSITIVE_INFINITY,
      );
      expect(messages).toBe(bad < 0 ? heads.length : bad + 1);
      expect(problem === null).toBe(bad < 0);
    }),
  );
});

test('a message may be as large as the limit and no larger', () => {
  expect(scanInPieces(framed(0, LIMIT_BYTES), [], 1).problem).toBeNull();
  expect(scanInPieces(framed(0, LIMIT_BYTES + 1), [], 1).problem).toEqual({
    kind: 'too-large',
    messageBytes: LIMIT_BYTES + 1,
    limitBytes: LIMIT_BYTES,
  });
});

test('a length of four full bytes is no negative number and is refused by its head alone', () => {
  const head = Buffer.from([0, 0xff, 0xff, 0xff, 0xff]);
  expect(scanInPieces(head, [], 1).problem).toMatchObject({ kind: 'too-large', messageBytes: 0xffff_ffff });
});

test('an empty message counts, and a second one where one is allowed is refused when its head is whole', () => {
  const scanner = new MessageScanner(LIMIT_BYTES, 1);
  expect(scanner.scan(Buffer.alloc(5), 0, 5)).toBeNull();
  expect(scanner.messages).toBe(1);
  expect(scanner.scan(Buffer.alloc(4), 0, 4)).toBeNull();
  expect(scanner.scan(Buffer.alloc(1), 0, 1)).toEqual({ kind: 'too-many', limit: 1 });
});

test('a compression flag other than 0 and 1 is refused', () => {
  expect(scanInPieces(framed(2, 0), [], 1).problem).toEqual({ kind: 'bad-flag', flag: 2 });
  expect(scanInPieces(framed(1, 0), [], 1).problem).toBeNull();
});
