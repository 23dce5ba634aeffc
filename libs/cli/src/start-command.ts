import { existsSync } from 'node:fs';
import { join } from 'node:path';
import {
  createTourTrace,
  type LocalMesh,
  MeshStartError,
  receiveTraces,
  runTour,
  SERVICES,
  spiffeIdOf,
  startLocalMesh,
  type TraceReceiver,
} from '@gatehouse/local-mesh';
import { createSpanRecorder } from '@gatehouse/telemetry/span-recorder';
import type { CommandContext } from './command-context.ts';
import { CommandError, EXIT } from './command-error.ts';
import { modelsDir } from './models-dir.ts';

export type StartOptions = {
  /** Stop after the tour. */
  readonly once?: boolean;
  /** A collector, as `http://host:port`. */
  readonly otlp?: string;
  readonly portBase: number;
};

/** `gatehouse start`: runs the local mesh, shows what it does, and stays up until Ctrl-C. */
export async function startCommand(context: CommandContext, options: StartOptions): Promise<number> {
  if (!existsSync(join(context.root, 'services')))
    throw new CommandError('start runs a mesh from the repository, and this is only the program');
  const otlp = options.otlp ?? context.env['OTEL_EXPORTER_OTLP_ENDPOINT'];
  const receiver = otlp === undefined || otlp === '' ? await receiveTraces() : undefined;
  const otlpEndpoint = receiver?.endpoint ?? otlp ?? '';
  if (!URL.canParse(otlpEndpoint)) {
    throw new CommandError(
      `OTEL_EXPORTER_OTLP_ENDPOINT is ${otlpEndpoint}, expected a URL such as http://127.0.0.1:4317`,
    );
  }
  let mesh: LocalMesh | undefined;
  try {
    mesh = await start(context, options, otlpEndpoint);
    const failed = await tour(context, mesh, otlpEndpoint, receiver);
    showHowToCall(context, mesh);
    if (!options.once) await stayUp(context, mesh);
    return failed === 0 ? EXIT.ok : EXIT.no;
  } catch (error) {
    if (context.signal.aborted) return EXIT.ok;
    if (!(error instanceof MeshStartError)) throw error;
    for (const line of error.logLines) context.err.line(context.err.colors.dim(`  ${line}`));
    context.err.line(`gatehouse: ${error.message}`);
    return EXIT.no;
  } finally {
    if (mesh !== undefined) context.err.line(context.err.colors.dim('Stopping the mesh'));
    await mesh?.stop();
    receiver?.close();
  }
}

async function start(
  context: CommandContext,
  options: StartOptions,
  otlpEndpoint: string,
): Promise<LocalMesh> {
  const { err } = context;
  const startedMs = context.clock();
  err.line(err.colors.dim('Starting three services and a sidecar each'));
  const mesh = await startLocalMesh({
    root: context.root,
    dataDir: context.dataDir,
    modelsDir: modelsDir(context.env),
    otlpEndpoint,
    portBase: options.portBase === 0 ? undefined : options.portBase,
    env: childEnv(context.env),
    clock: context.clock,
    signal: context.signal,
    onReady: (service) => {
      const seconds = ((context.clock() - startedMs) / 1000).toFixed(1);
      err.line(`  ${err.colors.green('✓')} ${service} ${err.colors.dim(`ready after ${seconds} s`)}`);
    },
    onIdentityError: (error) => err.line(`gatehouse: certificates could not be renewed: ${error.message}`),
  });
  return mesh;
}

async function tour(
  context: CommandContext,
  mesh: LocalMesh,
  otlpEndpoint: string,
  receiver: TraceReceiver | undefined,
): Promise<number> {
  const recorder = await createSpanRecorder({ serviceName: 'gatehouse-cli', otlpEndpoint });
  const ended = mesh.failed.then((error) => Promise.reject(error));
  try {
    const trace = createTourTrace({ recorder, receiver, clock: context.clock });
    const toured = runTour({
      mesh: mesh.state,
      screen: context.out,
      trace,
      signal: context.signal,
      verifyAudit: (folder) => verifyAudit(context, folder),
    });
    const failed = await Promise.race([toured, ended]);
    return failed.length;
  } finally {
    await recorder.shutdown();
  }
}

async function verifyAudit(context: CommandContext, folder: string): Promise<boolean> {
  const { auditVerifyCommand } = await import('./audit-verify-command.ts');
  return (await auditVerifyCommand(context, folder, {})) === EXIT.ok;
}

/** Until Ctrl-C, or until a process of the mesh ends. */
async function stayUp(context: CommandContext, mesh: LocalMesh): Promise<void> {
  context.out.line();
  context.out.line(context.out.colors.dim('The mesh stays up. Ctrl-C stops it.'));
  const asked = new Promise<undefined>((resolve) => {
    context.signal.addEventListener('abort', () => resolve(undefined), { once: true });
    if (context.signal.aborted) resolve(undefined);
  });
  const failure = await Promise.race([asked, mesh.failed]);
  if (failure !== undefined) throw failure;
}

const GRPCURL_EXAMPLES = {
  inference: [
    `{"model":"smollm2-135m-instruct","prompt":"Once upon a time","max_tokens":20}`,
    'gatehouse.inference.v1.InferenceService/Generate',
  ],
  embeddings: [
    `{"model":"all-minilm-l6-v2","inputs":["a sentence"]}`,
    'gatehouse.embeddings.v1.EmbeddingsService/Embed',
  ],
  orchestration: ['{}', 'gatehouse.orchestration.v1.OrchestrationService/ListGraphs'],
} as const;

function showHowToCall(context: CommandContext, { state }: LocalMesh): void {
  const { out } = context;
  const { colors } = out;
  const { certificateFile, keyFile } = state.identities.developer;
  out.line();
  out.line(colors.bold('Call it'));
  for (const service of SERVICES) {
    out.line(
      `  ${service.padEnd(14)} ${localhost(state.services[service].inbound)}  ${colors.dim(spiffeIdOf(service))}`,
    );
  }
  out.line(`  ${'CA'.padEnd(14)} ${state.bundleFile}`);
  out.line(`  ${'certificate'.padEnd(14)} ${certificateFile}  ${colors.dim(spiffeIdOf('developer'))}`);
  out.line(`  ${'key'.padEnd(14)} ${keyFile}`);
  out.line(`  ${'policy'.padEnd(14)} ${state.policyFile}  ${colors.dim('edit it, the sidecars take it up')}`);
  out.line();
  for (const service of SERVICES) {
    const [data, method] = GRPCURL_EXAMPLES[service];
    const address = localhost(state.services[service].inbound);
    out.line(
      `  grpcurl -cacert ${state.bundleFile} -cert ${certificateFile} -key ${keyFile} -d '${data}' ${address} ${method}`,
    );
  }
  out.line();
  out.line(
    `  npm run gatehouse -- call InferenceService/StreamGenerate --data '{"model":"smollm2-135m-instruct","prompt":"Hello"}'`,
  );
  out.line(
    `  npm run gatehouse -- policy explain --from intern --to InferenceService/Generate --model smollm2-135m-instruct`,
  );
  out.line(`  npm run gatehouse -- circuits`);
}

/** The name that the certificates carry, for clients that check one. */
function localhost(address: string): string {
  return address.replace(/^127\.0\.0\.1:/, 'localhost:');
}

/** What the processes of the mesh get to see: nothing that would steer Node or OpenTelemetry behind their configuration. */
function childEnv(env: CommandContext['env']): Record<string, string> {
  const kept = Object.entries(env).filter(
    ([name, value]) => value !== undefined && !name.startsWith('OTEL_') && name !== 'NODE_OPTIONS',
  );
  return Object.fromEntries(kept) as Record<string, string>;
}
