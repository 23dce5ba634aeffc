import { ATTRIBUTES, METHOD_OTHER, SERVER_ERROR_STATUSES } from '@gatehouse/telemetry/names';
import type { FinishedSpan } from '@gatehouse/telemetry/span-recorder';
import type { Outcome } from './8-observe.ts';
import type { Call, CallTrace, Try } from './call.ts';
import { GrpcStatus, statusName } from './grpc-status.ts';

type Attributes = Record<string, string | number>;

/**
 * The spans of a sampled call that has ended: one, and where it was tried again one more below it for each try, whose link
 * leads to the try before.
 */
export function spansOf(call: Call, trace: CallTrace, outcome: Outcome, endedAtMs: number): FinishedSpan[] {
  const status = statusName(outcome.status);
  const isError =
    call.direction === 'inbound' ? SERVER_ERROR_STATUSES.has(status) : outcome.status !== GrpcStatus.OK;
  const method = call.method === null ? METHOD_OTHER : call.path.slice(1);
  const rpc: Attributes = {
    [ATTRIBUTES.rpcSystemName]: 'grpc',
    [ATTRIBUTES.rpcMethod]: method,
    [ATTRIBUTES.rpcStatusCode]: status,
    [ATTRIBUTES.direction]: call.direction,
    [ATTRIBUTES.callerIdentity]: call.identity,
    ...(isError ? { [ATTRIBUTES.errorType]: status } : {}),
  };
  const own: FinishedSpan = {
    name: method,
    kind: call.direction === 'inbound' ? 'server' : 'client',
    traceId: trace.traceId,
    spanId: trace.spanId,
    parentSpanId: trace.parentSpanId ?? undefined,
    parentIsRemote: true,
    startTimeMs: call.startedAtMs,
    endTimeMs: endedAtMs,
    attributes: { ...rpc, ...attributesOf(call, outcome) },
    events: trace.events,
    status: isError ? 'error' : 'unset',
  };
  const tries = trace.tries.map((each, index): FinishedSpan => {
    const before = trace.tries[index - 1];
    const failed = each.failedBecause !== null || isError;
    return {
      ...own,
      spanId: each.spanId,
      parentSpanId: trace.spanId,
      parentIsRemote: false,
      startTimeMs: each.startedAtMs,
      endTimeMs: each.endedAtMs ?? endedAtMs,
      attributes: { ...rpc, ...tryAttributes(call, each, index) },
      events: [],
      links: before === undefined ? [] : [{ traceId: trace.traceId, spanId: before.spanId }],
      status: failed ? 'error' : 'unset',
    };
  });
  return [own, ...tries];
}

function tryAttributes(
  call: Call,
  { endpoint, breakerState, failedBecause }: Try,
  number: number,
): Attributes {
  const unavailable = statusName(GrpcStatus.UNAVAILABLE);
  return {
    // Whatever ended it, a try that is followed by another told nothing but that the endpoint could not serve it.
    ...(failedBecause === null
      ? {}
      : { [ATTRIBUTES.rpcStatusCode]: unavailable, [ATTRIBUTES.errorType]: unavailable }),
    ...upstreamAttributes(call.upstream, endpoint, breakerState, number),
  };
}

function attributesOf(call: Call, { refusal }: Outcome): Attributes {
  const { decision } = call;
  const attributes: Attributes = {};
  if (call.model !== null) attributes[ATTRIBUTES.genAiRequestModel] = call.model;
  if (call.direction === 'inbound' && decision !== null) {
    attributes[ATTRIBUTES.decision] = decision.allowed ? 'allow' : 'deny';
    attributes[ATTRIBUTES.ruleId] = decision.ruleId;
    attributes[ATTRIBUTES.policyVersion] = decision.policyVersion;
    attributes[ATTRIBUTES.decisionId] = call.decisionId;
    if (decision.shadow !== null) {
      attributes[ATTRIBUTES.shadowDecision] = decision.shadow.would;
      attributes[ATTRIBUTES.shadowRuleId] = decision.shadow.ruleId;
      attributes[ATTRIBUTES.shadowPolicyVersion] = decision.shadow.policyVersion;
    }
  }
  if (call.hits !== null && call.hits.text !== '') attributes[ATTRIBUTES.protectionHits] = call.hits.text;
  if (refusal !== null) attributes[ATTRIBUTES.refusalReason] = refusal.reason;
  if (call.upstream === '') return attributes;
  const retries = Math.max(0, call.attempts - 1);
  return {
    ...attributes,
    ...upstreamAttributes(call.upstream, call.endpoint, call.breakerState, retries),
  };
}

function upstreamAttributes(name: string, endpoint: string, breaker: string, retries: number): Attributes {
  return {
    [ATTRIBUTES.upstreamName]: name,
    [ATTRIBUTES.upstreamEndpoint]: endpoint,
    [ATTRIBUTES.breakerState]: breaker,
    [ATTRIBUTES.retryNumber]: retries,
  };
}
