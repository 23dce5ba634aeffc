import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { decodeStatusDetails } from '@gatehouse/contracts';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { findPythonWithGrpcio } from './support/python-with-grpcio.ts';
import { spiffe, startTestMesh, type TestMesh } from './support/test-mesh.ts';

const CLIENT = fileURLToPath(new URL('./support/interop_client.py', import.meta.url));

type Answer = { readonly text: string; readonly received: number; readonly payload: number };
type Failure = { readonly code: string; readonly details: string; readonly status: string };
type Results = {
  readonly [kind in 'unary' | 'large']: Answer;
} & {
  readonly [kind in 'denied' | 'late' | 'unknown']: Failure;
} & {
  readonly compressed: boolean;
  readonly serverStream: readonly string[];
  readonly clientStream: string;
  readonly bidi: readonly string[];
  readonly cancelled: string;
  readonly many: number;
};

const python = await findPythonWithGrpcio();
const missing = 'missing' in python ? python.missing : '';
if (missing !== '' && process.env['CI'] === 'true') throw new Error(missing);

describe.skipIf(missing !== '')(
  `grpcio as the caller, over mTLS${missing && ` (skipped: ${missing})`}`,
  () => {
    let mesh: TestMesh;
    let results: Results;
    beforeAll(async () => {
      mesh = await startTestMesh();
      await mesh.writeIdentity('stranger');
      const { file } = python as { file: string };
      const args = [CLIENT, mesh.inbound.inboundAddress ?? '', mesh.folder];
      const { stdout } = await promisify(execFile)(file, args, { timeout: 60_000 });
      results = JSON.parse(stdout) as Results;
    });
    afterAll(async () => {
      await mesh.stop();
    });

    test('makes unary calls, one after the other, large and compressed', () => {
      expect(results.unary.text).toBe('grüße');
      expect(results.large).toMatchObject({ received: 900_000, payload: 2_000_000 });
      expect(results.compressed).toBe(true);
      expect(results.many).toBe(200);
    });

    test('makes streaming calls of all three kinds', () => {
      expect(results.serverStream).toEqual(['s0', 's1', 's2', 's3', 's4']);
      expect(results.clientStream).toBe('abc');
      expect(results.bidi).toEqual(['a', 'b', 'c']);
    });

    test('reads a refusal with its details', () => {
      expect(results.denied.code).toBe('PERMISSION_DENIED');
      expect(results.denied.details).toContain(spiffe('stranger'));
      expect(decodeStatusDetails(Buffer.from(results.denied.status, 'hex')).errorInfo).toMatchObject({
        reason: 'NO_MATCHING_RULE',
        domain: 'gatehouse.dev',
      });
      expect(results.unknown.code).toBe('UNIMPLEMENTED');
    });

    test('has its deadlines kept and its cancellations passed on', () => {
      expect(results.late.code).toBe('DEADLINE_EXCEEDED');
      expect(results.cancelled).toBe('CANCELLED');
      expect(mesh.echo?.counts.cancelled).toBeGreaterThanOrEqual(2);
    });
  },
);
