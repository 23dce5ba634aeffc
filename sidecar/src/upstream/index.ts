/** Where calls go: upstreams over mTLS, and the own app. The folder's one public face. */
export { type AppPool, type CallerHash, callerHash, createAppPool } from './app-pool.ts';
export type { FailureCause, Outcome } from './breaker.ts';
export type { ConnectProblem } from './connect-problem.ts';
export type { Attempt, EndpointView } from './endpoint.ts';
export type { UpstreamView } from './upstream.ts';
export { createUpstreams, type Upstreams } from './upstreams.ts';
