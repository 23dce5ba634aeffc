import {
  AdminServiceService,
  type Circuit,
  CircuitState,
  type DecisionRecord,
  type ExplainRequest,
  type ExplainResponse,
  type GetConfigResponse,
} from '@gatehouse/contracts/admin';
import { bindGrpcServer } from '@gatehouse/sockets/grpc';
import { type handleUnaryCall, Server, status } from '@grpc/grpc-js';
import type { DecisionLog, LoggedDecision } from '../path/decision-log.ts';
import { explainPolicy, type Policy } from '../policy/index.ts';
import type { EndpointView, UpstreamView } from '../upstream/index.ts';

export type AdminParts = {
  readonly config: () => GetConfigResponse;
  readonly upstreams: () => readonly UpstreamView[];
  readonly decisions: DecisionLog;
  /** Null on a sidecar without inbound. */
  readonly policy: () => Policy | null;
};

export type AdminServer = { readonly address: string; close(): void };

const DECISIONS_DEFAULT = 100;
const DECISIONS_MAX = 1000;

/** gatehouse.admin.v1.AdminService on a Unix socket or loopback. It reads and changes nothing. */
export async function serveAdmin(address: string, parts: AdminParts): Promise<AdminServer> {
  const server = new Server({
    'grpc.max_concurrent_streams': 64,
    'grpc.max_receive_message_length': 64 * 1024,
  });
  server.addService(AdminServiceService, {
    getConfig: unary(() => parts.config()),
    listCircuits: unary(() => ({
      circuits: parts
        .upstreams()
        .flatMap(({ name, endpoints }) => endpoints.map((endpoint) => toCircuit(name, endpoint))),
    })),
    listDecisions: unary(({ limit, refusedOnly }: { limit: number; refusedOnly: boolean }) => ({
      decisions: parts.decisions
        .newest(limit > 0 ? Math.min(limit, DECISIONS_MAX) : DECISIONS_DEFAULT, refusedOnly)
        .map(toRecord),
    })),
    explain: unary((request: ExplainRequest) => explain(request, parts.policy())),
  });
  const bound = await bindGrpcServer(server, address);
  return { address: bound, close: () => server.forceShutdown() };
}

class AdminError extends Error {
  readonly code: status;

  constructor(code: status, sentence: string) {
    super(sentence);
    this.code = code;
  }
}

function unary<Q, S>(answer: (request: Q) => S): handleUnaryCall<Q, S> {
  return (call, callback) => {
    try {
      callback(null, answer(call.request));
    } catch (error) {
      const known = error instanceof AdminError;
      callback({
        code: known ? error.code : status.INTERNAL,
        details: known ? error.message : 'internal error',
      });
    }
  };
}

function explain(request: ExplainRequest, policy: Policy | null): ExplainResponse {
  if (policy === null) {
    throw new AdminError(
      status.FAILED_PRECONDITION,
      'This sidecar has no inbound listener, so it decides nothing.',
    );
  }
  const { decision, rules } = explainPolicy(policy, {
    identity: request.identity,
    method: request.method,
    model: request.model === '' ? null : request.model,
    token: request.tokenIssuer === '' ? null : { issuer: request.tokenIssuer, claims: request.tokenClaims },
  });
  return {
    allowed: decision.allowed,
    ruleId: decision.ruleId ?? '',
    reason: decision.allowed ? '' : decision.reason,
    policyVersion: policy.version,
    rules: rules.map((rule) => ({ ...rule, effect: '', shadow: false, owner: '', labels: {}, byFailure: false })),
    limits: [],
    protections: [],
    identity: request.identity,
    method: request.method,
    model: request.model,
  };
}

const CIRCUIT_STATES = {
  closed: CircuitState.CIRCUIT_STATE_CLOSED,
  'half-open': CircuitState.CIRCUIT_STATE_HALF_OPEN,
  open: CircuitState.CIRCUIT_STATE_OPEN,
} as const;

function toCircuit(upstream: string, view: EndpointView): Circuit {
  const { breaker } = view;
  return {
    upstream,
    endpoint: view.address,
    state: CIRCUIT_STATES[breaker.state],
    since: new Date(breaker.sinceMs),
    openedBy: breaker.openedBy ?? '',
    nextProbeIn: breaker.nextProbeInMs === null ? undefined : toDuration(breaker.nextProbeInMs),
    callsActive: BigInt(view.callsActive),
    successesTotal: BigInt(breaker.successesTotal),
    failuresTotal: BigInt(breaker.failuresTotal),
    connections: view.connections,
  };
}

function toDuration(ms: number): { seconds: bigint; nanos: number } {
  return { seconds: BigInt(Math.floor(ms / 1000)), nanos: Math.round((ms % 1000) * 1e6) };
}

function toRecord(decision: LoggedDecision): DecisionRecord {
  const { timeMs, ...facts } = decision;
  return { ...facts, time: new Date(timeMs), ruleOwner: '', ruleLabels: {} };
}
