/**
 * Every span attribute, span event and metric name that Gatehouse emits. They follow the OpenTelemetry semantic
 * conventions 1.44 (RPC, GenAI) and gRFC A66, which still move: change them here alone.
 */

export const ATTRIBUTES = {
  serviceName: 'service.name',
  serviceInstanceId: 'service.instance.id',

  rpcSystemName: 'rpc.system.name',
  /** `pkg.Service/Method`; `_OTHER` for a method that is not in the contract. */
  rpcMethod: 'rpc.method',
  /** The gRPC status as text: `OK`, `PERMISSION_DENIED`. */
  rpcStatusCode: 'rpc.status_code',
  errorType: 'error.type',
  serverAddress: 'server.address',
  serverPort: 'server.port',
  networkPeerAddress: 'network.peer.address',

  genAiOperationName: 'gen_ai.operation.name',
  genAiProviderName: 'gen_ai.provider.name',
  genAiRequestModel: 'gen_ai.request.model',
  genAiResponseModel: 'gen_ai.response.model',
  genAiInputTokens: 'gen_ai.usage.input_tokens',
  genAiOutputTokens: 'gen_ai.usage.output_tokens',
  genAiFinishReasons: 'gen_ai.response.finish_reasons',
  genAiTimeToFirstChunk: 'gen_ai.response.time_to_first_chunk',

  /** `inbound` or `egress`. */
  direction: 'gatehouse.direction',
  /** The caller's SPIFFE ID. */
  callerIdentity: 'gatehouse.caller.identity',
  /** `allow` or `deny`. */
  decision: 'gatehouse.policy.decision',
  decisionId: 'gatehouse.policy.decision_id',
  ruleId: 'gatehouse.policy.rule',
  policyVersion: 'gatehouse.policy.version',
  /** What policy in shadow would have decided, where that is not what was decided. */
  shadowDecision: 'gatehouse.policy.shadow.decision',
  shadowRuleId: 'gatehouse.policy.shadow.rule',
  shadowPolicyVersion: 'gatehouse.policy.shadow.version',
  /** ErrorInfo.reason of a refusal. */
  refusalReason: 'gatehouse.refusal.reason',
  /** What detectors found, in counts: `request CARD=2, response EMAIL=1`. */
  protectionHits: 'gatehouse.protection.hits',
  upstreamName: 'gatehouse.upstream.name',
  upstreamEndpoint: 'gatehouse.upstream.endpoint',
  /** `closed`, `half-open` or `open`. */
  breakerState: 'gatehouse.breaker.state',
  /** 0 for the first try. */
  retryNumber: 'gatehouse.retry.number',
  graphName: 'gatehouse.graph.name',
  nodePath: 'gatehouse.node.path',
  nodeKind: 'gatehouse.node.kind',
  queueDurationMs: 'gatehouse.queue.duration_ms',
  /** The audit entry's sequence number, and its hash in hex. */
  auditSequence: 'gatehouse.audit.sequence',
  auditHash: 'gatehouse.audit.hash',
} as const;

export const EVENTS = {
  breakerStateChanged: 'gatehouse.breaker.state_changed',
  retry: 'gatehouse.retry',
  firstToken: 'gatehouse.first_token',
} as const;

export const METRICS = {
  rpcServerCallDuration: 'rpc.server.call.duration',
  rpcClientCallDuration: 'rpc.client.call.duration',
  grpcServerCallStarted: 'grpc.server.call.started',
  grpcServerCallDuration: 'grpc.server.call.duration',
  grpcClientAttemptStarted: 'grpc.client.attempt.started',
  grpcClientAttemptDuration: 'grpc.client.attempt.duration',
  genAiTimeToFirstToken: 'gen_ai.server.time_to_first_token',
  genAiTimePerOutputToken: 'gen_ai.server.time_per_output_token',
  genAiRequestDuration: 'gen_ai.server.request.duration',
  modelQueueDepth: 'gatehouse.model.queue.depth',
  modelCallsRunning: 'gatehouse.model.calls.running',
} as const;

/** Labels of the gRPC metrics (gRFC A66). */
export const METRIC_LABELS = {
  grpcMethod: 'grpc.method',
  grpcTarget: 'grpc.target',
  grpcStatus: 'grpc.status',
} as const;

/** The value of `rpc.method` and `grpc.method` for a method that no contract names: bounds the label's values. */
export const METHOD_OTHER = '_OTHER';

/** Statuses that make a server's span an error; anything else is the caller's, and a denial is no error. */
export const SERVER_ERROR_STATUSES: ReadonlySet<string> = new Set([
  'UNKNOWN',
  'DEADLINE_EXCEEDED',
  'UNIMPLEMENTED',
  'INTERNAL',
  'UNAVAILABLE',
  'DATA_LOSS',
]);
