import { execFile } from 'node:child_process';
import { constants, mkdir, mkdtemp, open, rename, rm, statfs, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { AuditRecord } from '@gatehouse/contracts/audit';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { mountSmallDisk } from '../../test/support/small-disk.ts';
import { AuditLog, type AuditLogLimits } from './audit-log.ts';
import { openAudit } from './open-audit.ts';
import { readEntries, type StoredEntry } from './read-entries.ts';
import { recoverChain } from './recover-chain.ts';
import { listSegments, segmentName } from './segments.ts';
import { verifyChain } from './verify-chain.ts';

const clock = (): number => performance.timeOrigin + performance.now();
/** A busy machine takes its time. */
const waitFor = <T>(check: () => T | Promise<T>): Promise<T> =>
  vi.waitFor(check, { timeout: 10_000, interval: 20 });
const LIMITS: AuditLogLimits = {
  segmentBytesMax: 1024 * 1024,
  segmentsKeptMax: null,
  recordsWaitingMax: 2000,
  groupMsMax: 2,
  writeMsMax: 5000,
  retryMs: 10,
};

let home: string;
beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'gh-audit-'));
});
afterAll(() => rm(home, { recursive: true, force: true }));

function record(decisionId: string, bytes = 0): AuditRecord {
  return AuditRecord.fromPartial({ decisionId, allowed: true, method: 'x'.repeat(bytes) });
}

async function openLog(folder: string, limits: Partial<AuditLogLimits> = {}) {
  await mkdir(folder, { recursive: true });
  const end = await recoverChain(folder, null);
  if ('problem' in end) throw new Error(end.problem);
  const said: string[] = [];
  const log = new AuditLog({
    folder,
    end,
    limits: { ...LIMITS, ...limits },
    clock,
    onFailing: (reason) => said.push(`failing: ${reason}`),
    onRecovered: (lost) => said.push(`recovered: ${lost.records} lost, ${lost.callsRefused} refused`),
    onWritten: () => {},
  });
  return { log, said };
}

async function stored(folder: string): Promise<StoredEntry[]> {
  const entries: StoredEntry[] = [];
  for await (const entry of readEntries(folder)) entries.push(entry);
  return entries;
}

async function storedIds(folder: string): Promise<string[]> {
  return (await stored(folder)).flatMap(({ content }) =>
    content.$case === 'record' ? [content.value.decisionId] : [],
  );
}

test('what comes in one turn goes to disk in one write, in its order', async () => {
  const folder = join(home, 'group');
  const { log } = await openLog(folder);
  for (let i = 0; i < 500; i++) log.append(record(`d-${i}`));
  expect(log.waiting).toBe(500);
  expect(await log.durable()).toBe(true);
  expect(await storedIds(folder)).toEqual(Array.from({ length: 500 }, (_, i) => `d-${i}`));
  expect(log.totals).toMatchObject({ written: 500, groups: 1, lost: 0 });
  await log.close();
});

test('a record that nobody waits for is on disk soon after', async () => {
  const folder = join(home, 'soon');
  const { log } = await openLog(folder);
  log.append(record('alone'));
  await waitFor(async () => expect(await storedIds(folder)).toEqual(['alone']));
  await log.close();
});

test('segments end at their size, and a chain over several of them goes on after a restart', async () => {
  const folder = join(home, 'rotate');
  for (let start = 0; start < 3; start++) {
    const { log } = await openLog(folder, { segmentBytesMax: 4096 });
    for (let i = 0; i < 30; i++) {
      log.append(record(`${start}-${i}`, 100));
      await log.durable();
    }
    await log.close();
  }
  expect((await listSegments(folder)).length).toBeGreaterThan(4);
  expect(await verifyChain(folder)).toMatchObject({
    entries: 90,
    lastSequence: 90,
    problems: [],
    torn: null,
  });
});

test('retention removes the oldest segments and says so in the chain: what else is gone is missing', async () => {
  const folder = join(home, 'retention');
  const { log } = await openLog(folder, { segmentBytesMax: 4096, segmentsKeptMax: 3 });
  for (let i = 0; i < 200; i++) {
    log.append(record(`${i}`, 100));
    await log.durable();
  }
  await log.close();
  const names = await listSegments(folder);
  expect(names).toHaveLength(3);
  expect(await verifyChain(folder)).toMatchObject({ problems: [] });
  const removed = (await stored(folder)).findLast(({ content }) => content.$case === 'removed');
  expect(removed?.content.value).toMatchObject({
    throughSequence: BigInt(Number(names[0]?.slice(8, 24)) - 1),
  });
  await rm(join(folder, names[0] as string));
  expect((await verifyChain(folder)).problems).toMatchObject([{ kind: 'missing' }]);
});

test('while writing fails records wait and are tried again; then all of them are there', async () => {
  const folder = join(home, 'fails');
  const { log, said } = await openLog(folder, { segmentBytesMax: 1 });
  log.append(record('before'));
  expect(await log.durable()).toBe(true);
  await rename(folder, `${folder}-away`);
  await writeFile(folder, 'in the way');
  log.append(record('during'));
  expect(await log.durable()).toBe(false);
  expect(log.failing).toMatch(/EEXIST|ENOTDIR/);
  expect(log.unavailableBecause).toBe(log.failing);
  expect(await log.durable()).toBe(false);
  log.callRefused();
  await rm(folder);
  await rename(`${folder}-away`, folder);
  await waitFor(() => expect(log.failing).toBe(null));
  expect(await log.durable()).toBe(true);
  expect(await storedIds(folder)).toEqual(['before', 'during']);
  expect((await stored(folder)).at(-1)?.content).toMatchObject({
    $case: 'lost',
    value: { records: 0n, callsRefused: 1n },
  });
  expect(said).toEqual([expect.stringMatching(/^failing: /), 'recovered: 0 lost, 1 refused']);
  expect((await verifyChain(folder)).problems).toEqual([]);
  await log.close();
});

test('more than may wait is dropped and counted where that is allowed, and kept where it is not', async () => {
  const folder = join(home, 'full-queue');
  const { log } = await openLog(folder, { recordsWaitingMax: 3 });
  for (let i = 0; i < 5; i++) log.append(record(`may-go-${i}`), true);
  expect(log.unavailableBecause).toBe('3 records wait for the disk');
  log.append(record('must-stay'));
  expect(await log.durable()).toBe(true);
  expect(log.unavailableBecause).toBe(null);
  await waitFor(async () =>
    expect((await stored(folder)).at(-1)?.content).toMatchObject({ $case: 'lost', value: { records: 2n } }),
  );
  expect(await storedIds(folder)).toEqual(['may-go-0', 'may-go-1', 'may-go-2', 'must-stay']);
  expect(log.totals).toMatchObject({ written: 4, lost: 2 });
  await log.close();
});

test('a disk that is really full loses nothing that was acknowledged, and is used again', async ({
  skip,
}) => {
  const folder = join(home, 'disk');
  const disk = await mountSmallDisk(folder, 1024);
  if (disk === null) return skip('mounting a file system takes privileges');
  try {
    await writeFile(join(folder, 'filler'), Buffer.alloc(100_000));
    const { log, said } = await openLog(folder, { segmentBytesMax: 200_000 });
    const acknowledged: string[] = [];
    for (let i = 0; log.failing === null; i++) {
      log.append(record(`d-${i}`, 3000));
      if (await log.durable()) acknowledged.push(`d-${i}`);
    }
    expect(log.failing).toMatch(/ENOSPC/);
    expect((await statfs(folder)).bavail).toBe(0);
    expect(acknowledged.length).toBeGreaterThan(250);
    expect((await verifyChain(folder)).problems).toEqual([]);
    await disk.free();
    await waitFor(() => expect(log.failing).toBe(null));
    log.append(record('after'));
    expect(await log.durable()).toBe(true);
    await log.close();
    const ids = await storedIds(folder);
    expect(ids.slice(0, acknowledged.length)).toEqual(acknowledged);
    expect(ids.slice(acknowledged.length)).toEqual([`d-${acknowledged.length}`, 'after']);
    expect(await verifyChain(folder)).toMatchObject({ problems: [], torn: null });
    expect(said).toHaveLength(2);
  } finally {
    await disk.unmount();
  }
});

test('a write that hangs counts as one that fails, and nobody waits for it', async () => {
  const folder = join(home, 'hangs');
  const { log, said } = await openLog(folder, { segmentBytesMax: 1, writeMsMax: 500 });
  log.append(record('before'));
  expect(await log.durable()).toBe(true);
  // To open a FIFO for writing takes as long as nobody reads from it.
  const fifo = join(folder, segmentName(2));
  await promisify(execFile)('mkfifo', [fifo]);
  log.append(record('hangs'));
  expect(await log.durable()).toBe(false);
  expect(log.failing).toBe('a write takes more than 500 ms');
  expect(said).toEqual(['failing: a write takes more than 500 ms']);
  await log.close();
  expect(log.totals).toMatchObject({ written: 1, lost: 1 });
  await (await open(fifo, constants.O_RDONLY | constants.O_NONBLOCK)).close();
});

test('a folder has one writer, and is free when that has closed', async () => {
  const folder = join(home, 'lock');
  const options = {
    folder,
    limits: LIMITS,
    clock,
    signing: null,
    workload: 'w',
    policyVersion: 'p',
    onBroken: 'refuse' as const,
    onFailing: () => {},
    onRecovered: () => {},
    onWritten: () => {},
  };
  const first = await openAudit(options);
  if ('problem' in first) throw new Error(first.problem);
  if (process.platform === 'linux') {
    expect(await openAudit(options)).toEqual({
      problem: `${folder}: expected a folder of its own; another sidecar writes there`,
    });
  }
  await first.close();
  const second = await openAudit(options);
  expect(second).not.toHaveProperty('problem');
  if (!('problem' in second)) await second.close();
});

test('a broken chain is refused at the start, or set aside whole where policy lets calls go on', async () => {
  const folder = join(home, 'broken');
  const { log } = await openLog(folder);
  for (let i = 0; i < 10; i++) {
    log.append(record(`${i}`));
    await log.durable();
  }
  await log.close();
  const [name] = (await listSegments(folder)) as [string];
  await writeFile(join(folder, name), 'X', { flag: 'r+' });
  const options = {
    folder,
    limits: LIMITS,
    clock,
    signing: null,
    workload: 'w',
    policyVersion: 'p',
    onFailing: () => {},
    onRecovered: () => {},
    onWritten: () => {},
  };
  expect(await openAudit({ ...options, onBroken: 'refuse' })).toEqual({
    problem: `${join(folder, name)}: entry 1 unreadable (${name}, offset 0); expected a whole entry that follows the one before it`,
  });
  const opened = await openAudit({ ...options, onBroken: 'set-aside' });
  if ('problem' in opened) throw new Error(opened.problem);
  await opened.close();
  expect(opened.setAside).toMatch(/^broken-.*entry 1 unreadable/);
  const entries = await stored(folder);
  expect(entries.map(({ content }) => content)).toMatchObject([
    { $case: 'opened', value: { setAside: opened.setAside } },
  ]);
  const aside = join(folder, opened.setAside.split(':')[0] as string);
  expect((await stored(aside)).length).toBe(9);
});
