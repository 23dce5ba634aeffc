import { isIP } from 'node:net';
import { formatProblem, readDocument } from '@gatehouse/documents';
import { checkOtlp, otlpKeys } from '@gatehouse/telemetry/otlp-config';
import { z } from 'zod';
import { StartFailure } from './start-failure.ts';

/** Linux keeps a Unix socket's path in 108 bytes, the closing zero included. */
const socketPathBytesMax = 107;

/** Where a service listens: `unix:/absolute/path.sock`, or `host:port` on the loopback (port 0: any free one). */
export const listenAddress = z.string().refine(isLocalAddress, {
  error: `expected unix:/absolute/path of at most ${socketPathBytesMax} bytes, or a loopback address such as 127.0.0.1:9000`,
});

const metricsAddress = z.string().refine((address) => isLocalAddress(address) || isNetworkAddress(address), {
  error: 'expected unix:/absolute/path, or an address such as 0.0.0.0:9465',
});

/** The part of the configuration that every service has. A service extends it with `.extend({…})`. */
export const commonConfig = z.strictObject({
  /** The service's name in logs and traces. */
  name: z.string().min(1),
  listen: listenAddress,
  /** How long calls in flight may go on after SIGTERM, in milliseconds. */
  drainMsMax: z.int().min(0).max(600_000).default(10_000),
  telemetry: z
    .strictObject({
      /** Takes spans. */
      ...otlpKeys,
      /** Where Prometheus reads `/metrics`: a Unix socket, or host:port. Absent: metrics are not kept. */
      metricsListen: metricsAddress.optional(),
      /** The part of traces begun here that is recorded; a caller's own choice wins. 0 to 1. */
      sampleRatio: z.number().min(0).max(1).default(1),
    })
    .superRefine(checkOtlp)
    .default({ sampleRatio: 1 }),
  log: z
    .strictObject({ level: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal']).default('info') })
    .default({ level: 'info' }),
});

export type CommonConfig = z.infer<typeof commonConfig>;

/**
 * Parses a service's YAML into a frozen configuration.
 * @throws StartFailure that names every wrong key with its value and the expected form
 */
export function parseServiceConfig<Config extends CommonConfig>(
  schema: z.ZodType<Config>,
  yamlText: string,
  fileName: string,
): Config {
  const read = readDocument(schema, yamlText, fileName);
  if ('problems' in read) throw new StartFailure(read.problems.map(formatProblem).join('\n'));
  return deepFreeze(read.value);
}

function isNetworkAddress(address: string): boolean {
  const match = /^(?:\[([0-9a-f:]+)\]|([0-9.]+)):(\d{1,5})$/.exec(address);
  return match !== null && isIP(match[1] ?? match[2] ?? '') > 0 && Number(match[3]) <= 65_535;
}

function isLocalAddress(address: string): boolean {
  if (address.startsWith('unix:')) {
    const path = address.slice('unix:'.length);
    return path.startsWith('/') && Buffer.byteLength(path) <= socketPathBytesMax;
  }
  const match = /^(?:\[([0-9a-f:]+)\]|([^:]+)):(\d{1,5})$/.exec(address);
  if (!match || Number(match[3]) > 65_535) return false;
  const host = match[1] ?? match[2] ?? '';
  return host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));
}

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null) {
    for (const inner of Object.values(value)) deepFreeze(inner);
    Object.freeze(value);
  }
  return value;
}
