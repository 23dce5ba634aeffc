import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { stringify } from 'yaml';
import { ensureDebianProgram } from '../../../libs/tooling/src/external-tools/ensure-debian-program.ts';
import { ToolUnavailable } from '../../../libs/tooling/src/external-tools/ensure-tool.ts';

const READY_MS_MAX = 20_000;
const POLL_MS = 100;
/** Exemplars are asked for from so long ago until then. */
const EXEMPLARS_SECONDS = 600;

/** What a query gave: the samples of an instant vector. */
type Sample = {
  readonly metric: Readonly<Record<string, string>>;
  readonly value: readonly [number, string];
};

/** What leads from a bucket of a histogram to a trace. */
type Exemplar = {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: string;
  /** Seconds since 1970. */
  readonly timestamp: number;
};

export type Prometheus = {
  /** Of its HTTP API. */
  readonly url: string;
  /** @throws Error with Prometheus' own words when it can't be evaluated */
  query(expression: string): Promise<readonly Sample[]>;
  /** The exemplars of the series that an expression selects, of the last minutes. */
  exemplars(expression: string): Promise<readonly Exemplar[]>;
  stop(): Promise<void>;
};

/** Null where Prometheus can't be had; on a machine that sets CI, where that would go unseen, it is an error. */
export async function ensurePrometheus(): Promise<string | null> {
  const onProgress = (line: string) => process.stderr.write(`  ${line}\n`);
  try {
    return await ensureDebianProgram('prometheus', { env: process.env, onProgress });
  } catch (error) {
    if (!(error instanceof ToolUnavailable) || process.env['CI']) throw error;
    process.stderr.write(`not run: ${error.message}\n`);
    return null;
  }
}

/** A real Prometheus that scrapes these addresses every second, under the job names that they are given by. */
export async function startPrometheus(
  program: string,
  targets: Readonly<Record<string, string>>,
): Promise<Prometheus> {
  const folder = await mkdtemp(join(tmpdir(), 'gh-prometheus-'));
  const config = join(folder, 'prometheus.yml');
  await writeFile(
    config,
    stringify({
      global: { scrape_interval: '1s', scrape_timeout: '1s', evaluation_interval: '1s' },
      scrape_configs: Object.entries(targets).map(([job, address]) => ({
        job_name: job,
        static_configs: [{ targets: [address] }],
      })),
    }),
  );
  const listen = `127.0.0.1:${await freePort()}`;
  const child = spawn(
    program,
    [
      `--config.file=${config}`,
      `--storage.tsdb.path=${join(folder, 'data')}`,
      `--web.listen-address=${listen}`,
      '--enable-feature=exemplar-storage',
      '--log.level=error',
    ],
    { stdio: ['ignore', 'ignore', 'inherit'] },
  );
  await waitUntilReady(child, `http://${listen}/-/ready`);
  const ask = async <Data>(path: string, parameters: Readonly<Record<string, string>>): Promise<Data> => {
    const url = new URL(`http://${listen}/api/v1/${path}`);
    url.search = new URLSearchParams(parameters).toString();
    const answer = (await (await fetch(url)).json()) as {
      readonly status: string;
      readonly error?: string;
      readonly data: Data;
    };
    if (answer.status !== 'success') throw new Error(`${parameters['query']}: ${answer.error ?? 'refused'}`);
    return answer.data;
  };
  return {
    url: `http://${listen}`,
    query: async (query) => (await ask<{ readonly result: readonly Sample[] }>('query', { query })).result,
    exemplars: async (query) => {
      const [start, end] = [-EXEMPLARS_SECONDS, EXEMPLARS_SECONDS].map((seconds) =>
        String(Math.round(Date.now() / 1000) + seconds),
      ) as [string, string];
      const found = await ask<readonly { readonly exemplars: readonly Exemplar[] }[]>('query_exemplars', {
        query,
        start,
        end,
      });
      return found.flatMap(({ exemplars }) => exemplars);
    },
    stop: async () => {
      const ended = child.exitCode === null ? once(child, 'exit') : null;
      child.kill('SIGTERM');
      await ended;
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function waitUntilReady(child: ChildProcess, url: string): Promise<void> {
  const until = performance.now() + READY_MS_MAX;
  while (performance.now() < until) {
    if (child.exitCode !== null) throw new Error(`prometheus ended with ${child.exitCode}`);
    const isReady = await fetch(url).then(
      ({ ok }) => ok,
      () => false,
    );
    if (isReady) return;
    await delay(POLL_MS);
  }
  child.kill('SIGKILL');
  throw new Error(`prometheus was not ready within ${READY_MS_MAX} ms`);
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  if (address === null || typeof address === 'string') throw new Error('the server has no port');
  return address.port;
}
