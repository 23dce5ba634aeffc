import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';

const MEASURED = fileURLToPath(new URL('../test/measured.ts', import.meta.url));

async function run(...args: string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(process.execPath, [MEASURED, ...args], { timeout: 20_000 });
  return stdout;
}

it('lets Prometheus read what a process records, with the buckets that were advised, and nothing else', async () => {
  const lines = (await run('127.0.0.1:0')).split('\n');
  expect(lines).toContain('gen_ai_server_time_to_first_token_count{gen_ai_request_model="m"} 1');
  expect(lines).toContain('gen_ai_server_time_to_first_token_bucket{gen_ai_request_model="m",le="0.1"} 0');
  expect(lines).toContain('gen_ai_server_time_to_first_token_bucket{gen_ai_request_model="m",le="1"} 1');
  expect(lines).toContain('404');
});

it('keeps nothing where nobody can read it', async () => {
  expect((await run()).trim()).toMatch(/^\d+$/);
});
