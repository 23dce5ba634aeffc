import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  generateSigningKey,
  readCheckpoint,
  readEntries,
  readVerifyingKey,
  verifyChain,
} from '../src/audit/index.ts';

const WRITER = fileURLToPath(new URL('./audit-writer/main.ts', import.meta.url));
const KILLS = Number(process.env['GATEHOUSE_KILLS'] ?? 6);
const MS_BEFORE_KILL_MAX = 60;

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'gh-kill-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Lets a writer run and kills it at a random moment. @returns how many records it said were on disk */
async function writeUntilKilled(args: readonly string[]): Promise<number> {
  const child = spawn(process.execPath, [WRITER, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  let [out, err] = ['', ''];
  child.stdout.on('data', (text: Buffer) => (out += text.toString()));
  child.stderr.on('data', (text: Buffer) => (err += text.toString()));
  const closed = once(child, 'close');
  await Promise.race([once(child.stdout, 'data'), closed]);
  await new Promise((resolve) => {
    setTimeout(resolve, Math.random() * MS_BEFORE_KILL_MAX);
  });
  child.kill('SIGKILL');
  const [code, signal] = (await closed) as [number | null, string | null];
  expect({ code, signal, err }).toEqual({ code: null, signal: 'SIGKILL', err: '' });
  return Number(out.trim().split('\n').at(-1) ?? 0);
}

test(
  'a writer that is killed at any moment, again and again, loses nothing that it had acknowledged',
  async () => {
    const { privatePem, publicPem } = generateSigningKey();
    const acknowledged: number[] = [];
    let torn = 0;
    for (let life = 0; life < KILLS; life++) {
      acknowledged.push(await writeUntilKilled([folder, String(life), privatePem]));
      const report = await verifyChain(folder);
      expect(report.problems).toEqual([]);
      if (report.torn !== null) torn += 1;
      const kept = new Map<string, number>();
      for await (const { content } of readEntries(folder)) {
        if (content.$case !== 'record') continue;
        const [of = '', number = ''] = content.value.decisionId.split('-');
        expect(Number(number)).toBe(kept.get(of) ?? 0);
        kept.set(of, Number(number) + 1);
      }
      for (const [of, count] of acknowledged.entries())
        expect(kept.get(String(of)) ?? 0).toBeGreaterThanOrEqual(count);
    }
    expect(Math.min(...acknowledged)).toBeGreaterThan(0);
    const key = readVerifyingKey(publicPem);
    if (typeof key === 'string') throw new Error(key);
    const jws = await readFile(join(folder, 'checkpoint.jws'), 'utf8').catch(() => null);
    if (jws !== null) {
      const checkpoint = await readCheckpoint(jws, key);
      if (typeof checkpoint === 'string') throw new Error(checkpoint);
      expect((await verifyChain(folder, { signed: [checkpoint] })).problems).toEqual([]);
    }
    console.info(`${KILLS} kills, ${torn} in the middle of a write, ${acknowledged.join(' ')} acknowledged`);
  },
  10_000 + KILLS * 4000,
);
