import { PassThrough } from 'node:stream';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Field, field } from './field.ts';
import { Decoded, HpackDecoder } from './hpack-decoder.ts';
import { HpackEncoder } from './hpack-encoder.ts';
import { OutputBuffer } from './output-buffer.ts';

const LIMITS = { headerListBytesMax: 1_000_000, headerFieldsMax: 1_000 };

function encode(encoder: HpackEncoder, fields: readonly Field[]): Buffer {
  const out = new OutputBuffer(new PassThrough(), { onOutputWritten() {} });
  encoder.write(out, fields);
  return Buffer.from(out.bytes.subarray(0, out.length));
}

const text = (fields: readonly Field[]): string[] => fields.map((one) => `${one.name}: ${one.value}`);

describe('the encoder', () => {
  it('sends a field that comes again as one byte, once a table holds it', () => {
    const encoder = new HpackEncoder(4096);
    const repeated = field('x-repeated', 'value');
    expect(encode(encoder, [repeated]).length).toBe(18);
    expect(encode(encoder, [repeated])[0]).toBe(0x40);
    expect(encode(encoder, [repeated])).toEqual(Buffer.from([0xbe]));
  });

  it('writes a list that comes again as before, and anew once the table or its size has changed', () => {
    const encoder = new HpackEncoder(4096);
    const decoder = new HpackDecoder(4096, LIMITS);
    const head = [field(':status', '200'), field('x-repeated', 'value')];
    const others = Array.from({ length: 90 }, (_, i) => [field('x-other', String(i).padStart(20, '-'))]);
    for (const [turn, other] of others.entries()) {
      if (turn === 80) encoder.peerTableBytes(64);
      // An entry is made for what comes a second time, and in the end the table is too small for all of them.
      for (const list of [head, other, head, other, head, head]) {
        const block = encode(encoder, list);
        expect(decoder.decode(block, 0, block.length)).toBe(Decoded.OK);
        expect(text(decoder.fields)).toEqual(text(list));
      }
    }
  });

  it('sends a row of the static table as its index', () => {
    const rows = [
      field(':method', 'POST'),
      field(':path', '/'),
      field(':status', '404'),
      field('accept-encoding', 'gzip, deflate'),
    ];
    expect(encode(new HpackEncoder(4096), rows)).toEqual(Buffer.from([0x83, 0x84, 0x8d, 0x90]));
  });

  it.each(['traceparent', 'tracestate', 'grpc-timeout', 'grpc-message', 'date', 'x-request-id'])(
    'never adds %s to the table',
    (name) => {
      const encoder = new HpackEncoder(4096);
      const one = field(name, 'v');
      for (let i = 0; i < 3; i++) expect((encode(encoder, [one])[0] as number) & 0xf0).toBe(0);
    },
  );

  it('marks secrets as never to be indexed, given so or known by name', () => {
    for (const secret of [
      field('authorization', 'b'),
      field('cookie', 'c'),
      field('x', 'y', { neverIndex: true }),
    ]) {
      const encoder = new HpackEncoder(4096);
      for (let i = 0; i < 3; i++) expect((encode(encoder, [secret])[0] as number) & 0xf0).toBe(0x10);
    }
  });

  it('announces the smallest and the last of several table sizes', () => {
    const encoder = new HpackEncoder(4096);
    encoder.peerTableBytes(100);
    encoder.peerTableBytes(2_000);
    expect(encode(encoder, [field(':method', 'GET')])).toEqual(
      Buffer.from([0x3f, 69, 0x3f, 0xb1, 0x0f, 0x82]),
    );
    expect(encode(encoder, [field(':method', 'GET')])).toEqual(Buffer.from([0x82]));
  });

  it('is understood by the decoder whatever is sent and however the table size moves', () => {
    const pool = Array.from({ length: 40 }, (_, i) => field(`x-${i % 9}`, `${i}`.repeat(1 + ((i * 7) % 60))));
    pool.push(field('content-type', 'application/grpc'), field('authorization', 'a'), field(':path', '/p'));
    const block = fc.record({
      picks: fc.array(fc.nat(pool.length - 1), { maxLength: 12 }),
      size: fc.option(fc.nat(5_000), { freq: 3 }),
    });
    fc.assert(
      fc.property(fc.array(block, { maxLength: 60 }), (blocks) => {
        const encoder = new HpackEncoder(4096);
        const decoder = new HpackDecoder(5_000, LIMITS);
        for (const { picks, size } of blocks) {
          if (size !== null) {
            encoder.peerTableBytes(size);
            decoder.tableSizeAcknowledged(size);
          }
          const sent = picks.map((pick) => pool[pick] as Field);
          const bytes = encode(encoder, sent);
          expect(decoder.decode(bytes, 0, bytes.length)).toBe(Decoded.OK);
          expect(text(decoder.fields)).toEqual(text(sent));
        }
      }),
      { numRuns: 150 },
    );
  });
});

describe('a field built by hand', () => {
  it.each([
    ['an upper-case name', 'X-a', 'b'],
    ['a line break in its value', 'a', 'b\r\nc: d'],
    ['a blank at the end of its value', 'a', 'b '],
    ['a character that is not latin1', 'a', '€'],
    ['a connection-specific name', 'connection', 'close'],
    ['an unknown pseudo-header name', ':x', 'y'],
  ])('is refused with %s', (_what, name, value) => {
    expect(() => field(name, value)).toThrow(TypeError);
  });
});
