import { describe, expect, it } from 'vitest';
import { Decoded, HpackDecoder } from './hpack-decoder.ts';

const LIMITS = { headerListBytesMax: 65_536, headerFieldsMax: 200 };

function decode(decoder: HpackDecoder, hex: string): string[] | number {
  // The block stands inside a larger buffer, as it does in a read.
  const block = Buffer.from(`ffff${hex.replaceAll(' ', '')}ffff`, 'hex');
  const result = decoder.decode(block, 2, block.length - 2);
  return result === Decoded.OK ? decoder.fields.map((field) => `${field.name}: ${field.value}`) : result;
}

const requests = [
  [':method: GET', ':scheme: http', ':path: /', ':authority: www.example.com'],
  [':method: GET', ':scheme: http', ':path: /', ':authority: www.example.com', 'cache-control: no-cache'],
  [
    ':method: GET',
    ':scheme: https',
    ':path: /index.html',
    ':authority: www.example.com',
    'custom-key: custom-value',
  ],
];
const location = 'location: https://www.example.com';
const date = (second: number): string => `date: Mon, 21 Oct 2013 20:13:${second} GMT`;
const responses = [
  [':status: 302', 'cache-control: private', date(21), location],
  [':status: 307', 'cache-control: private', date(21), location],
  [
    ':status: 200',
    'cache-control: private',
    date(22),
    location,
    'content-encoding: gzip',
    'set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1',
  ],
];

describe('the decoder reads the examples of RFC 7541 Appendix C', () => {
  it.each([
    [
      'C.2.1',
      '400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572',
      ['custom-key: custom-header'],
    ],
    ['C.2.2', '040c 2f73 616d 706c 652f 7061 7468', [':path: /sample/path']],
    ['C.2.3', '1008 7061 7373 776f 7264 0673 6563 7265 74', ['password: secret']],
    ['C.2.4', '82', [':method: GET']],
  ])('%s', (_section, hex, fields) => {
    expect(decode(new HpackDecoder(4096, LIMITS), hex)).toEqual(fields);
  });

  it.each([
    [
      'C.3, requests',
      4096,
      requests,
      [
        '8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d',
        '8286 84be 5808 6e6f 2d63 6163 6865',
        '8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65',
      ],
    ],
    [
      'C.4, requests in Huffman code',
      4096,
      requests,
      [
        '8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff',
        '8286 84be 5886 a8eb 1064 9cbf',
        '8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf',
      ],
    ],
    [
      'C.5, responses with eviction',
      256,
      responses,
      [
        '4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d',
        '4803 3330 37c1 c0bf',
        '88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970 7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33 3630 303b 2076 6572 7369 6f6e 3d31',
      ],
    ],
    [
      'C.6, responses in Huffman code with eviction',
      256,
      responses,
      [
        '4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3',
        '4883 640e ffc1 c0bf',
        '88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07',
      ],
    ],
  ])('%s', (_section, tableBytes, expected, blocks) => {
    const decoder = new HpackDecoder(4096, LIMITS);
    // The examples of 256 bytes begin with an agreed table size; here a size update says it.
    const first = tableBytes === 256 ? `3fe101 ${blocks[0]}` : (blocks[0] as string);
    expect([first, ...blocks.slice(1)].map((hex) => decode(decoder, hex))).toEqual(expected);
  });
});

describe('the decoder refuses', () => {
  it.each([
    ['index 0', '80'],
    ['an index behind the table', 'be'],
    ['a name index behind the table', '7e 0161'],
    ['a block that ends inside an integer', 'ff'],
    ['a block that ends inside a name', '40 0561'],
    ['a block that ends before the value', '40 0161'],
    ['a block that ends inside a value', '40 0161 0561'],
    ['an integer of more than four continuation bytes', 'ff ffff ffff ffff 00'],
    ['a string longer than any block', '40 7f ffff ff7f'],
    ['a size update over the announced size', '3fe21f'],
    ['a size update after a field', '82 20'],
    ['Huffman padding of zeros', '40 0161 8118'],
    ['Huffman padding of eight bits', '40 0161 821f ff'],
    ['END_OF_STRING inside a Huffman string', '40 0161 84ff ffff ff'],
  ])('%s', (_what, hex) => {
    expect(decode(new HpackDecoder(4096, LIMITS), hex)).toBe(Decoded.INVALID);
  });

  it('a first block without the size update that a smaller acknowledged table demands', () => {
    const decoder = new HpackDecoder(100, LIMITS);
    expect(decode(decoder, '82')).toEqual([':method: GET']);
    decoder.tableSizeAcknowledged(100);
    expect(decode(decoder, '82')).toBe(Decoded.INVALID);
  });
});

describe('the decoder', () => {
  it('goes on with the table that a size update within the acknowledged size leaves', () => {
    const decoder = new HpackDecoder(100, LIMITS);
    expect(decode(decoder, '40 0161 0162 40 0163 0164')).toEqual(['a: b', 'c: d']);
    decoder.tableSizeAcknowledged(100);
    // 64 bytes keep one of the two entries of 34 bytes.
    expect(decode(decoder, '3f21 be')).toEqual(['c: d']);
    expect(decode(decoder, 'bf')).toBe(Decoded.INVALID);
  });

  it('empties the table for an entry larger than it', () => {
    const decoder = new HpackDecoder(4096, LIMITS);
    expect(decode(decoder, `3f0b 40 0161 0162 40 0a ${'63'.repeat(10)} 01 64`)).toEqual([
      'a: b',
      'cccccccccc: d',
    ]);
    expect(decode(decoder, 'be')).toBe(Decoded.INVALID);
  });

  it('calls a list over the size limit so, and keeps the table in step', () => {
    const decoder = new HpackDecoder(4096, { headerListBytesMax: 100, headerFieldsMax: 200 });
    expect(decode(decoder, '40 0161 0162 be be')).toBe(Decoded.OVER_LIMIT);
    expect(decode(decoder, 'be be')).toEqual(['a: b', 'a: b']);
  });

  it('calls a list over the field limit so', () => {
    const decoder = new HpackDecoder(4096, { headerListBytesMax: 65_536, headerFieldsMax: 3 });
    expect(decode(decoder, '82828282')).toBe(Decoded.OVER_LIMIT);
  });

  it('makes one object of a literal that comes twice, on any connection', () => {
    const first = new HpackDecoder(4096, LIMITS);
    const second = new HpackDecoder(4096, LIMITS);
    decode(first, '00 07 782d74776963 65 0162');
    decode(second, '40 07 782d74776963 65 0162');
    expect(second.fields[0]).toBe(first.fields[0]);
  });

  it('keeps never-indexed literals so, and shares no object for them', () => {
    const decoder = new HpackDecoder(4096, LIMITS);
    decode(decoder, '00 0161 0162');
    const plain = decoder.fields[0];
    decode(decoder, '10 0161 0162');
    expect(decoder.fields[0]?.neverIndex).toBe(true);
    expect(decoder.fields[0]).not.toBe(plain);
    decode(decoder, '00 0161 0162');
    expect(decoder.fields[0]?.neverIndex).toBe(false);
  });
});

describe('a block that comes again', () => {
  const added = (name: string): string => `40 01 ${Buffer.from(name).toString('hex')} 01 31`;

  it('means the same list, as one object, for as long as the table stays the same', () => {
    const decoder = new HpackDecoder(4096, LIMITS);
    decode(decoder, added('a'));
    expect(decode(decoder, 'be 88')).toEqual(['a: 1', ':status: 200']);
    const { fields } = decoder;
    expect(decode(decoder, 'be 88')).toEqual(['a: 1', ':status: 200']);
    expect(decoder.fields).toBe(fields);
    decode(decoder, added('b'));
    expect(decode(decoder, 'be 88')).toEqual(['b: 1', ':status: 200']);
    expect(decode(decoder, 'bf 88')).toEqual(['a: 1', ':status: 200']);
  });

  it('is invalid where its entry has gone, or where a smaller table was to be announced first', () => {
    const decoder = new HpackDecoder(4096, LIMITS);
    decode(decoder, added('a'));
    for (let i = 0; i < 2; i++) expect(decode(decoder, 'be')).toEqual(['a: 1']);
    decoder.tableSizeAcknowledged(100);
    expect(decode(decoder, 'be')).toBe(Decoded.INVALID);
    const other = new HpackDecoder(4096, LIMITS);
    decode(other, added('a'));
    for (let i = 0; i < 2; i++) expect(decode(other, 'be')).toEqual(['a: 1']);
    expect(decode(other, '20 88')).toEqual([':status: 200']);
    expect(decode(other, 'be')).toBe(Decoded.INVALID);
  });
});
