/** What a connection announces, allows and waits for. */
import type { Ticker } from './ticker.ts';
import type { RateLimit } from './token-bucket.ts';

export interface ConnectionSettings {
  /** Streams the peer may have open at once, announced as MAX_CONCURRENT_STREAMS; more are refused. Default 1024, 1 to 2^31-1. */
  readonly maxConcurrentStreams: number;
  /** Bytes a stream may receive before `consume`, announced as INITIAL_WINDOW_SIZE. Default 262,144, 1 to 2^31-1. */
  readonly initialStreamWindowBytes: number;
  /**
   * Bytes all streams together may receive before `consume`: the bound on what one connection can make its owner
   * buffer. A stalled reader holds up to one stream window of it. Default 4 MiB, 1 to 2^31-1.
   */
  readonly connectionWindowBytes: number;
  /**
   * Bytes of a header list as RFC 7541 §4.1 counts them, announced as MAX_HEADER_LIST_SIZE; a longer list resets the
   * stream. A header block of four times as many bytes on the wire ends the connection. Default 32,768, 1 to 16 MiB.
   */
  readonly headerListBytesMax: number;
  /** Fields in a header list. Default 128, 1 or more. */
  readonly headerFieldsMax: number;
  /** HPACK table, both the one announced to the peer and the most used of the peer's, in bytes. Default 4096, 0 to 65,536. */
  readonly headerTableBytes: number;
  /** CONTINUATION frames in one header block; more end the connection. Default 8, 0 or more. */
  readonly continuationFramesMax: number;
  /** Milliseconds from the first to the last byte of a header block. Default 10,000, 1 or more. */
  readonly headerBlockTimeoutMs: number;
  /** Bytes of output in memory from which DATA waits in its stream's queue. Default 262,144, 1 or more. */
  readonly outputDataBytesMax: number;
  /** Bytes of output in memory (a peer that does not read) that end the connection. Default 2 MiB, above outputDataBytesMax. */
  readonly outputBufferedBytesMax: number;
  /** Milliseconds in which a write must finish, else the reader counts as dead. Default 60,000; 0 for no limit. */
  readonly writeTimeoutMs: number;
  /**
   * Milliseconds for which a stream may have queued data of which the peer takes nothing, else it is reset: what it
   * holds of the other side's window is freed. Default 300,000; 0 for no limit.
   */
  readonly streamStallTimeoutMs: number;
  /** Milliseconds without input after which a PING is sent. Default 300,000, which gRPC servers accept; 0 for none. */
  readonly keepaliveIntervalMs: number;
  /** Milliseconds in which anything must come in after such a PING. Default 20,000, 1 or more. */
  readonly keepaliveTimeoutMs: number;
  /** Milliseconds in which our SETTINGS must be acknowledged. Default 10,000, 1 or more. */
  readonly settingsAckTimeoutMs: number;
  /** Milliseconds in which the peer's preface and first SETTINGS must be there. Default 10,000, 1 or more. */
  readonly prefaceTimeoutMs: number;
  /** Milliseconds without a stream after which the connection is shut down gracefully. Default 1,800,000; 0 for never. */
  readonly idleTimeoutMs: number;
  /** Milliseconds `shutdown` waits for its PING before the last stream id is fixed. Default 1,000, 1 or more. */
  readonly shutdownPingTimeoutMs: number;
  /** Milliseconds the socket stays open after the last GOAWAY so that the peer can read it. Default 1,000, 1 or more. */
  readonly lingerMs: number;
  /** RST_STREAM frames from a client (CVE-2023-44487). Default 100 a second, burst 400. */
  readonly resetsReceived: RateLimit;
  /** Resets that the peer made us send (CVE-2025-8671). Default 20 a second, burst 200. */
  readonly resetsProvoked: RateLimit;
  /**
   * Client role: RST_STREAM frames that `cancel` sends. Below what servers allow (nghttp2's default, and so Node's:
   * 33 a second, burst 1000). Default 30 a second, burst 200.
   */
  readonly resetsSent: RateLimit;
  /** PING frames without any HEADERS or DATA since the last one, in either direction (CVE-2019-9512). Default 10 a second, burst 100. */
  readonly pings: RateLimit;
  /** SETTINGS frames to answer (CVE-2019-9515). Default 1 a second, burst 20. */
  readonly settingsFrames: RateLimit;
  /** DATA frames without data that do not end a stream (CVE-2019-9518). Default 20 a second, burst 200. */
  readonly emptyDataFrames: RateLimit;
  /** PRIORITY frames, frames of unknown type, and frames on streams long closed. Default 100 a second, burst 1000. */
  readonly idleFrames: RateLimit;
  /** Where time comes from. Default: one ticker for the process, every 250 ms. */
  readonly ticker?: Ticker;
}

export const defaultSettings: ConnectionSettings = Object.freeze({
  maxConcurrentStreams: 1024,
  initialStreamWindowBytes: 262_144,
  connectionWindowBytes: 4_194_304,
  headerListBytesMax: 32_768,
  headerFieldsMax: 128,
  headerTableBytes: 4096,
  continuationFramesMax: 8,
  headerBlockTimeoutMs: 10_000,
  outputDataBytesMax: 262_144,
  outputBufferedBytesMax: 2_097_152,
  writeTimeoutMs: 60_000,
  streamStallTimeoutMs: 300_000,
  keepaliveIntervalMs: 300_000,
  keepaliveTimeoutMs: 20_000,
  settingsAckTimeoutMs: 10_000,
  prefaceTimeoutMs: 10_000,
  idleTimeoutMs: 1_800_000,
  shutdownPingTimeoutMs: 1_000,
  lingerMs: 1_000,
  resetsReceived: Object.freeze({ perSecond: 100, burst: 400 }),
  resetsProvoked: Object.freeze({ perSecond: 20, burst: 200 }),
  resetsSent: Object.freeze({ perSecond: 30, burst: 200 }),
  pings: Object.freeze({ perSecond: 10, burst: 100 }),
  settingsFrames: Object.freeze({ perSecond: 1, burst: 20 }),
  emptyDataFrames: Object.freeze({ perSecond: 20, burst: 200 }),
  idleFrames: Object.freeze({ perSecond: 100, burst: 1000 }),
});
