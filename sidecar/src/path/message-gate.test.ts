import { deflateSync, gzipSync } from 'node:zlib';
import type { ContractMethod, FieldReader } from '@gatehouse/contracts';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ByteBudget } from './byte-budget.ts';
import type { MessageFilter } from './message-filter.ts';
import { MessageGate, messageBytes, readMessage } from './message-gate.ts';

function framed(body: Buffer, flag = 0): Buffer {
  const head = Buffer.alloc(5);
  head[0] = flag;
  head.writeUInt32BE(body.length, 1);
  return Buffer.concat([head, body]);
}

const passing: MessageFilter = {
  fields: (fields) => fields,
  message: (bytes) => bytes,
  end: () => Buffer.alloc(0),
};

test('however the bytes are cut, whole messages come out as they went in, and the rest is held back', () => {
  const body = fc.uint8Array({ maxLength: 50 }).map((bytes) => framed(Buffer.from(bytes)));
  fc.assert(
    fc.property(
      fc.array(body, { maxLength: 8 }),
      fc.nat(60),
      fc.array(fc.nat(20), { maxLength: 40 }),
      (messages, cut, sizes) => {
        const all = Buffer.concat(messages);
        const bytes = all.subarray(0, Math.max(0, all.length - cut));
        const budget = new ByteBudget(1000);
        const out: Buffer[] = [];
        const gate = new MessageGate(passing, budget, (message) => out.push(Buffer.from(message)));
        let at = 0;
        for (const size of [...sizes, bytes.length]) {
          const end = Math.min(at + size, bytes.length);
          const chunk = Buffer.from(bytes.subarray(at, end));
          expect(gate.push(chunk, 0, chunk.length)).toBeNull();
          at = end;
        }
        expect(Buffer.concat(out).length + budget.usedBytes).toBe(bytes.length);
        expect(out).toEqual(messages.slice(0, out.length));
        if (cut === 0) expect(out).toHaveLength(messages.length);
        gate.clear();
        expect(budget.usedBytes).toBe(0);
      },
    ),
  );
});

test('what may not be held together refuses the call', () => {
  const gate = new MessageGate(passing, new ByteBudget(8), () => {});
  const message = framed(Buffer.alloc(20));
  expect(gate.push(message, 0, 8)).toBeNull();
  expect(gate.push(message, 8, 9)).toMatchObject({ kind: 'overloaded', limit: 'heldBytesMax', max: 8 });
});

test('a first message counts when all of it is there', () => {
  const message = framed(Buffer.from('hello'));
  const sizeOf = (bytes: Buffer): number | null => messageBytes(bytes, 0, bytes.length);
  expect(sizeOf(message.subarray(0, 4))).toBeNull();
  expect(sizeOf(message.subarray(0, -1))).toBeNull();
  expect(sizeOf(message)).toBe(10);
  expect(sizeOf(Buffer.concat([message, message]))).toBe(10);
});

describe('reading a compressed message', () => {
  /** Says how long the message is that it was given, so that the test sees what was read. */
  const requestFields = {
    read: (_bytes: Buffer, start: number, end: number) => ({ model: `${end - start} bytes` }),
  } as unknown as FieldReader;
  const method = { path: '/a.B/C', requestFields, requestBytesMax: 10_000 } as ContractMethod;

  test.each([
    ['gzip', gzipSync],
    ['deflate', deflateSync],
  ])('inflates %s', (encoding, compress) => {
    expect(readMessage(framed(compress(Buffer.alloc(500, 0x61)), 1), method, encoding)).toEqual({
      model: '500 bytes',
    });
  });

  test('reads one that is not compressed as it is, whatever the encoding is called', () => {
    expect(readMessage(framed(Buffer.alloc(7)), method, 'br')).toEqual({ model: '7 bytes' });
  });

  test('refuses an encoding that it does not know: policy would not see what the app sees', () => {
    expect(readMessage(framed(Buffer.from('x'), 1), method, 'br')).toMatchObject({
      kind: 'malformed',
      field: 'grpc-encoding',
    });
  });

  test('refuses one that grows beyond the limit of the method, or a hundredfold', () => {
    const large = gzipSync(Buffer.from(Array.from({ length: 10_001 }, (_, i) => (i * 7919) % 251)));
    expect(readMessage(framed(large, 1), method, 'gzip')).toMatchObject({
      kind: 'malformed',
      field: 'message',
    });
    const roomy = { ...method, requestBytesMax: 100_000_000 } as ContractMethod;
    expect(readMessage(framed(gzipSync(Buffer.alloc(50_000_000)), 1), roomy, 'gzip')).toMatchObject({
      kind: 'malformed',
    });
  });

  test('refuses one that is no such compression, or is cut off', () => {
    for (const body of [
      Buffer.from('not gzip'),
      gzipSync(Buffer.alloc(500)).subarray(0, -4),
      Buffer.alloc(0),
    ])
      expect(readMessage(framed(body, 1), method, 'gzip')).toMatchObject({ kind: 'malformed' });
  });
});
