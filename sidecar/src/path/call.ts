import type { ContractMethod, FieldValues } from '@gatehouse/contracts';
import type { TraceParent } from '@gatehouse/telemetry/trace-context';
import type { Field, Stream } from '../http2/index.ts';
import { modelOf } from '../policy/index.ts';
import type { HitCounts } from '../protect/index.ts';
import type { QuotaLease } from '../quota/index.ts';
import type { Lane } from '../shed/index.ts';
import type { VerifiedToken } from '../tokens/index.ts';
import type { DecisionFacts, Permit } from './4-authorise.ts';
import type { Admission } from './5-admit.ts';
import type { Target } from './6-route.ts';
import type { ConnectionPeer } from './connection-peer.ts';
import type { DecisionLog } from './decision-log.ts';
import type { UsageMeter } from './usage-meter.ts';

/** inbound: from the network to the app. egress: from the app to the network. */
export type Direction = 'inbound' | 'egress';

/** Milliseconds since 1970 with fractions; never goes back. */
export type Clock = () => number;

const NONE: readonly never[] = Object.freeze([]);
const NOTHING_FOUND: Readonly<Record<string, number>> = Object.freeze({});

/**
 * One call on its way. The stages add their facts to it; which of them are there is what the stage types (Accepted …
 * Routed) say, so that a stage cannot be left out.
 */
export class Call {
  readonly direction: Direction;
  /** The caller's stream. */
  readonly stream: Stream;
  readonly startedAtMs: number;
  /** The clock when the call last had to wait; what follows at once goes by it, since to read the clock costs as much as many a stage. */
  nowMs: number;

  /** Of the request's head; set by accept. */
  fields: readonly Field[] = [];
  method: ContractMethod | null = null;
  /** `:path` as it came, for a method that is not known. */
  path = '';
  authority = '';
  deadlineAtMs = 0;
  traceparent: string | null = null;
  authorization: string | null = null;
  /** `grpc-encoding`: how compressed messages of the request are compressed. */
  encoding = 'identity';

  peer: ConnectionPeer | null = null;
  /** Whose connection it is; our own on egress. For logs from the start, for decisions once identify has passed it. */
  identity = '';
  token: VerifiedToken | null = null;
  decision: DecisionFacts | null = null;
  decidedAtMs = 0;
  permit: Permit | null = null;
  admission: Admission | null = null;
  /** What it has of the limits that concern it. */
  quota: QuotaLease | null = null;
  /** Among whose calls this one is at the app, where load is shed. */
  lane: Lane | null = null;
  /** Calls in that lane when this one had entered it, itself included. */
  laneAhead = 0;
  target: Target | null = null;
  /** What the request says of itself, where something had to read it: of a stream the message that last decided. */
  requestValues: FieldValues | null = null;

  /** What protections found in it; null where none looks. */
  hits: HitCounts | null = null;

  /** Null until observe has begun the call. */
  trace: CallTrace | null = null;
  /** Name and address of where the call was sent; empty before route. */
  upstream = '';
  endpoint = '';
  /** The breaker's state when the endpoint was chosen. */
  breakerState = '';
  /** Tries that were begun: something was sent. */
  attempts = 0;
  /** Where its decision is kept, and under which number; null until decided. */
  decisions: Pick<DecisionLog, 'idOf'> | null = null;
  decisionNumber = 0;
  /** What counts its tokens; null where nothing tells of any. */
  meter: UsageMeter | null = null;
  /** Tokens used so far, where the app's answers were read for them. */
  inputTokens = 0;
  outputTokens = 0;
  /** Ids of the limits that count the call. */
  limitsTouched: readonly string[] = NONE;
  /** The call's record has been kept, or is not wanted. */
  audited = false;

  constructor(direction: Direction, stream: Stream, startedAtMs: number) {
    this.direction = direction;
    this.stream = stream;
    this.startedAtMs = startedAtMs;
    this.nowMs = startedAtMs;
  }

  /** Empty until decided. */
  get decisionId(): string {
    return this.decisions?.idOf(this.decisionNumber) ?? '';
  }

  /** How often each detector has found something, by its name. */
  get detections(): Readonly<Record<string, number>> {
    return this.hits?.byDetector() ?? NOTHING_FOUND;
  }

  /** The model that the caller asks for, as `name` or `name@version`, where it was read. */
  get model(): string | null {
    return modelOf(this.requestValues);
  }
}

/** The trace that a call belongs to. */
export type CallTrace = TraceParent & {
  /** The span before ours; null when the trace begins here. */
  readonly parentSpanId: string | null;
  /** Whether this sidecar records a span for the call. */
  readonly recorded: boolean;
  /** What happened on the way, for a sampled call's span. */
  readonly events: {
    readonly name: string;
    readonly timeMs: number;
    readonly attributes: Record<string, string | number>;
  }[];
  /** Of a sampled call that is tried again, the tries. */
  readonly tries: Try[];
};

/** One of several tries of a sampled call. */
export type Try = {
  readonly spanId: string;
  readonly startedAtMs: number;
  readonly endpoint: string;
  readonly breakerState: string;
  /** Null until another try follows. */
  endedAtMs: number | null;
  failedBecause: string | null;
};
