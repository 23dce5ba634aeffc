import { AdminServiceService, type ExplainResponse } from '@gatehouse/contracts/admin';
import {
  CALLERS,
  connectToSocket,
  isServiceError,
  SERVICES,
  type ServiceName,
  spiffeIdOf,
} from '@gatehouse/local-mesh';
import { type CommandContext, runningMesh } from './command-context.ts';
import { CommandError, EXIT } from './command-error.ts';
import { loadMethodCatalog } from './method-catalog.ts';
import { loadPolicy } from './policy-test-command.ts';

export type ExplainOptions = {
  /** A SPIFFE ID, or the name of one of the local mesh's identities. */
  readonly from: string;
  readonly to: string;
  readonly model?: string;
  /** A policy document to ask in place of the running mesh's. */
  readonly policy?: string;
  readonly json?: boolean;
};

const ADMIN_MS_MAX = 5000;

/** `gatehouse policy explain`: what the policy in force decides, and what kept each rule from matching. */
export async function explainCommand(context: CommandContext, options: ExplainOptions): Promise<number> {
  const method = loadMethodCatalog().find(options.to);
  const known = [...SERVICES, ...CALLERS].find((name) => name === options.from);
  const identity = known === undefined ? options.from : spiffeIdOf(known);
  if (!identity.startsWith('spiffe://')) {
    throw new CommandError(
      `--from ${options.from} is no identity, expected a SPIFFE ID or one of ${[...SERVICES, ...CALLERS].join(', ')}`,
    );
  }
  const question = { identity, method: method.name, model: options.model };
  const explained =
    options.policy === undefined
      ? await askSidecar(context, serviceAnswering(method.service), question)
      : await askDocument(options.policy, question);
  if (options.json) context.out.line(JSON.stringify(explained));
  else showExplanation(context, explained, question);
  return explained.allowed ? EXIT.ok : EXIT.no;
}

/** Any sidecar can explain a method that all services have. */
function serviceAnswering(service: string): ServiceName {
  return SERVICES.find((name) => service.startsWith(`gatehouse.${name}.`)) ?? 'inference';
}

async function askSidecar(
  context: CommandContext,
  service: ServiceName,
  asked: Question,
): Promise<ExplainResponse> {
  const mesh = await runningMesh(context);
  const client = connectToSocket(mesh.services[service].admin);
  try {
    return await client.unary(
      AdminServiceService.explain,
      {
        identity: asked.identity,
        method: asked.method,
        model: asked.model ?? '',
        tokenIssuer: '',
        tokenClaims: {},
        tokenClaimsJson: '',
        decisionId: '',
      },
      { deadline: new Date(context.clock() + ADMIN_MS_MAX), signal: context.signal },
    );
  } catch (error) {
    if (!isServiceError(error)) throw error;
    throw new CommandError(`the ${service} sidecar cannot explain this: ${error.details}`);
  } finally {
    client.close();
  }
}

async function askDocument(policyFile: string, asked: Question): Promise<ExplainResponse> {
  const { explainPolicy } = await import('@gatehouse/sidecar');
  const policy = await loadPolicy(policyFile);
  const { identity, method, model } = asked;
  const { decision, rules } = explainPolicy(policy, { identity, method, model: model ?? null, token: null, nowMs: 0 });
  return {
    allowed: decision.allowed,
    ruleId: decision.ruleId ?? '',
    reason: decision.allowed ? '' : decision.reason,
    policyVersion: policy.version,
    rules: rules.map((rule) => ({ ...rule, effect: '', shadow: false, owner: '', labels: {}, byFailure: false })),
    limits: [],
    protections: [],
    identity,
    method,
    model: model ?? '',
  };
}

type Question = { readonly identity: string; readonly method: string; readonly model: string | undefined };

function showExplanation(context: CommandContext, explained: ExplainResponse, asked: Question): void {
  const { colors } = context.out;
  const { out } = context;
  const model = asked.model === undefined ? '' : ` with model ${asked.model}`;
  out.line(`${asked.identity} → ${asked.method}${model}`);
  const rule = explained.ruleId === '' ? 'by no rule' : `by rule ${colors.bold(explained.ruleId)}`;
  const verdict = explained.allowed
    ? colors.green('allowed')
    : `${colors.red('refused')} ${explained.reason}`;
  out.line(`${verdict} ${rule} ${colors.dim(`(policy ${explained.policyVersion})`)}`);
  for (const each of explained.rules) {
    const mark = each.matched ? colors.green('✓') : colors.dim('·');
    out.line(`  ${mark} ${each.ruleId}${each.mismatch === '' ? '' : colors.dim(`: ${each.mismatch}`)}`);
  }
}
