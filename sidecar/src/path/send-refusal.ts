import type { Call } from './call.ts';
import type { Passage } from './passage.ts';
import { refusalHead, refusalTrailers, withoutDetails } from './refusal-fields.ts';
import type { RefusalStatus } from './refusal-status.ts';

/** Ends the caller's stream with a refusal: as its whole answer, or as trailers where the answer has begun. */
export function sendRefusal({ call, stream, forwarding }: Passage, status: RefusalStatus): void {
  const metadata = { ...errorMetadata(call), ...status.metadata };
  const hasHead = forwarding?.headSent === true;
  const full = hasHead ? refusalTrailers(status, metadata) : refusalHead(status, metadata);
  const fields = stream.fits(full) ? full : withoutDetails(full);
  if (hasHead) stream.sendTrailers(fields);
  else stream.sendHeaders(fields, true);
}

/** ErrorInfo.metadata of a refusal: what to look for in the policy, the trace and the decision list. */
function errorMetadata(call: Call): Record<string, string> {
  const metadata: Record<string, string> = { method: call.path.slice(1, 257) };
  if (call.identity !== '') metadata['identity'] = call.identity;
  if (call.decision !== null && call.direction === 'inbound') {
    metadata['rule'] = call.decision.ruleId;
    metadata['policy_version'] = call.decision.policyVersion;
    metadata['decision_id'] = call.decisionId;
  }
  if (call.trace !== null) metadata['trace_id'] = call.trace.traceId;
  if (call.upstream !== '') metadata['upstream'] = call.upstream;
  if (call.endpoint !== '') metadata['endpoint'] = call.endpoint;
  return metadata;
}
