import type { Conversation } from './conversation.ts';
import type { Outcome, Seen } from './subjects.ts';

const INTERNAL_ERROR = 2;
const ENHANCE_YOUR_CALM = 11;

/** Moves with a field that HTTP forbids. node:http2 drops such a field and keeps the request; RFC 9113 §8.2.1 does not. */
const FORBIDDEN_FIELDS = new Set([
  'upper case name',
  'blank in name',
  'empty name',
  'NUL in value',
  'line break in value',
  'blank before value',
  'blank after value',
  'mutation',
]);
/**
 * Moves that nghttp2 takes although RFC 9113 forbids them or calls them malformed: it reads nothing of PRIORITY frames
 * (§6.3), and it does not compare `host` with `:authority` (§8.3.1).
 */
const LAX_ORACLE = new Set([
  'PRIORITY on stream 0',
  'PRIORITY of a wrong size',
  'a stream that depends on itself',
  'host unlike :authority',
  'mutation',
]);
/**
 * An acknowledgement that it does not wait for makes node:http2 close; RFC 9113 asks for nothing, we ignore it. Its
 * clients read ALTSVC, an extension that we do not know, and close when it is wrong.
 */
const HASTY_ORACLE = new Set(['made-up acknowledgement', 'made-up ALTSVC']);
/** After a client's GOAWAY node:http2 takes no new streams and may close; RFC 9113 §6.8 forbids neither that nor going on. */
const GOAWAY = new Set(['made-up GOAWAY']);
/** A mutation may end a stream that is cancelled next: node:http2 then tells of the cancel alone, we of both. */
const CANCELS = new Set(['mutation']);
/** Moves on streams that have ended: an error for us, ignored by nghttp2; RFC 9113 §5.1 allows both for a while. */
const LATE = new Set(['HEADERS on a past stream', 'DATA on a past stream', 'mutation']);

/**
 * Compares what two servers, or two clients, made of one conversation. Where the RFC leaves a choice, either choice agrees: a stream
 * error may be made a connection error (RFC 9113 §5.4.1), after which nothing else is known of that side; the code of
 * an error is advice (§7); and see the sets above, which count for the conversations that have such moves only.
 * @returns how they differ, or nothing
 */
export function disagreement(conversation: Conversation, ours: Outcome, oracle: Outcome): string {
  const has = (moves: ReadonlySet<string>): boolean => conversation.moves.some((move) => moves.has(move));
  // Limits are each side's own: on the fields of a list, say, or on the settings of a frame.
  if (ours.connectionError === ENHANCE_YOUR_CALM || oracle.connectionError === ENHANCE_YOUR_CALM) return '';
  const brokenOurs = ours.connectionError !== null;
  const brokenOracle = oracle.connectionError !== null;
  if (ours.connectionError === INTERNAL_ERROR) return 'a handler of ours threw';
  if ((brokenOurs && brokenOracle) || has(GOAWAY)) return '';
  if (brokenOurs) {
    if (oracle.resets.size > 0) return '';
    if (has(LAX_ORACLE) && ours.violations.some((kind) => kind === 'protocol' || kind === 'frame-size'))
      return '';
    if (has(LATE) && ours.violations.some((kind) => kind === 'stream-closed' || kind === 'protocol'))
      return '';
    return `we alone ended the connection (${ours.connectionError}: ${ours.violations.join()})`;
  }
  if (brokenOracle) {
    if (ours.resets.size > 0) return '';
    if (has(HASTY_ORACLE)) return '';
    return `the oracle alone ended the connection (${oracle.connectionError})`;
  }
  const stricter =
    (has(FORBIDDEN_FIELDS) || has(LAX_ORACLE)) &&
    ours.violations.some((kind) => kind === 'malformed-message' || kind === 'header-list-too-large');
  for (let id = conversation.fromId; id < conversation.toId; id += 2) {
    const [one, other] = [stateOf(id, ours), stateOf(id, oracle)];
    if (stricter && one.isReset && !other.isReset) continue;
    if (other.isReset && lacksAuthority(one)) continue;
    if (has(CANCELS) && one.seen?.complete === true && other.seen?.complete === false) continue;
    const difference = streamDifference(one, other);
    if (difference !== '') return `stream ${id}: ${difference} (${ours.violations.join()})`;
  }
  return '';
}

type StreamState = { readonly isReset: boolean; readonly seen: Seen | undefined };

/** nghttp2 asks for `:authority` or `host`; RFC 9113 does not, and gRPC calls it optional. */
function lacksAuthority({ seen }: StreamState): boolean {
  return seen !== undefined && !/^(?::authority|host): /m.test(seen.fields);
}

function stateOf(id: number, outcome: Outcome): StreamState {
  return { isReset: outcome.resets.has(id), seen: outcome.seen.get(id) };
}

function streamDifference(ours: StreamState, oracle: StreamState): string {
  if (ours.isReset && oracle.isReset) return '';
  if (ours.isReset !== oracle.isReset) return `reset by ${ours.isReset ? 'us' : 'the oracle'} alone`;
  const a = ours.seen;
  const b = oracle.seen;
  if (a === undefined || b === undefined) return a === b ? '' : `seen by ${a ? 'us' : 'the oracle'} alone`;
  if (a.complete !== b.complete) return `complete for ${a.complete ? 'us' : 'the oracle'} alone`;
  if (a.fields !== b.fields) return `fields differ: ${JSON.stringify(a.fields)}, ${JSON.stringify(b.fields)}`;
  // What came of a request that was cancelled may not all have been handed on.
  if (a.complete && a.body !== b.body) return `bodies differ: ${a.body.length}, ${b.body.length} bytes`;
  if (a.complete && a.trailers !== b.trailers) return `trailers differ: ${a.trailers}, ${b.trailers}`;
  return '';
}
