/** What the harness asks of the load process: one cell of the table. */
import type { AnswerPlan } from './answers.ts';
import type { CallPlan } from './call-frames.ts';
import type { Memory } from './process-tree.ts';

export type Cell = {
  /** Port of the proxy on 127.0.0.1. */
  readonly port: number;
  /** The proxy's process; its descendants and threads count too. */
  readonly pid: number;
  readonly connections: number;
  /** Closed loop: calls in flight on each connection. Open loop: calls a second in all, at Poisson-distributed times. */
  readonly loop: { readonly closed: number } | { readonly openRps: number };
  readonly call: CallPlan;
  readonly answer: AnswerPlan;
  readonly warmMs: number;
  /** The warm-up goes on until so many calls have ended, within limits: a JIT counts calls, not seconds. */
  readonly warmCalls: number;
  readonly measureMs: number;
};

export type CellResult = {
  readonly calls: number;
  /** What went wrong and how often; empty in a good cell. */
  readonly failures: Readonly<Record<string, number>>;
  readonly seconds: number;
  /** CPU of the proxy in all. */
  readonly cpuMicros: number;
  /** CPU of the load process in all: client, app and TLS. */
  readonly loadCpuMicros: number;
  readonly memory: Memory;
  /** Share of the machine that other processes had meanwhile. */
  readonly foreignShare: number;
  /** Open loop only, else 0. */
  readonly p50Ms: number;
  readonly p99Ms: number;
};

export type HandshakeCell = {
  readonly port: number;
  readonly pid: number;
  readonly concurrency: number;
  readonly resume: boolean;
  readonly measureMs: number;
};

export type HandshakeResult = {
  readonly handshakes: number;
  readonly resumed: number;
  readonly failed: number;
  readonly seconds: number;
  readonly cpuMicros: number;
};

/** Messages between harness and load process. */
export type LoadRequest = { readonly cell: Cell } | { readonly handshakes: HandshakeCell };
export type LoadReply =
  | { readonly result: CellResult }
  | { readonly handshakes: HandshakeResult }
  | { readonly error: string };

/** Sent first: where the app listens in plaintext, with TLS (for the load's own ceiling), and where spans are swallowed. */
export type LoadReady = { readonly appPort: number; readonly tlsAppPort: number; readonly otlpPort: number };
