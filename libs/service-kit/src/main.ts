/**
 * What a service's `main.ts` and its configuration use. Nothing here loads grpc-js, which has to wait until tracing
 * has started; the rest of a service imports `@gatehouse/service-kit`.
 */
import { readFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { ListenError } from '@gatehouse/sockets';
import { createLogger, type Logger, startMetrics, startTelemetry } from '@gatehouse/telemetry';
import type { z } from 'zod';
import { type CommonConfig, parseServiceConfig } from './config.ts';
import type { Service } from './edge.ts';
import { StartFailure } from './start-failure.ts';

export { type CommonConfig, commonConfig, listenAddress, parseServiceConfig } from './config.ts';
export { StartFailure } from './start-failure.ts';

/** What a service starts with. */
export interface StartDeps {
  readonly log: Logger;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

/** What a service consists of once it can answer. */
export interface ServiceParts {
  readonly services: readonly Service[];
  /** Is given the means to report a service's health by its full name, for a service that can become unable to answer. */
  readonly reportHealth?: (setServing: (serviceName: string, serving: boolean) => void) => void;
  /** Releases what was taken; called when no call is in flight any more. */
  close(): Promise<void>;
}

export interface ProgramOptions<Config extends CommonConfig> {
  /** The service's configuration: `commonConfig.extend({…})`. */
  readonly schema: z.ZodType<Config>;
  /**
   * Imports the rest of the program, which answers. It is imported late because tracing patches grpc-js while that
   * is being imported: nothing that `main.ts` imports itself may import grpc-js.
   */
  readonly load: () => Promise<{ start(config: Config, deps: StartDeps): Promise<ServiceParts> }>;
}

/**
 * The whole life of a service process, for `main.ts` alone: `--config FILE.yaml`, tracing, the server, a drain on
 * SIGTERM and SIGINT (at once on the second), exit code 0. A StartFailure or ListenError is printed and ends it with exit code 1.
 */
export async function runMain<Config extends CommonConfig>(options: ProgramOptions<Config>): Promise<void> {
  try {
    await run(options);
  } catch (error) {
    if (!(error instanceof StartFailure) && !(error instanceof ListenError)) throw error;
    process.stderr.write(`${error.message}\n`);
    process.exit(1);
  }
}

async function run<Config extends CommonConfig>({ schema, load }: ProgramOptions<Config>): Promise<void> {
  const config = parseServiceConfig(schema, ...(await readConfigFile()));
  const log = createLogger({ name: config.name, level: config.log.level });
  const telemetry = await startTelemetry({
    serviceName: config.name,
    ...config.telemetry,
    onExportFailure: (error) => log.warn({ cause: error.message }, 'spans cannot be exported'),
  });
  const kept = await startMetrics({ serviceName: config.name, listen: config.telemetry.metricsListen });
  const { startService } = await import('./server.ts');
  const { start } = await load();
  const parts = await start(config, { log, now: Date.now });
  const server = await startService({ config, services: parts.services, log, now: Date.now }).catch(
    async (error: unknown) => {
      await parts.close();
      throw error;
    },
  );
  parts.reportHealth?.(server.setServing);

  let stopAsked = false;
  const onSignal = (signal: NodeJS.Signals) => {
    log.info({ signal }, stopAsked ? 'stopping at once' : 'draining');
    const closed = stopAsked ? server.stop() : server.drain();
    if (stopAsked) return;
    stopAsked = true;
    void closed
      .then(() => parts.close())
      .then(() => Promise.all([telemetry.shutdown(), kept.shutdown()]))
      .then(
        () => process.exit(0),
        (error: unknown) => {
          log.error({ cause: String(error) }, 'stopping failed');
          process.exit(1);
        },
      );
  };
  process.on('SIGTERM', onSignal);
  process.on('SIGINT', onSignal);
  log.info({ address: server.address, metricsAddress: kept.address }, 'serving');
}

async function readConfigFile(): Promise<[yamlText: string, fileName: string]> {
  const file = configArgument();
  try {
    return [await readFile(file, 'utf8'), file];
  } catch (error) {
    throw new StartFailure(`cannot read the configuration ${file}: ${(error as NodeJS.ErrnoException).code}`);
  }
}

function configArgument(): string {
  try {
    const { config } = parseArgs({ options: { config: { type: 'string' } } }).values;
    if (config !== undefined) return config;
  } catch (error) {
    throw new StartFailure(`${(error as Error).message} (usage: --config FILE.yaml)`);
  }
  throw new StartFailure('usage: --config FILE.yaml');
}
