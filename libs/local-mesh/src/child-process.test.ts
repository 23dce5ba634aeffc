import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { until } from '../test/until.ts';
import { type Child, lastLines, startChild } from './child-process.ts';

let folder: string;
let logFile: string;
const started: Child[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'child-'));
  logFile = join(folder, 'child.log');
});

afterEach(async () => {
  await Promise.all(started.splice(0).map((child) => child.stop(0)));
  await rm(folder, { recursive: true, force: true });
});

const POLITE = fileURLToPath(new URL('../test/polite.ts', import.meta.url));
const STUBBORN = fileURLToPath(new URL('../test/stubborn.ts', import.meta.url));
const PARENT = fileURLToPath(new URL('../test/parent.ts', import.meta.url));

async function startFixture(program: string): Promise<Child> {
  const child = await startChild({ name: 'fixture', program: [program], cwd: folder, env: {}, logFile });
  started.push(child);
  await until(async () => (await lastLines(logFile, 1))[0] !== '');
  return child;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

describe('startChild', () => {
  it('lets a process end in order and keeps what it wrote', async () => {
    const child = await startFixture(POLITE);
    expect(await child.stop(10_000)).toMatchObject({ name: 'fixture', how: 'exit code 0' });
    expect(await lastLines(logFile, 2)).toEqual(['up', 'ended in order']);
  });

  it('kills a process that does not end within its grace', async () => {
    const child = await startFixture(STUBBORN);
    expect(await child.stop(100)).toMatchObject({ how: 'signal SIGKILL' });
    expect(isAlive(child.pid)).toBe(false);
  });

  it('says how a process ended by itself, and why', async () => {
    const child = await startChild({
      name: 'missing',
      program: ['no-such-program.ts'],
      cwd: folder,
      env: {},
      logFile,
    });
    expect(await child.exited).toMatchObject({ name: 'missing', how: 'exit code 1', logFile });
    expect((await lastLines(logFile, 20)).join('\n')).toContain('no-such-program.ts');
  });

  it('leaves no process behind when the one that started it is killed', async () => {
    const parent = spawn(process.execPath, [PARENT, logFile], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [said] = (await once(parent.stdout, 'data')) as [Buffer];
    const pid = Number(said.toString());
    expect(isAlive(pid)).toBe(true);
    await until(async () => (await lastLines(logFile, 1))[0] === 'up');
    parent.kill('SIGKILL');
    await until(() => !isAlive(pid));
    expect(await lastLines(logFile, 1)).toEqual(['ended in order']);
  });
});
