/** A real Jaeger that keeps spans in memory, and a real collector before it where a test asks for one. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { JaegerTrace } from '@gatehouse/local-mesh';
import { freePort } from '../../../../sidecar/test/conformance/support/free-port.ts';

const READY_MS_MAX = 30_000;
const STORED_MS_MAX = 30_000;
const POLL_MS = 200;

export type JaegerSpan = JaegerTrace['spans'][number];

export type Jaeger = {
  /** Where spans go, as `http://host:port`. */
  readonly otlpEndpoint: string;
  /** Of its query service. */
  readonly url: string;
  /** Waits until what is stored of a trace is enough. */
  stored(traceId: string, isWhole: (found: JaegerTrace) => boolean): Promise<JaegerTrace>;
  /** What is stored of a trace now; null where nothing is. */
  find(traceId: string): Promise<JaegerTrace | null>;
  stop(): Promise<void>;
};

/** @param tools the folder of the tool `jaeger` */
export async function startJaeger(tools: string): Promise<Jaeger> {
  const [otlp, query, admin] = [await freePort(), await freePort(), await freePort()];
  const url = `http://127.0.0.1:${query}`;
  const child = spawn(
    join(tools, 'all-in-one'),
    [
      `--collector.otlp.grpc.host-port=127.0.0.1:${otlp}`,
      `--query.http-server.host-port=127.0.0.1:${query}`,
      `--admin.http.host-port=127.0.0.1:${admin}`,
      ...['collector.otlp.http', 'collector.http-server', 'collector.grpc-server', 'query.grpc-server'].map(
        (name) => `--${name}.host-port=127.0.0.1:0`,
      ),
      '--log-level=error',
    ],
    { stdio: 'ignore', env: { SPAN_STORAGE_TYPE: 'memory', OTEL_TRACES_SAMPLER: 'always_off' } },
  );
  const find = async (traceId: string): Promise<JaegerTrace | null> => {
    const answer = await fetch(`${url}/api/traces/${traceId}`);
    if (!answer.ok) return null;
    return ((await answer.json()) as { readonly data: readonly JaegerTrace[] }).data[0] ?? null;
  };
  await poll(READY_MS_MAX, async () => (await fetch(`http://127.0.0.1:${admin}/`).catch(() => null))?.ok);
  return {
    otlpEndpoint: `http://127.0.0.1:${otlp}`,
    url,
    find,
    stored: async (traceId, isWhole) => {
      let found: JaegerTrace | null = null;
      await poll(STORED_MS_MAX, async () => {
        found = await find(traceId);
        return found !== null && isWhole(found);
      });
      return found as unknown as JaegerTrace;
    },
    stop: () => ended(child),
  };
}

export async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, 'exit');
  child.kill('SIGTERM');
  await exit;
}

export async function poll(msMax: number, isDone: () => Promise<boolean | undefined>): Promise<void> {
  const until = performance.now() + msMax;
  while (performance.now() < until) {
    if (await isDone()) return;
    await delay(POLL_MS);
  }
  throw new Error(`not done within ${msMax} ms`);
}

export function tagsOf({ tags }: JaegerSpan): Readonly<Record<string, unknown>> {
  return Object.fromEntries(tags.map(({ key, value }) => [key, value]));
}

/** What happened during a span: names of events, with what they say. */
export function eventsOf({ logs }: JaegerSpan): readonly Readonly<Record<string, unknown>>[] {
  return logs.map(({ fields }) => Object.fromEntries(fields.map(({ key, value }) => [key, value])));
}

export function serviceOf({ processes }: JaegerTrace, { processID }: JaegerSpan): string {
  return processes[processID]?.serviceName ?? '';
}
