import type { SidecarConfig } from './config/schema.ts';
import type { InboundListener } from './listen/inbound-listener.ts';
import type { Side } from './side.ts';

export type DrainParts = {
  readonly limits: Pick<SidecarConfig['limits'], 'drainNoticeMs' | 'drainMsMax'>;
  readonly inbound: Side | null;
  readonly egress: Side | null;
};

/** How long after a pod has begun to end its drain begins at most: hooks of all containers run at once. */
const BEGIN_MS_MAX = 1000;

type Listeners = { readonly inbound: InboundListener | null; readonly egress: InboundListener | null };

/** How a sidecar stops taking calls: inbound first, because what came in may still need egress. */
export class Drain {
  readonly #parts: DrainParts;
  #listeners: Listeners = { inbound: null, egress: null };
  #inbound: Promise<void> | null = null;
  #inboundEnded = false;
  readonly #ended = Promise.withResolvers<void>();

  constructor(parts: DrainParts) {
    this.#parts = parts;
  }

  /** Whether it has begun. */
  get begun(): boolean {
    return this.#inbound !== null;
  }

  /** No call from the network is in progress, and none will be. */
  get inboundEnded(): boolean {
    return this.#inboundEnded;
  }

  /** Waits for that, and no longer than a drain that begins about now can take. */
  async untilInboundEnded(): Promise<void> {
    const { drainNoticeMs, drainMsMax } = this.#parts.limits;
    await Promise.race([this.#ended.promise, delay(BEGIN_MS_MAX + drainNoticeMs + drainMsMax)]);
  }

  /** What takes new connections, once it does. */
  listensOn(listeners: Listeners): void {
    this.#listeners = listeners;
  }

  /**
   * Not ready → GOAWAY after limits.drainNoticeMs → calls in flight finish within limits.drainMsMax, or are cut. Egress
   * goes on. Asked again it is the same drain.
   */
  inbound(): Promise<void> {
    this.#inbound ??= this.#drainInbound();
    return this.#inbound;
  }

  /** Inbound, and then egress: within the same time, or where inbound was drained before, within as much again. */
  async all(): Promise<void> {
    const { limits, egress } = this.#parts;
    const late = delay(limits.drainMsMax + (this.begun ? 0 : limits.drainNoticeMs));
    await this.inbound();
    this.#listeners.egress?.close();
    if (egress) await Promise.race([egress.connections.drain(), late]);
    egress?.connections.cut();
  }

  async #drainInbound(): Promise<void> {
    const { limits, inbound } = this.#parts;
    if (inbound) {
      await delay(limits.drainNoticeMs);
      this.#listeners.inbound?.close();
      await Promise.race([inbound.connections.drain(), delay(limits.drainMsMax)]);
      inbound.connections.cut();
    }
    this.#inboundEnded = true;
    this.#ended.resolve();
  }
}

function delay(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms).unref();
  });
}
