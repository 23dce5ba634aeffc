/** HPACK between our encoder and decoder and those of others, with tables that change their size and evict. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { type Field, field } from '../../src/http2/field.ts';
import { Decoded, HpackDecoder } from '../../src/http2/hpack-decoder.ts';
import { HpackEncoder } from '../../src/http2/hpack-encoder.ts';
import { OutputBuffer } from '../../src/http2/output-buffer.ts';
import { externalTool, finished } from './support/external-tool.ts';
import { freshSeed, Random } from './support/random.ts';

const PEER = fileURLToPath(new URL('support/hpack_peer.py', import.meta.url));
const LIMITS = { headerListBytesMax: 1_000_000, headerFieldsMax: 1_000 };
/** The most of a table that either side offers here. */
const TABLE_BYTES_MAX = 16_384;
const CONNECTIONS = 60;
const BLOCKS = 60;

const seed = freshSeed();
const VECTORS = process.env['GATEHOUSE_HPACK_VECTORS'];
const tool = await externalTool('python-hpack');

type Triple = readonly [name: string, value: string, sensitive: boolean];
/** A header block and, where it changes before it, the table's limit. */
type Block = { readonly size?: number; readonly fields: readonly Triple[] };

/** Lists of few names and more values than a table holds, some larger than the table itself. */
function someConnections(random: Random): Block[][] {
  const bytes = (count: number): string =>
    Array.from({ length: count }, () =>
      String.fromCharCode(random.pick([0x21, 0x61, 0x7e, 0xa1, 0xff])),
    ).join('');
  const pool = Array.from(
    { length: 80 },
    (_, i): Triple => [
      `x-name-${i % 11}`,
      `v${i}${bytes(random.below(i % 7 === 0 ? 900 : 40))}`,
      i % 13 === 0,
    ],
  );
  pool.push(
    ['content-type', 'application/grpc', false],
    [':status', '200', false],
    ['te', 'trailers', false],
  );
  pool.push(
    ['authorization', 'Bearer x', true],
    ['traceparent', '00-1-2-01', false],
    [':path', '/a.B/C', false],
  );
  return Array.from({ length: CONNECTIONS }, () =>
    Array.from({ length: BLOCKS }, (): Block => {
      const fields = Array.from({ length: random.below(10) }, () => random.pick(pool));
      return random.oneIn(6)
        ? { size: random.below(random.oneIn(2) ? 300 : TABLE_BYTES_MAX), fields }
        : { fields };
    }),
  );
}

/** The stories of one folder; where the test data lie is for the environment to say. */
function stories(folder: string): StoryCase[][] {
  const path = join(VECTORS ?? '', folder);
  return readdirSync(path)
    .filter((name) => name.endsWith('.json'))
    .map((name) => (JSON.parse(readFileSync(join(path, name), 'utf8')) as { cases: StoryCase[] }).cases);
}

type StoryCase = {
  readonly wire: string;
  /** The decoder's new limit, in force from this block on. */
  readonly header_table_size?: number | null;
  readonly headers: readonly Readonly<Record<string, string>>[];
};

function pairsOf({ headers }: StoryCase): [string, string][] {
  return headers.flatMap((each) => Object.entries(each));
}

function pairs({ fields }: Block): [string, string][] {
  return fields.map(([name, value]) => [name, value]);
}

/** Our encoder's blocks in hex. Each list is sent by the same Field objects, as on a connection. */
function encodeOurs(blocks: readonly Block[]): { size?: number; hex: string }[] {
  const encoder = new HpackEncoder(TABLE_BYTES_MAX);
  const shared = new Map<string, Field>();
  const fieldOf = ([name, value, neverIndex]: Triple): Field => {
    const key = JSON.stringify([name, value]);
    const known = shared.get(key) ?? field(name, value, { neverIndex });
    shared.set(key, known);
    return known;
  };
  return blocks.map(({ size, fields }) => {
    if (size !== undefined) encoder.peerTableBytes(size);
    const out = new OutputBuffer(new PassThrough(), { onOutputWritten() {} });
    encoder.write(out, fields.map(fieldOf));
    const hex = out.bytes.toString('hex', 0, out.length);
    return size === undefined ? { hex } : { size, hex };
  });
}

function decodeOurs(decoder: HpackDecoder, hex: string): [string, string][] {
  const bytes = Buffer.from(hex, 'hex');
  const outcome = decoder.decode(bytes, 0, bytes.length);
  if (outcome !== Decoded.OK) throw new Error(`a block decodes to ${outcome}: ${hex}`);
  return decoder.fields.map(({ name, value }) => [name, value]);
}

async function python<T>(job: object): Promise<T> {
  if ('missing' in tool) throw new Error(tool.missing);
  const env = { ...process.env, PYTHONPATH: tool.folder, PYTHONDONTWRITEBYTECODE: '1' };
  const { code, stdout, stderr } = await finished('python3', [PEER], undefined, {
    input: JSON.stringify(job),
    env,
    timeoutMs: 60_000,
  });
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  return JSON.parse(stdout) as T;
}

describe(`our HPACK and Python's (seed ${seed})`, () => {
  test('what our encoder writes, python-hpack reads', async (context) => {
    if ('missing' in tool) context.skip(tool.missing);
    const connections = someConnections(new Random(seed));
    const decoded = await python<[string, string][][][]>({
      do: 'decode',
      connections: connections.map(encodeOurs),
    });
    expect(decoded).toEqual(connections.map((blocks) => blocks.map(pairs)));
  });

  test('what python-hpack writes, our decoder reads, in Huffman code and without', async (context) => {
    if ('missing' in tool) context.skip(tool.missing);
    const connections = someConnections(new Random(seed ^ 1));
    const huffman = (index: number): boolean => index % 2 === 0;
    const encoded = await python<string[][]>({
      do: 'encode',
      connections: connections.map((blocks, at) => blocks.map((one) => ({ ...one, huffman: huffman(at) }))),
    });
    const decoded = connections.map((blocks, at) => {
      const decoder = new HpackDecoder(TABLE_BYTES_MAX, LIMITS);
      return blocks.map(({ size }, index) => {
        if (size !== undefined) decoder.tableSizeAcknowledged(size);
        return decodeOurs(decoder, encoded[at]?.[index] ?? '');
      });
    });
    expect(decoded).toEqual(connections.map((blocks) => blocks.map(pairs)));
  });

  test('the lists of the public vectors, written by our encoder, are read by python-hpack', async (context) => {
    if (VECTORS === undefined)
      return context.skip('GATEHOUSE_HPACK_VECTORS names no folder of hpack-test-case');
    if ('missing' in tool) return context.skip(tool.missing);
    const connections = stories('nghttp2-change-table-size').map((cases) =>
      cases.map((one): Block => {
        // Field takes what HTTP/2 allows; a few lists of the vectors hold more than that.
        const fields = pairsOf(one).filter(([name, value]) => isSendable(name, value));
        const triples = fields.map(([name, value]): Triple => [name, value, false]);
        const size = one.header_table_size;
        return typeof size === 'number' ? { size, fields: triples } : { fields: triples };
      }),
    );
    const decoded = await python<[string, string][][][]>({
      do: 'decode',
      connections: connections.map(encodeOurs),
    });
    expect(decoded).toEqual(connections.map((blocks) => blocks.map(pairs)));
  });
});

function isSendable(name: string, value: string): boolean {
  try {
    field(name, value);
    return true;
  } catch {
    return false;
  }
}

describe('our decoder reads the public HPACK vectors', () => {
  const folders =
    VECTORS === undefined
      ? []
      : readdirSync(VECTORS, { withFileTypes: true }).flatMap((one) => (one.isDirectory() ? [one.name] : []));

  test('whose folder GATEHOUSE_HPACK_VECTORS names', (context) => {
    if (VECTORS === undefined) context.skip('GATEHOUSE_HPACK_VECTORS names no folder of hpack-test-case');
    expect(folders).toContain('nghttp2-change-table-size');
  });

  test.each(folders)('of %s, taking each change of the table size when it is made', (folder) => {
    const read = stories(folder).map((cases) => {
      const decoder = new HpackDecoder(TABLE_BYTES_MAX, LIMITS);
      return cases.map((one) => {
        if (typeof one.header_table_size === 'number') decoder.tableSizeAcknowledged(one.header_table_size);
        return decodeOurs(decoder, one.wire);
      });
    });
    expect(read.flat().length).toBeGreaterThan(100);
    expect(read).toEqual(stories(folder).map((cases) => cases.map(pairsOf)));
  });
});
