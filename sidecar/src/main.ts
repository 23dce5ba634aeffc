import { readFile } from 'node:fs/promises';
import { performance } from 'node:perf_hooks';
import { parseArgs } from 'node:util';
import { formatProblem } from '@gatehouse/documents';
import { ListenError } from '@gatehouse/sockets';
import { createLogger } from '@gatehouse/telemetry/logger';
import { parseConfig } from './config/parse.ts';
import { startSidecar } from './sidecar.ts';
import { StartFailure } from './start-failure.ts';

/** Monotonic, and close to the wall clock: what is measured never goes back when the clock is set. */
const startedAtMs = performance.timeOrigin;
const clock = (): number => startedAtMs + performance.now();

function fail(lines: readonly string[]): never {
  for (const line of lines) process.stderr.write(`sidecar: ${line}\n`);
  process.exit(1);
}

function readArguments(): string {
  try {
    const { values } = parseArgs({ options: { config: { type: 'string' } } });
    return values.config ?? fail(['expected --config FILE']);
  } catch (error) {
    return fail([(error as Error).message]);
  }
}

async function readConfig() {
  const file = readArguments();
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) =>
    fail([`${file} cannot be read: ${error.message}`]),
  );
  const parsed = parseConfig(text, file);
  return 'problems' in parsed ? fail(parsed.problems.map(formatProblem)) : parsed.config;
}

const config = await readConfig();
const logger = createLogger({ name: `${config.name}-sidecar`, level: config.log.level });
try {
  const sidecar = await startSidecar(config, clock, logger);
  const { inboundAddress, egressAddress, telemetryAddress, adminAddress } = sidecar;
  logger.info({ inboundAddress, egressAddress, telemetryAddress, adminAddress }, 'sidecar started');
  let draining = false;
  const drain = (signal: string): void => {
    if (draining) return;
    draining = true;
    logger.info({ signal }, 'draining');
    void sidecar.drain().then(() => process.exit(0));
  };
  for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, drain);
} catch (error) {
  if (error instanceof StartFailure) fail(error.problems);
  if (error instanceof ListenError) fail([error.message]);
  throw error;
}
