import { Command, InvalidArgumentError } from 'commander';
import { addAuditCommands, addReplayCommand } from './audit-commands.ts';
import { type CallOptions, callCommand } from './call-command.ts';
import { circuitsCommand } from './circuits-command.ts';
import type { CommandContext } from './command-context.ts';
import { CommandError, EXIT } from './command-error.ts';
import { type ExplainOptions, explainCommand } from './explain-command.ts';
import { type GateOptions, gateCommand } from './gate-command.ts';
import { loadMethodCatalog } from './method-catalog.ts';
import { policyDiffCommand } from './policy-diff-command.ts';
import { type PolicySignOptions, policySignCommand } from './policy-sign-command.ts';
import { type PolicyTestOptions, policyTestCommand } from './policy-test-command.ts';
import { sidecarCheckCommand } from './sidecar-check-command.ts';
import { type DrainOptions, sidecarDrainCommand } from './sidecar-drain-command.ts';
import { type StartOptions, startCommand } from './start-command.ts';
import { type TraceOptions, traceCommand } from './trace-command.ts';

const PORT_BASE = 8443;
const JAEGER_URL = 'http://127.0.0.1:16686';
const DRAIN_SECONDS_MAX = 60;
const EXIT_CODES = `
Exit codes: 0 it went well; 1 the answer is no (a call failed, policy refuses, a check found something);
2 it could not be asked (wrong usage, no mesh is running).`;

/**
 * Runs one command.
 *
 * @param args what stands after the program's name
 * @returns the exit code
 */
export async function runProgram(context: CommandContext, args: readonly string[]): Promise<number> {
  let exitCode: number = EXIT.ok;
  const program = buildProgram(context, (code) => {
    exitCode = code;
  });
  try {
    await program.parseAsync([...args], { from: 'user' });
    return exitCode;
  } catch (error) {
    if (isCommanderError(error)) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
    if (!(error instanceof CommandError)) throw error;
    context.err.line(`gatehouse: ${error.message}`);
    return error.exitCode;
  }
}

function buildProgram(context: CommandContext, done: (exitCode: number) => void): Command {
  const program = new Command('gatehouse')
    .description('A gRPC mesh for model serving')
    .addHelpText('after', EXIT_CODES)
    .exitOverride()
    .configureOutput({
      writeOut: (text) => context.out.write(text),
      writeErr: (text) => context.err.write(text),
    });
  program
    .command('start')
    .description('run the local mesh: a development CA, three services, a sidecar each')
    .option('--once', 'stop after the tour')
    .option(
      '--otlp <url>',
      'send spans to this collector, such as http://127.0.0.1:4317 (default: show one trace here)',
      parseUrl,
    )
    .option(
      '--port-base <port>',
      'first of six ports in a row; 0 takes any that are free',
      parsePort,
      PORT_BASE,
    )
    .action(async (options: StartOptions) => done(await startCommand(context, options)));
  program
    .command('call')
    .description('call a method of the running mesh')
    .argument('<service/method>', 'as in InferenceService/Generate, or with its package')
    .option(
      '--data <json>',
      'the request; a list for a method that takes a stream; @FILE, or @- for standard input',
      '{}',
    )
    .option('--as <caller>', 'developer or intern', 'developer')
    .option('--to <service>', 'the service to ask, for methods that several have')
    .option('--timeout <seconds>', 'deadline of the call', parseSeconds)
    .option('--json', 'one JSON text a line, failures included')
    .action(async (method: string, options: CallOptions) =>
      done(await callCommand(context, method, options)),
    );
  program
    .command('methods')
    .description('list the methods that can be called')
    .option('--json', 'as a JSON list')
    .action((options: { json?: boolean }) => {
      const { names } = loadMethodCatalog();
      if (options.json) context.out.line(JSON.stringify(names));
      else for (const name of names) context.out.line(name);
    });
  program
    .command('circuits')
    .description('show every endpoint that the sidecars call, with its circuit breaker')
    .option('--json', 'as a JSON list')
    .action(async (options: { json?: boolean }) => done(await circuitsCommand(context, options)));
  program
    .command('trace')
    .description(
      'show a trace that Jaeger has as a tree: which rules decided, what was refused or tried again',
    )
    .argument('<id>', 'as refusals, log lines and audit records name it')
    .option('--jaeger <url>', "Jaeger's query service", parseUrl, JAEGER_URL)
    .option('--svg <file>', 'draw it as well')
    .option('--json', 'as a JSON list of spans')
    .action(async (id: string, options: TraceOptions) => done(await traceCommand(context, id, options)));
  addCheckingCommands(program, context, done);
  return program;
}

function addCheckingCommands(
  program: Command,
  context: CommandContext,
  done: (exitCode: number) => void,
): void {
  const policy = program.command('policy').description('ask the policy');
  addExplain(policy, context, done);
  addPolicyComparisons(policy, context, done);
  policy
    .command('schema')
    .description('print the JSON schema of policy documents, for editors')
    .action(async () => {
      const { policyJsonSchema } = await import('@gatehouse/sidecar');
      context.out.line(JSON.stringify(policyJsonSchema(), null, 2));
    });
  addReplayCommand(policy, context, done);
  addAuditCommands(program, context, done);
  addGate(program, context, done);
  const sidecar = program.command('sidecar').description('look after sidecars');
  sidecar
    .command('schema')
    .description('print the JSON schema of configurations, for editors')
    .action(async () => {
      const { sidecarConfigJsonSchema } = await import('@gatehouse/sidecar');
      context.out.line(JSON.stringify(sidecarConfigJsonSchema(), null, 2));
    });
  sidecar
    .command('check')
    .description('say whether a sidecar would start with a configuration file')
    .argument('<file>', 'the configuration, YAML')
    .option('--json', 'as a JSON object')
    .action(async (file: string, options: { json?: boolean }) =>
      done(await sidecarCheckCommand(context, file, options)),
    );
  sidecar
    .command('drain')
    .description(
      'let a sidecar take no more calls from the network and finish those it has; its app calls on',
    )
    .requiredOption('--admin <address>', 'its admin port, as unix:/run/gatehouse-admin/admin.sock')
    .option('--wait', 'return when it has ended, not when it has begun')
    .option('--timeout <seconds>', 'how long to wait', parseSeconds, DRAIN_SECONDS_MAX)
    .action(async (options: DrainOptions) => done(await sidecarDrainCommand(context, options)));
}

function addExplain(policy: Command, context: CommandContext, done: (exitCode: number) => void): void {
  policy
    .command('explain')
    .description('say what the policy in force decides about a call, rule by rule')
    .option('--from <identity>', 'a SPIFFE ID, or a name of the local mesh such as intern')
    .option('--to <service/method>', 'as in InferenceService/Generate')
    .option('--model <name>', 'the model that the call names, or name@version')
    .option('--max-output-tokens <count>', 'the most output tokens that the call will take', parseCount)
    .option('--priority <number>', "the call's priority, by its number in the contract", parseCount)
    .option('--issuer <name>', "the token's issuer, by its name in the policy")
    .option('--claims <json>', "the token's claims")
    .option('--at <time>', 'when the call is made (default: now)')
    .option('--decision <id>', 'ask again about a decision that a running sidecar still has')
    .option('--policy <file>', 'ask this document (default: the policy that the running mesh enforces)')
    .option('--json', 'as a JSON object')
    .action(async (options: ExplainOptions) => done(await explainCommand(context, options)));
}

function addGate(program: Command, context: CommandContext, done: (exitCode: number) => void): void {
  program
    .command('gate')
    .description('say whether a rollout may go on: replays its policy and compares its service levels')
    .argument('<file>', 'what it has to show, YAML')
    .option('--prometheus <url>', 'ask this Prometheus what both versions did', parseUrl)
    .option('--baseline <file>', 'what was measured of the version that runs, in place of asking')
    .option('--canary <file>', 'what was measured of the new one')
    .option('--json', 'as a JSON object')
    .action(async (file: string, options: GateOptions) => done(await gateCommand(context, file, options)));
}

function addPolicyComparisons(
  policy: Command,
  context: CommandContext,
  done: (exitCode: number) => void,
): void {
  policy
    .command('test')
    .description('compare what a policy decides with what a file expects')
    .argument(
      '<file>',
      'YAML: a list of {from, to, model?, request?, token?, at?, expect: allow or deny, rule?, reason?}',
    )
    .option('--policy <file>', 'the policy document (default: the one that the running mesh enforces)')
    .option('--json', 'as a JSON list')
    .action(async (file: string, options: PolicyTestOptions) =>
      done(await policyTestCommand(context, file, options)),
    );
  policy
    .command('diff')
    .description('say who gains and who loses what when one document takes the place of another')
    .argument('<old>', 'the policy document in force')
    .argument('<new>', 'the one to come')
    .option('--json', 'as a JSON object')
    .action(async (before: string, after: string, options: { json?: boolean }) =>
      done(await policyDiffCommand(context, { before, after }, options)),
    );
  policy
    .command('sign')
    .description('sign a policy document with all that it includes')
    .argument('<file>', 'the policy document; the signature goes beside it, as FILE.jws')
    .requiredOption('--key <file>', 'a private key as JWK')
    .action(async (file: string, options: PolicySignOptions) =>
      done(await policySignCommand(context, file, options)),
    );
}

function parseCount(text: string): number {
  const count = Number(text);
  if (Number.isSafeInteger(count) && count >= 0) return count;
  throw new InvalidArgumentError('expected a whole number.');
}

function parsePort(text: string): number {
  const port = Number(text);
  if (Number.isInteger(port) && port >= 0 && port <= 65_530) return port;
  throw new InvalidArgumentError('expected a port from 0 to 65530.');
}

function parseUrl(text: string): string {
  const protocol = URL.parse(text)?.protocol;
  if (protocol === 'http:' || protocol === 'https:') return text;
  throw new InvalidArgumentError('expected a URL such as http://127.0.0.1:4317.');
}

function parseSeconds(text: string): number {
  const seconds = Number(text);
  if (seconds > 0 && seconds <= 86_400) return seconds;
  throw new InvalidArgumentError('expected seconds, above 0 and up to 86400.');
}

function isCommanderError(error: unknown): error is { exitCode: number } {
  return (
    error instanceof Error &&
    'code' in error &&
    String(error.code).startsWith('commander.') &&
    'exitCode' in error
  );
}
