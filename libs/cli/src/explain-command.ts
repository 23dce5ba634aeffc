import { AdminServiceService, type ExplainResponse } from '@gatehouse/contracts/admin';
import { CALLERS, connectToSocket, isServiceError, SERVICES, spiffeIdOf } from '@gatehouse/local-mesh';
import { type CommandContext, runningMesh } from './command-context.ts';
import { CommandError, EXIT } from './command-error.ts';
import { loadMethodCatalog } from './method-catalog.ts';

export type ExplainOptions = {
  /** A SPIFFE ID, or the name of one of the local mesh's identities. */
  readonly from: string;
  readonly to: string;
  readonly model?: string;
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
  const mesh = await runningMesh(context);
  const service = SERVICES.find((name) => method.service.startsWith(`gatehouse.${name}.`)) ?? 'inference';
  const client = connectToSocket(mesh.services[service].admin);
  try {
    const explained = await client.unary(
      AdminServiceService.explain,
      { identity, method: method.name, model: options.model ?? '', tokenIssuer: '', tokenClaims: {} },
      { deadline: new Date(context.clock() + ADMIN_MS_MAX), signal: context.signal },
    );
    if (options.json) context.out.line(JSON.stringify(explained));
    else showExplanation(context, explained, { identity, method: method.name, model: options.model });
    return explained.allowed ? EXIT.ok : EXIT.no;
  } catch (error) {
    if (!isServiceError(error)) throw error;
    throw new CommandError(`the ${service} sidecar cannot explain this: ${error.details}`, EXIT.usage);
  } finally {
    client.close();
  }
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
