import { type Command, InvalidArgumentError } from 'commander';
import { auditKeygenCommand } from './audit-keygen-command.ts';
import { type AuditQueryOptions, auditQueryCommand } from './audit-query-command.ts';
import { type AuditVerifyOptions, auditVerifyCommand } from './audit-verify-command.ts';
import type { CommandContext } from './command-context.ts';
import { type PolicyReplayOptions, policyReplayCommand } from './policy-replay-command.ts';

const FOLDER = 'a folder with audit segments, or a service of the local mesh such as inference';
const RECORDS_SHOWN = 50;
const RECORDS_SHOWN_MAX = 100_000;

/** `gatehouse audit …`: what stands on record, and whether it can be relied on. */
export function addAuditCommands(
  program: Command,
  context: CommandContext,
  done: (exitCode: number) => void,
): void {
  const audit = program.command('audit').description('look at the record of decisions, and check it');
  audit
    .command('verify')
    .description('say whether entries were removed, changed, reordered or cut off, and which')
    .argument('<folder>', FOLDER)
    .option('--checkpoint <file>', 'signed checkpoints, one a line (default: for the local mesh, its own)')
    .option('--key <file>', 'the public key of the checkpoints, PEM')
    .option('--json', 'as a JSON object')
    .action(async (folder: string, options: AuditVerifyOptions) =>
      done(await auditVerifyCommand(context, folder, options)),
    );
  audit
    .command('query')
    .description('show the records that match')
    .argument('<folder>', FOLDER)
    .option('--since <time>', 'calls that began then or later, as in 2026-11-22T14:00Z')
    .option('--until <time>', 'calls that began before')
    .option('--identity <id>', 'the caller’s SPIFFE ID; `*` at the end stands for any')
    .option('--method <name>', 'as in InferenceService/Generate, or with its package')
    .option('--model <name>', 'the model that the call names')
    .option('--decision <decision>', 'allow or deny')
    .option('--rule <id>', 'the rule that decided')
    .option('--reason <reason>', 'why the call was refused, as in its ErrorInfo')
    .option('--status <name>', 'the gRPC status, as in PERMISSION_DENIED')
    .option('--decision-id <id>', 'as in the refusal, the span and the decision list')
    .option('--trace-id <id>', 'of the trace, in hex')
    .option('--limit <number>', 'the newest so many', parseLimit, RECORDS_SHOWN)
    .option('--json', 'one JSON object a line')
    .action(async (folder: string, options: AuditQueryOptions) =>
      done(await auditQueryCommand(context, folder, options)),
    );
  audit
    .command('keygen')
    .description('make a key pair for signing checkpoints')
    .argument('<file>', 'the private key; the public one goes to FILE.pub')
    .action(async (file: string) => done(await auditKeygenCommand(context, file)));
}

/** `gatehouse policy replay`. */
export function addReplayCommand(
  policy: Command,
  context: CommandContext,
  done: (exitCode: number) => void,
): void {
  policy
    .command('replay')
    .description('say what a policy would have decided otherwise about the calls on record')
    .argument('<file>', 'the policy document')
    .requiredOption('--from <folder>', FOLDER)
    .option('--fail-on-loss', 'exit code 1 where a call that was allowed would be refused, or might be')
    .option('--json', 'as a JSON object')
    .action(async (file: string, options: PolicyReplayOptions) =>
      done(await policyReplayCommand(context, file, options)),
    );
}

function parseLimit(text: string): number {
  const limit = Number(text);
  if (Number.isInteger(limit) && limit >= 1 && limit <= RECORDS_SHOWN_MAX) return limit;
  throw new InvalidArgumentError(`expected a number from 1 to ${RECORDS_SHOWN_MAX}.`);
}
