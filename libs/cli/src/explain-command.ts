import { AdminServiceService, type ExplainRequest, type ExplainResponse } from '@gatehouse/contracts/admin';
import {
  CALLERS,
  connectToSocket,
  isServiceError,
  type MeshState,
  SERVICES,
  type ServiceName,
  spiffeIdOf,
} from '@gatehouse/local-mesh';
import { status } from '@grpc/grpc-js';
import { type CommandContext, runningMesh } from './command-context.ts';
import { CommandError, EXIT } from './command-error.ts';
import { loadPolicy } from './load-policy.ts';
import { loadMethodCatalog } from './method-catalog.ts';
import { showExplanation } from './show-explanation.ts';

export type ExplainOptions = {
  /** A SPIFFE ID, or the name of one of the local mesh's identities. */
  readonly from?: string;
  readonly to?: string;
  /** `name` or `name@version` */
  readonly model?: string;
  readonly maxOutputTokens?: number;
  readonly priority?: number;
  /** The policy's name of the token's issuer. */
  readonly issuer?: string;
  /** The token's claims as a JSON object. */
  readonly claims?: string;
  /** ISO 8601. Default: now. */
  readonly at?: string;
  /** A decision of a running sidecar, in place of all of the above. */
  readonly decision?: string;
  /** A policy document to ask in place of the running mesh's. */
  readonly policy?: string;
  readonly json?: boolean;
};

const ADMIN_MS_MAX = 5000;

const NOTHING_ASKED: ExplainRequest = {
  identity: '',
  method: '',
  model: '',
  tokenIssuer: '',
  tokenClaims: {},
  tokenClaimsJson: '',
  decisionId: '',
};

/** `gatehouse policy explain`: what the policy in force decides, and what kept each rule from matching. */
export async function explainCommand(context: CommandContext, options: ExplainOptions): Promise<number> {
  const explained =
    options.decision === undefined
      ? await explainCall(context, toRequest(options), options.policy)
      : await explainDecision(context, options.decision);
  if (options.json)
    context.out.line(
      JSON.stringify(explained, (_, value: unknown) => (typeof value === 'bigint' ? Number(value) : value)),
    );
  else showExplanation(context.out, explained);
  return explained.allowed ? EXIT.ok : EXIT.no;
}

function toRequest(options: ExplainOptions): ExplainRequest {
  const { from, to, model = '', issuer = '', claims = '', at, maxOutputTokens, priority } = options;
  if (from === undefined || to === undefined)
    throw new CommandError('--from and --to are missing, or --decision in their place');
  const method = loadMethodCatalog().find(to);
  const known = [...SERVICES, ...CALLERS].find((name) => name === from);
  const identity = known === undefined ? from : spiffeIdOf(known);
  if (!identity.startsWith('spiffe://')) {
    throw new CommandError(
      `--from ${from} is no identity, expected a SPIFFE ID or one of ${[...SERVICES, ...CALLERS].join(', ')}`,
    );
  }
  if (claims !== '' && issuer === '') throw new CommandError('--claims asks for --issuer, whose token it is');
  const time = at === undefined ? undefined : new Date(at);
  if (time !== undefined && Number.isNaN(time.getTime()))
    throw new CommandError(`--at ${at} is no time, expected one such as 2026-11-22T20:00:00Z`);
  return {
    ...NOTHING_ASKED,
    identity,
    method: method.name,
    model,
    tokenIssuer: issuer,
    tokenClaimsJson: claims,
    maxOutputTokens: maxOutputTokens === undefined ? undefined : BigInt(maxOutputTokens),
    priority,
    time,
  };
}

async function explainCall(
  context: CommandContext,
  request: ExplainRequest,
  policyFile: string | undefined,
): Promise<ExplainResponse> {
  if (policyFile !== undefined) return askDocument(context, policyFile, request);
  // Any sidecar can explain a method that all services have.
  const service =
    SERVICES.find((name) => request.method.startsWith(`gatehouse.${name}.`)) ??
    ('inference' satisfies ServiceName);
  const answer = await askSidecar(context, await runningMesh(context), service, request);
  if (answer === null) throw new CommandError(`the ${service} sidecar cannot explain this`);
  return answer;
}

/** Whose decision it is the id does not say: each sidecar of the mesh is asked. */
async function explainDecision(context: CommandContext, decisionId: string): Promise<ExplainResponse> {
  const mesh = await runningMesh(context);
  for (const service of SERVICES) {
    const answer = await askSidecar(context, mesh, service, { ...NOTHING_ASKED, decisionId });
    if (answer !== null) return answer;
  }
  throw new CommandError(`no sidecar of the running mesh has the decision ${decisionId} any more`);
}

/** @returns null where the sidecar does not have what was asked about */
async function askSidecar(
  context: CommandContext,
  mesh: MeshState,
  service: ServiceName,
  request: ExplainRequest,
): Promise<ExplainResponse | null> {
  const client = connectToSocket(mesh.services[service].admin);
  try {
    return await client.unary(AdminServiceService.explain, request, {
      deadline: new Date(context.clock() + ADMIN_MS_MAX),
      signal: context.signal,
    });
  } catch (error) {
    if (!isServiceError(error)) throw error;
    if (error.code === status.NOT_FOUND) return null;
    throw new CommandError(`the ${service} sidecar cannot explain this: ${error.details}`);
  } finally {
    client.close();
  }
}

/** Answers as a sidecar with this policy would. */
async function askDocument(
  context: CommandContext,
  policyFile: string,
  request: ExplainRequest,
): Promise<ExplainResponse> {
  const { answerExplain } = await import('@gatehouse/sidecar');
  const policy = await loadPolicy(policyFile);
  const answer = answerExplain(request, { policy, decisions: null, clock: context.clock });
  if ('problem' in answer) throw new CommandError(answer.problem);
  return answer;
}
