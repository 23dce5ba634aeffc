import { setTimeout as delay } from 'node:timers/promises';
import { status } from '@grpc/grpc-js';
import { type EchoClientType, run } from '../support/calls.ts';

const TICK_MS = 10;
const TRIAL_MS = 3_000;
const CALLERS = 64;
const CHURN_MS = 500;
const CALL_MS_MAX = 20_000;

export type Load = {
  calls: number;
  readonly failures: string[];
  /** One call more, which counts. */
  call(client: EchoClientType): Promise<void>;
  /** Resolves when the last call has ended. */
  stop(): Promise<void>;
};

/** Calls a second with as many callers as fill the path. */
export async function largestRate(open: () => EchoClientType): Promise<number> {
  const client = open();
  const endsAtMs = performance.now() + TRIAL_MS;
  let calls = 0;
  const caller = async (): Promise<void> => {
    while (performance.now() < endsAtMs) {
      await run(client, 'unary', [{ text: 'x' }]);
      calls++;
    }
  };
  await Promise.all(Array.from({ length: CALLERS }, caller));
  client.close();
  return calls / (TRIAL_MS / 1000);
}

/** Begins calls at a rate, whether or not the ones before have ended. */
export function startLoad(client: EchoClientType, perSecond: number): Load {
  const open = new Set<Promise<void>>();
  let running = true;
  const load: Load = {
    calls: 0,
    failures: [],
    call: async (by) => {
      const ended = await run(by, 'unary', [{ text: 'x' }], { timeoutMs: CALL_MS_MAX });
      load.calls++;
      if (ended.code !== status.OK) load.failures.push(`${status[ended.code]} ${ended.message}`);
    },
    stop: async () => {
      running = false;
      await loop;
      await Promise.all(open);
    },
  };
  const loop = (async () => {
    let begun = 0;
    const startedAtMs = performance.now();
    while (running) {
      const due = ((performance.now() - startedAtMs) / 1000) * perSecond;
      for (; begun < due; begun++) {
        const call = load.call(client);
        open.add(call);
        void call.finally(() => open.delete(call));
      }
      await delay(TICK_MS);
    }
  })();
  return load;
}

/** Connections to both sidecars that come, make a call, and go. @returns what ends it */
export function churn(
  openInbound: () => Promise<EchoClientType>,
  openEgress: () => EchoClientType,
  load: Load,
): () => Promise<void> {
  let running = true;
  const loop = (async () => {
    while (running) {
      const clients = [await openInbound(), openEgress()];
      await Promise.all(clients.map((client) => load.call(client)));
      for (const client of clients) client.close();
      await delay(CHURN_MS);
    }
  })();
  return async () => {
    running = false;
    await loop;
  };
}
