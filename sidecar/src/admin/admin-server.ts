import {
  AdminServiceService,
  type Circuit,
  CircuitState,
  type DrainInboundRequest,
  type DrainInboundResponse,
  type ExplainRequest,
  type ExplainResponse,
  type GetConfigResponse,
} from '@gatehouse/contracts/admin';
import { bindGrpcServer } from '@gatehouse/sockets/grpc';
import { type handleUnaryCall, Server, type sendUnaryData, status } from '@grpc/grpc-js';
import type { DecisionLog } from '../path/decision-log.ts';
import type { Policy } from '../policy/index.ts';
import type { EndpointView, UpstreamView } from '../upstream/index.ts';
import { toRecord } from './decision-record.ts';
import { answerExplain } from './explain.ts';

export type AdminParts = {
  readonly config: () => GetConfigResponse;
  readonly upstreams: () => readonly UpstreamView[];
  readonly decisions: DecisionLog;
  readonly clock: () => number;
  /** Null on a sidecar without inbound. */
  readonly policy: () => Policy | null;
  /** Begins the inbound drain, or joins it; resolves when it has ended. Null on a sidecar without inbound. */
  readonly drainInbound: (() => Promise<void>) | null;
};

export type AdminServer = { readonly address: string; close(): void };

const DECISIONS_DEFAULT = 100;
const DECISIONS_MAX = 1000;

/** gatehouse.admin.v1.AdminService on a Unix socket or loopback. It reads; the one thing that it changes is to begin a drain. */
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
    drainInbound: drainCall(parts.drainInbound),
    explain: unary((request: ExplainRequest) => explainOrFail(request, parts)),
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

function drainCall(
  drainInbound: AdminParts['drainInbound'],
): handleUnaryCall<DrainInboundRequest, DrainInboundResponse> {
  return ({ request }, callback) => {
    if (drainInbound === null) {
      callback({
        code: status.FAILED_PRECONDITION,
        details: 'This sidecar has no inbound listener, so there is nothing to drain.',
      });
      return;
    }
    void answerDrain(drainInbound(), request.wait, callback);
  };
}

async function answerDrain(
  drained: Promise<void>,
  wait: boolean,
  callback: sendUnaryData<DrainInboundResponse>,
): Promise<void> {
  if (wait) await drained;
  callback(null, { ended: wait });
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

function explainOrFail(request: ExplainRequest, parts: AdminParts): ExplainResponse {
  const policy = parts.policy();
  if (policy === null) {
    throw new AdminError(
      status.FAILED_PRECONDITION,
      'This sidecar has no inbound listener, so it decides nothing.',
    );
  }
  const { decisions, clock } = parts;
  const explained = answerExplain(request, { policy, decisions, clock });
  if (!('problem' in explained)) return explained;
  throw new AdminError(
    request.decisionId === '' ? status.INVALID_ARGUMENT : status.NOT_FOUND,
    explained.problem,
  );
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
