import type { JsonValue } from '@bufbuild/protobuf';
import {
  CALLERS,
  connectToMesh,
  connectToSocket,
  isServiceError,
  type MeshClient,
  readCallFailure,
  SERVICES,
  type ServiceName,
  showFailure,
} from '@gatehouse/local-mesh';
import { type CommandContext, runningMesh } from './command-context.ts';
import { CommandError, EXIT } from './command-error.ts';
import { type CatalogMethod, loadMethodCatalog } from './method-catalog.ts';
import { readInputFile } from './read-input-file.ts';

export type CallOptions = {
  /** A JSON object, a list of them for a method that takes a stream, `@FILE`, or `@-` for standard input. */
  readonly data: string;
  readonly as: string;
  /** The service to ask, for methods that all of them have. */
  readonly to?: string;
  /** Seconds. */
  readonly timeout?: number;
  readonly json?: boolean;
};

/** `gatehouse call`: calls any method of the contracts through the running mesh and shows what comes. */
export async function callCommand(
  context: CommandContext,
  name: string,
  options: CallOptions,
): Promise<number> {
  const method = loadMethodCatalog().find(name);
  const requests = parseRequests(await readData(context, options.data), method);
  const caller = oneOf(options.as, CALLERS, '--as');
  const service = options.to === undefined ? serviceOf(method) : oneOf(options.to, SERVICES, '--to');
  const mesh = await runningMesh(context);
  const client = method.service.startsWith('gatehouse.admin.')
    ? connectToSocket(mesh.services[service].admin)
    : await connectToMesh(mesh, service, caller);
  const deadline =
    options.timeout === undefined ? undefined : new Date(context.clock() + options.timeout * 1000);
  try {
    const extras = { signal: context.signal, ...(deadline === undefined ? {} : { deadline }) };
    for await (const message of exchange(client, method, requests, extras))
      show(context, message, method, options);
    return EXIT.ok;
  } catch (error) {
    if (!isServiceError(error)) throw error;
    const failure = readCallFailure(error);
    if (options.json) context.out.line(JSON.stringify({ error: failure }));
    else showFailure(context.err, failure);
    return EXIT.no;
  } finally {
    client.close();
  }
}

type Extras = Parameters<MeshClient['unary']>[2];

async function* exchange(
  client: MeshClient,
  { definition }: CatalogMethod,
  requests: readonly JsonValue[],
  extras: Extras,
): AsyncIterable<JsonValue> {
  const [request = {}] = requests;
  if (definition.requestStream) yield* client.stream(definition, requests, extras);
  else if (definition.responseStream) yield* client.serverStream(definition, request, extras);
  else yield await client.unary(definition, request, extras);
}

/** One message a line where a machine reads or where several come; else laid out for people. */
function show(
  context: CommandContext,
  message: JsonValue,
  method: CatalogMethod,
  options: CallOptions,
): void {
  const oneLine = options.json === true || method.definition.responseStream;
  context.out.line(JSON.stringify(message, null, oneLine ? 0 : 2));
}

async function readData(context: CommandContext, data: string): Promise<string> {
  if (!data.startsWith('@')) return data;
  return data === '@-' ? context.readStdin() : readInputFile(data.slice(1));
}

function parseRequests(text: string, method: CatalogMethod): readonly JsonValue[] {
  let json: JsonValue;
  try {
    json = JSON.parse(text) as JsonValue;
  } catch (error) {
    throw new CommandError(`--data is not JSON: ${(error as Error).message}`);
  }
  const requests = Array.isArray(json) ? json : [json];
  if (!method.definition.requestStream && (Array.isArray(json) || requests.length !== 1)) {
    throw new CommandError(`--data is a list, expected one object: ${method.name} takes one message`);
  }
  for (const request of requests) method.checkRequest(request);
  return requests;
}

/** The mesh's service for a method: `gatehouse.embeddings.v1.…` is answered by embeddings. */
function serviceOf(method: CatalogMethod): ServiceName {
  const found = SERVICES.find((name) => method.service.startsWith(`gatehouse.${name}.`));
  if (found !== undefined) return found;
  throw new CommandError(
    `--to is missing, expected one of ${SERVICES.join(', ')}: several have ${method.service}`,
  );
}

function oneOf<Name extends string>(given: string, names: readonly Name[], option: string): Name {
  const found = names.find((name) => name === given);
  if (found !== undefined) return found;
  throw new CommandError(`${option} ${given} is unknown, expected one of ${names.join(', ')}`);
}
