import { setTimeout as delay } from 'node:timers/promises';
import { status } from '@grpc/grpc-js';
import { type CallKind, type EchoClientType, run } from '../support/calls.ts';

const TICK_MS = 10;
const CALL_MS_MAX = 3_000;
/** A stream lives through what happens for half a second. */
const STREAM = { count: 25, delayMs: 20 };

/** `unary` is not safe to repeat, `repeatable` is. */
export type LoadKind = Extract<CallKind, 'unary' | 'serverStream'> | 'repeatable';

export type CallResult = {
  readonly kind: LoadKind;
  readonly startedAtMs: number;
  readonly endedAtMs: number;
  /** Empty when it went well. */
  readonly failure: string;
  /** The response had begun, so that the call is not tried again, safe to repeat or not. */
  readonly hadHead: boolean;
};

export type LoadRates = Readonly<Record<LoadKind, number>>;

/** Calls of each kind at a constant rate, whether or not those before have ended. */
export class ConstantLoad {
  readonly results: CallResult[] = [];
  /** Whom the next calls go through. */
  client: EchoClientType;
  readonly #open = new Set<Promise<void>>();
  readonly #loops: Promise<void>[];
  #running = true;

  constructor(client: EchoClientType, rates: LoadRates) {
    this.client = client;
    this.#loops = Object.entries(rates).map(([kind, rate]) => this.#loop(kind as LoadKind, rate));
  }

  /** Resolves when every call that is open now has ended. */
  async quiet(): Promise<void> {
    await Promise.all(this.#open);
  }

  async stop(): Promise<void> {
    this.#running = false;
    await Promise.all(this.#loops);
    await this.quiet();
  }

  async #loop(kind: LoadKind, perSecond: number): Promise<void> {
    const startedAtMs = performance.now();
    let begun = 0;
    while (this.#running) {
      const due = ((performance.now() - startedAtMs) / 1000) * perSecond;
      for (; begun < due; begun++) {
        const call = this.#call(kind);
        this.#open.add(call);
        void call.finally(() => this.#open.delete(call));
      }
      await delay(TICK_MS);
    }
  }

  async #call(kind: LoadKind): Promise<void> {
    const startedAtMs = performance.now();
    const request = kind === 'serverStream' ? { text: 'x', ...STREAM } : { text: 'x' };
    const { code, message, answers, hadHead } = await run(this.client, kind, [request], {
      timeoutMs: CALL_MS_MAX,
    });
    const expected = kind === 'serverStream' ? STREAM.count : 1;
    const failure =
      code !== status.OK
        ? `${status[code]}: ${message}`
        : answers.length === expected
          ? ''
          : `${answers.length} answers of ${expected}`;
    this.results.push({ kind, startedAtMs, endedAtMs: performance.now(), failure, hadHead });
  }
}
