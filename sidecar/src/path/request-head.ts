import { type Field, FieldKind, field, fieldMaker } from '../http2/index.ts';
import type { Routed } from './6-route.ts';
import { formatGrpcTimeout } from './grpc-timeout.ts';

const SCHEMES = { inbound: field(':scheme', 'http'), egress: field(':scheme', 'https') } as const;
const makeTimeout = fieldMaker('grpc-timeout');
const traceparentField = fieldMaker('traceparent');
const UNCOMPRESSED = field('grpc-accept-encoding', 'identity');
/** A head is gathered here, so that the list made of it has the right length at once. */
const gathered: Field[] = [];

/**
 * A request's head for the upstream: hop-by-hop and identity fields are ours to write, the others pass.
 * @param readsResponse the app must not compress what it answers
 */
export function requestHead(
  { direction, peer, deadlineAtMs, fields }: Routed,
  {
    traceparent,
    nowMs,
    readsResponse,
  }: { readonly traceparent: string | null; readonly nowMs: number; readonly readsResponse: boolean },
): Field[] {
  let count = 0;
  for (const each of fields) {
    switch (each.kind) {
      case FieldKind.SCHEME:
        gathered[count++] = SCHEMES[direction];
        break;
      case FieldKind.TRACEPARENT:
      case FieldKind.GRPC_TIMEOUT:
      case FieldKind.HOST:
        break;
      default:
        if (each.name === 'x-forwarded-client-cert') break;
        if (readsResponse && each.name === 'grpc-accept-encoding') break;
        gathered[count++] = each;
    }
  }
  if (peer.forwardedClientCert !== null) gathered[count++] = peer.forwardedClientCert;
  if (readsResponse) gathered[count++] = UNCOMPRESSED;
  gathered[count++] = timeoutField(deadlineAtMs - nowMs);
  if (traceparent !== null) gathered[count++] = traceparentField(traceparent);
  return gathered.slice(0, count);
}

let newestText = '';
let newestTimeout = UNCOMPRESSED;

/** Calls that come in a row often have as many milliseconds left: they share the field. */
function timeoutField(leftMs: number): Field {
  const text = formatGrpcTimeout(leftMs);
  if (text !== newestText) {
    newestText = text;
    newestTimeout = makeTimeout(text);
  }
  return newestTimeout;
}
