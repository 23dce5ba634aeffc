/** Where calls go: upstreams over mTLS, and the own app. The folder's one public face. */
export { type AppPool, type AppPoolView, createAppPool } from './app-pool.ts';
export type { BreakerChange, BreakerState, BreakerView, FailureCause, Outcome } from './breaker.ts';
export { type ConnectProblem, type ConnectProblemKind, causeOf } from './connect-problem.ts';
export type { Attempt, EndpointView } from './endpoint.ts';
export type { UpstreamView } from './upstream.ts';
export { createUpstreams, type UpstreamConfig, type Upstreams } from './upstreams.ts';
