import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { startRawCollector } from '../test/raw-collector.ts';

const TRACED_ECHO = fileURLToPath(new URL('../test/traced-echo.ts', import.meta.url));

function run(...args: string[]): Promise<{ stdout: string; stderr: string }> {
  return promisify(execFile)(process.execPath, [TRACED_ECHO, ...args], { timeout: 20_000 });
}

it('traces the grpc-js servers and clients of a process, under current names and without error texts', async () => {
  const collector = await startRawCollector();
  try {
    const { stdout, stderr } = await run(collector.endpoint);
    const exported = Buffer.concat(collector.exports).toString('latin1');
    for (const method of ['Echo', 'Repeat']) {
      // A server and a client span each, and each has the method as its name and as `rpc.method`.
      expect(exported.split(`test.Echo/${method}`).length - 1).toBe(4);
    }
    expect(exported).toContain('rpc.system.name');
    expect(exported).toContain('INVALID_ARGUMENT');
    expect(exported).not.toContain('rpc.grpc.status_code');
    expect(exported).not.toContain('secret');
    // Nor are the exports themselves traced.
    expect(exported).not.toContain('TraceService');
    expect(stderr).toBe('');
    const line = JSON.parse(stdout) as Record<string, string>;
    expect(exported).toContain(Buffer.from(line['trace_id'] ?? 'none', 'hex').toString('latin1'));
  } finally {
    collector.close();
  }
});

it('leaves everything alone without a collector', async () => {
  const { stdout } = await run();
  expect(JSON.parse(stdout)).not.toHaveProperty('trace_id');
});
