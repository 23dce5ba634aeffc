import type { Duplex } from 'node:stream';
import { Connection, type ConnectionClose, type ConnectionSettings, ErrorCode } from '../http2/index.ts';
import type { ConnectionPeer } from '../path/connection-peer.ts';
import type { Passage } from '../path/passage.ts';
import type { Pipeline } from '../path/pipeline.ts';

/** What a listener counts. Kinds come from fixed sets. */
export type ListenerCounts = {
  /** Peers refused before the first byte of HTTP/2, by reason. */
  readonly refusedPeers: Map<string, number>;
  /** Illegal or excessive behaviour on connections, by kind. */
  readonly violations: Map<string, number>;
  accepted: number;
};

export function count(counts: Map<string, number>, kind: string): void {
  counts.set(kind, (counts.get(kind) ?? 0) + 1);
}

/** The HTTP/2 connections of one listener. */
export class Connections {
  readonly counts: ListenerCounts = { refusedPeers: new Map(), violations: new Map(), accepted: 0 };
  readonly #pipeline: Pipeline;
  readonly #settings: ConnectionSettings;
  readonly #open = new Set<Connection>();
  #draining = false;
  readonly #onClosed: (close: ConnectionClose) => void;

  constructor(pipeline: Pipeline, settings: ConnectionSettings, onClosed: (close: ConnectionClose) => void) {
    this.#pipeline = pipeline;
    this.#settings = settings;
    this.#onClosed = onClosed;
  }

  get open(): ReadonlySet<Connection> {
    return this.#open;
  }

  /** Takes a socket whose peer is known; HTTP/2 begins with its next byte. */
  /** @param onFlood called when the connection was cut off for too much of something */
  take(socket: Duplex, peer: ConnectionPeer, onFlood: () => void = () => {}): void {
    this.counts.accepted += 1;
    const connection = Connection.server(
      socket,
      {
        onStream: (stream) => this.#pipeline.begin(stream),
        onClose: (closed, reason) => {
          this.#open.delete(closed);
          if (reason.origin === 'local' && reason.code === ErrorCode.ENHANCE_YOUR_CALM) onFlood();
          if (reason.code !== ErrorCode.NO_ERROR || reason.cause !== undefined) this.#onClosed(reason);
        },
        onViolation: (_connection, kind) => count(this.counts.violations, kind),
      },
      this.#settings,
    );
    connection.context = peer;
    this.#open.add(connection);
    // Its handshake was under way when the listener closed.
    if (this.#draining) connection.shutdown();
  }

  /** Calls in progress on one connection. */
  callsOn(connection: Connection): Passage[] {
    return this.#pipeline.active().filter((passage) => passage.stream.connection === connection);
  }

  /** Tells every peer to open no more streams; resolves when all connections have closed. */
  async drain(): Promise<void> {
    this.#draining = true;
    for (const connection of this.#open) connection.shutdown();
    while (this.#open.size > 0) await new Promise((resolve) => setTimeout(resolve, DRAIN_POLL_MS));
  }

  /** Ends every call that is left with UNAVAILABLE, and every connection. */
  cut(): void {
    for (const passage of this.#pipeline.active()) this.#pipeline.refuse(passage, { kind: 'draining' });
    for (const connection of this.#open) connection.destroy(ErrorCode.NO_ERROR, 'shutting down');
  }
}

const DRAIN_POLL_MS = 20;
