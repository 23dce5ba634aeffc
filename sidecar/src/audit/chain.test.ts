import {
  appendFile,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
  truncate,
  unlink,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AuditEntry } from '@gatehouse/contracts/audit';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { ChainPoint } from './chain-scan.ts';
import { readFrame } from './frame.ts';
import { recoverChain } from './recover-chain.ts';
import { SegmentWriter } from './segment-writer.ts';
import { segmentName } from './segments.ts';
import { formatChainProblem, verifyChain } from './verify-chain.ts';

const SEED = Number(process.env['GATEHOUSE_SEED'] ?? 20_261_122);
const RUNS = Number(process.env['GATEHOUSE_RUNS'] ?? 150);
const NEW = { segments: [], bytes: 0, point: null, tornBytes: 0 };

let home: string;
beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'gh-chain-'));
});
afterAll(() => rm(home, { recursive: true, force: true }));

function entryOf(workload: string): Uint8Array {
  const value = { workload, policyVersion: '', tornBytes: 0, setAside: '' };
  return AuditEntry.encode({ content: { $case: 'opened', value } }).finish();
}

type Files = ReadonlyMap<string, Buffer>;
type Place = { readonly segment: string; readonly offset: number; readonly bytes: number };

/** A chain of 40 entries of growing length in segments of about ten, written three at a time. */
async function writeChain(): Promise<{ folder: string; files: Files; end: ChainPoint; places: Place[] }> {
  const folder = await mkdtemp(join(home, 'c-'));
  const writer = new SegmentWriter(folder, 1300, NEW);
  for (let i = 0; i < 40; i += 4)
    await writer.write([0, 1, 2, 3].map((more) => entryOf('x'.repeat(10 + i + more))));
  await writer.close();
  const files = await readAll(folder);
  const places: Place[] = [];
  for (const [segment, data] of files) {
    for (let offset = 0; offset < data.length; ) {
      const frame = readFrame(data, offset);
      if (typeof frame === 'string') throw new Error(frame);
      places.push({ segment, offset, bytes: frame.bytes });
      offset += frame.bytes;
    }
  }
  return { folder, files, end: writer.point as ChainPoint, places };
}

async function readAll(folder: string): Promise<Files> {
  const files = new Map<string, Buffer>();
  for (const name of (await readdir(folder)).toSorted()) files.set(name, await readFile(join(folder, name)));
  return files;
}

async function restore(folder: string, files: Files): Promise<void> {
  for (const name of await readdir(folder)) if (!files.has(name)) await unlink(join(folder, name));
  for (const [name, data] of files) await writeFile(join(folder, name), data);
}

/** What verify says, as sentences. */
async function complaints(folder: string, signed: readonly ChainPoint[] = []): Promise<string[]> {
  return (await verifyChain(folder, { signed })).problems.map(formatChainProblem);
}

test('a chain that nobody touched verifies, over several segments', async () => {
  const { folder, files, end } = await writeChain();
  expect(files.size).toBeGreaterThan(2);
  const report = await verifyChain(folder, { signed: [end] });
  expect(report).toEqual({
    segments: files.size,
    entries: 40,
    lastSequence: 40,
    problems: [],
    problemsLeftOut: 0,
    torn: null,
  });
});

test('any one bit that is flipped, anywhere, is found and told with its entry', async () => {
  const { folder, files, end, places } = await writeChain();
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 0, max: places.length - 1 }),
      fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
      fc.integer({ min: 0, max: 7 }),
      async (index, part, bit) => {
        const { segment, offset, bytes } = places[index] as Place;
        const data = Buffer.from(files.get(segment) as Buffer);
        const at = offset + Math.floor(part * bytes);
        data[at] = (data[at] as number) ^ (1 << bit);
        await writeFile(join(folder, segment), data);
        const { problems } = await verifyChain(folder, { signed: [end] });
        await writeFile(join(folder, segment), files.get(segment) as Buffer);
        expect(problems[0]).toMatchObject({
          segment,
          offset,
          sequence: index + 1,
          throughSequence: index + 1,
        });
      },
    ),
    { seed: SEED, numRuns: RUNS },
  );
});

test('any entries that are removed are found and told by number', async () => {
  const { folder, files, end, places } = await writeChain();
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 0, max: 39 }), fc.integer({ min: 1, max: 3 }), async (from, count) => {
      const gone = places.slice(from, from + count);
      const data = new Map<string, Buffer>();
      for (const [name, whole] of files) {
        const kept = places
          .filter((place) => place.segment === name && !gone.includes(place))
          .map(({ offset, bytes }) => whole.subarray(offset, offset + bytes));
        data.set(name, Buffer.concat(kept));
      }
      await restore(folder, data);
      const { problems } = await verifyChain(folder, { signed: [end] });
      expect(problems).toContainEqual(
        expect.objectContaining({ kind: 'missing', sequence: from + 1, throughSequence: from + gone.length }),
      );
      await restore(folder, files);
    }),
    { seed: SEED, numRuns: 60 },
  );
});

test('two entries that change places are found, and both are told', async () => {
  const { folder, files, end, places } = await writeChain();
  await fc.assert(
    fc.asyncProperty(
      fc.uniqueArray(fc.integer({ min: 0, max: 39 }), { minLength: 2, maxLength: 2 }),
      async (two) => {
        const [first, second] = two.toSorted((a, b) => a - b) as [number, number];
        const order = places.map((_, at) => (at === first ? second : at === second ? first : at));
        const data = new Map([...files.keys()].map((name) => [name, [] as Buffer[]]));
        for (const [at, { segment }] of places.entries()) {
          const { segment: from, offset, bytes } = places[order[at] as number] as Place;
          data.get(segment)?.push((files.get(from) as Buffer).subarray(offset, offset + bytes));
        }
        await restore(folder, new Map([...data].map(([name, parts]) => [name, Buffer.concat(parts)])));
        const { problems } = await verifyChain(folder, { signed: [end] });
        expect(problems.map(({ kind, sequence }) => `${kind} ${sequence}`)).toContain(
          `out-of-order ${first + 1}`,
        );
        expect(problems.length).toBeGreaterThan(0);
        await restore(folder, files);
      },
    ),
    { seed: SEED, numRuns: 60 },
  );
});

test('an end that is cut off at any byte is found with the checkpoint, and told by number', async () => {
  const { folder, files, end, places } = await writeChain();
  await fc.assert(
    fc.asyncProperty(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), async (part) => {
      const total = places.reduce((sum, { bytes }) => sum + bytes, 0);
      let left = Math.floor(part * total);
      let whole = 0;
      const data = new Map<string, Buffer>();
      for (const [name, all] of files) {
        const kept = all.subarray(0, Math.max(0, left));
        left -= all.length;
        if (kept.length > 0) data.set(name, kept);
        whole += places.filter(
          (place) => place.segment === name && place.offset + place.bytes <= kept.length,
        ).length;
      }
      await restore(folder, data);
      const { problems } = await verifyChain(folder, { signed: [end] });
      expect(problems.at(-1)).toMatchObject({ kind: 'missing', sequence: whole + 1, throughSequence: 40 });
      await restore(folder, files);
    }),
    { seed: SEED, numRuns: 100 },
  );
});

test('segments that are removed, renamed, swapped or given foreign bytes are told', async () => {
  const { folder, files, end } = await writeChain();
  const [first, second, third] = [...files.keys()] as [string, string, string];
  const [from, next] = [Number(second.slice(8, 24)), Number(third.slice(8, 24))];
  await unlink(join(folder, second));
  expect(await complaints(folder, [end])).toEqual([
    `entries ${from} to ${next - 1} missing (${third}, offset 0)`,
  ]);
  await restore(folder, files);
  await unlink(join(folder, first));
  expect(await complaints(folder, [end])).toEqual([`entries 1 to ${from - 1} missing (${second}, offset 0)`]);
  await restore(folder, files);
  await rename(join(folder, second), join(folder, segmentName(from + 1)));
  expect(await complaints(folder, [end])).toEqual([
    `entry ${from} in a segment of another name (${segmentName(from + 1)}, offset 0)`,
  ]);
  await restore(folder, files);
  await appendFile(join(folder, first), 'foreign');
  expect((await complaints(folder, [end]))[0]).toMatch(`entry ${from} preceded by foreign bytes (${first}`);
  await restore(folder, files);
  for (const name of files.keys()) await unlink(join(folder, name));
  expect(await complaints(folder, [end])).toEqual(['entries 1 to 40 missing (the folder has no segment)']);
});

test('a chain that was written anew from an entry on verifies by itself, and not against the checkpoint', async () => {
  const { folder, end, places } = await writeChain();
  const last = places.at(-1) as Place;
  await truncate(join(folder, last.segment), last.offset);
  const chain = await recoverChain(folder, null);
  if ('problem' in chain) throw new Error(chain.problem);
  const writer = new SegmentWriter(folder, 1300, chain);
  await writer.write([entryOf('forged')]);
  await writer.close();
  expect(await complaints(folder)).toEqual([]);
  expect(await complaints(folder, [end])).toEqual([
    expect.stringMatching(/^entry 40 not the one that was signed/),
  ]);
});

test('an unfinished write at the end is cut off at whatever byte it ended, and the chain goes on', async () => {
  const { folder, files, places } = await writeChain();
  const last = [...files.keys()].at(-1) as string;
  const whole = files.get(last) as Buffer;
  // The last four entries are one group: none of them is known to be on disk.
  const group = places.slice(-4).map(({ offset }) => offset);
  for (let bytes = (group[0] as number) + 1; bytes < whole.length; bytes += 23) {
    await restore(folder, new Map([...files, [last, whole.subarray(0, bytes)]]));
    const chain = await recoverChain(folder, null);
    if ('problem' in chain) throw new Error(chain.problem);
    const kept = group.filter((_, at) => (group[at + 1] ?? whole.length) <= bytes).length;
    expect(chain.point?.sequence).toBe(36 + kept);
    const writer = new SegmentWriter(folder, 1300, chain);
    await writer.write([entryOf('goes on')]);
    await writer.close();
    expect(await complaints(folder)).toEqual([]);
  }
});

test('damage to what was on disk is refused at the start and named, never cut off', async () => {
  const { folder, files, places } = await writeChain();
  for (const index of [0, 7, 20, 33, 35]) {
    const { segment, offset } = places[index] as Place;
    for (const at of [offset, offset + 5, offset + 60]) {
      const data = Buffer.from(files.get(segment) as Buffer);
      data[at] = (data[at] as number) ^ 0xff;
      await restore(folder, new Map([...files, [segment, data]]));
      const chain = await recoverChain(folder, null);
      expect(chain).toEqual({
        problem: expect.stringContaining(`${join(folder, segment)}: entry ${index + 1} `) as string,
      });
      expect(chain).toEqual({ problem: expect.stringContaining(`offset ${offset})`) as string });
    }
  }
  expect(await readAll(folder)).not.toEqual(files);
});

test('an end that the last checkpoint signed is not taken for an unfinished write', async () => {
  const { folder, end, places } = await writeChain();
  const last = places.at(-1) as Place;
  await truncate(join(folder, last.segment), last.offset + 10);
  expect(await recoverChain(folder, null)).toMatchObject({ tornBytes: 10 });
  expect(await recoverChain(folder, end)).toEqual({
    problem: expect.stringContaining('entry 40 missing') as string,
  });
});
