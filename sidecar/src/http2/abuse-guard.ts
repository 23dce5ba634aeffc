/** Counts what a peer may do now and then but not in masses (relay floods), one bucket a class. */
import type { ConnectionSettings } from './settings.ts';
import type { Ticker } from './ticker.ts';
import { type RateLimit, TokenBucket } from './token-bucket.ts';

/** A counted class of abuse or illegal input. Every local connection or stream error is one of them. */
export type ViolationKind =
  | 'reset-flood'
  | 'provoked-reset-flood'
  | 'ping-flood'
  | 'settings-flood'
  | 'empty-data-flood'
  | 'idle-frame-flood'
  | 'continuation-flood'
  | 'header-list-too-large'
  | 'slow-reader'
  | 'slow-header-block'
  | 'flow-control'
  | 'frame-size'
  | 'compression'
  | 'malformed-message'
  | 'stream-closed'
  | 'too-many-streams'
  | 'preface-timeout'
  | 'settings-timeout'
  | 'keepalive-timeout'
  | 'protocol';

/** The classes that a token bucket limits. */
export type FloodKind = Extract<ViolationKind, `${string}-flood`> & keyof typeof LIMITS;

const LIMITS = {
  'reset-flood': 'resetsReceived',
  'provoked-reset-flood': 'resetsProvoked',
  'ping-flood': 'pings',
  'settings-flood': 'settingsFrames',
  'empty-data-flood': 'emptyDataFrames',
  'idle-frame-flood': 'idleFrames',
} as const satisfies Partial<Record<ViolationKind, keyof ConnectionSettings>>;

export class AbuseGuard {
  private readonly settings: ConnectionSettings;
  private readonly ticker: Ticker;
  // A bucket is made when its class first occurs: most connections need none.
  private readonly buckets = new Map<FloodKind, TokenBucket>();

  constructor(settings: ConnectionSettings, ticker: Ticker) {
    this.settings = settings;
    this.ticker = ticker;
  }

  /** Counts one event, or one that is as bad as `weight` of its class; false when the peer has used up what its class allows. */
  allows(kind: FloodKind, weight = 1): boolean {
    const nowMs = this.ticker.nowMs();
    let bucket = this.buckets.get(kind);
    if (bucket === undefined) {
      const limit: RateLimit = this.settings[LIMITS[kind]];
      bucket = new TokenBucket(limit, nowMs);
      this.buckets.set(kind, bucket);
    }
    return bucket.take(nowMs, weight);
  }
}
