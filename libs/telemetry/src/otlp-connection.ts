import { readFile, stat } from 'node:fs/promises';
import {
  type ChannelCredentials,
  Client,
  credentials,
  Metadata,
  type ServiceError,
  status,
} from '@grpc/grpc-js';
import { ExportFailure } from './export-queue.ts';
import type { OtlpTarget } from './otlp-target.ts';

/** A collector that telemetry is sent to. */
export type OtlpConnection = {
  /**
   * Sends one export.
   * @param path of the method, as `/opentelemetry.proto.collector.trace.v1.TraceService/Export`
   * @returns the answer. Rejects with an ExportFailure.
   */
  send(path: string, request: Uint8Array): Promise<Uint8Array>;
  /** Ends what is on its way, too. */
  close(): void;
};

type Open = {
  readonly client: Client;
  readonly headers: Metadata;
  /** What its files were when it was opened. */
  readonly files: string;
};

const SEND_MS_MAX = 10_000;
const ANSWER_BYTES_MAX = 64 * 1024;
const CHANNEL_OPTIONS = {
  'grpc.initial_reconnect_backoff_ms': 500,
  // By default it grows to two minutes, and spans are dropped for as long after a collector has come back.
  'grpc.max_reconnect_backoff_ms': 5000,
  'grpc.max_receive_message_length': ANSWER_BYTES_MAX,
  // A connection that is opened anew is a new one.
  'grpc.use_local_subchannel_pool': 1,
  'grpc.service_config_disable_resolution': 1,
  // Failed exports are sent again by the queue.
  'grpc.enable_retries': 0,
};
/** Statuses after which the same export may be sent again (OTLP, "OTLP/gRPC response"). */
const RETRYABLE: ReadonlySet<number> = new Set([
  status.CANCELLED,
  status.DEADLINE_EXCEEDED,
  status.ABORTED,
  status.OUT_OF_RANGE,
  status.UNAVAILABLE,
  status.DATA_LOSS,
]);

/** Nothing is read or connected before the first export; files that have changed are taken for the next one. */
export function openOtlpConnection(target: OtlpTarget): OtlpConnection {
  let open: Open | null = null;
  const current = async (): Promise<Open> => {
    const files = await stateOfFiles(target);
    if (open?.files === files) return open;
    open?.client.close();
    open = null;
    open = { files, ...(await connect(target)) };
    return open;
  };
  return {
    send: async (path, request) => {
      const { client, headers } = await current();
      try {
        return await call(client, { path, request, headers });
      } catch (error) {
        const failure = error as ServiceError;
        if (failure.code === status.DEADLINE_EXCEEDED) {
          // The host may have gone without a word.
          client.close();
          open = null;
        }
        throw new ExportFailure(failure.message, { mayRepeat: RETRYABLE.has(failure.code) });
      }
    },
    close: () => {
      open?.client.close();
      open = null;
    },
  };
}

function call(
  client: Client,
  { path, request, headers }: { path: string; request: Uint8Array; headers: Metadata },
): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const deadline = performance.timeOrigin + performance.now() + SEND_MS_MAX;
    client.makeUnaryRequest(
      path,
      (bytes: Buffer) => bytes,
      (bytes: Buffer) => bytes,
      Buffer.from(request.buffer, request.byteOffset, request.byteLength),
      headers,
      { deadline },
      (error, answer) => (error === null ? resolve(answer ?? Buffer.alloc(0)) : reject(error)),
    );
  });
}

/** @throws ExportFailure when a file cannot be used, naming it */
async function connect(target: OtlpTarget): Promise<Omit<Open, 'files'>> {
  const { host, protocol } = new URL(target.otlpEndpoint);
  const { serverName } = target.otlpTls ?? {};
  const options = {
    ...CHANNEL_OPTIONS,
    ...(serverName === undefined ? {} : { 'grpc.ssl_target_name_override': serverName }),
  };
  const headers = await readHeaders(target.otlpHeadersFile);
  const channel = protocol === 'https:' ? await readTls(target) : credentials.createInsecure();
  return { client: new Client(host, channel, options), headers };
}

async function readTls({ otlpTls: tls = {} }: OtlpTarget): Promise<ChannelCredentials> {
  const [ca, key, certificate] = await Promise.all([
    readGiven(tls.caFile),
    readGiven(tls.keyFile),
    readGiven(tls.certificateFile),
  ]);
  try {
    return credentials.createSsl(ca, key, certificate);
  } catch (error) {
    const files = [tls.caFile, tls.certificateFile, tls.keyFile].filter((file) => file !== undefined);
    throw unusable(files.join(', '), error);
  }
}

/** One `name: value` a line. */
async function readHeaders(file: string | undefined): Promise<Metadata> {
  const headers = new Metadata();
  const text = await readGiven(file);
  for (const [index, line] of (text?.toString('utf8') ?? '').split('\n').entries()) {
    if (line.trim() === '') continue;
    const at = line.indexOf(':');
    try {
      headers.add(line.slice(0, at).trim(), line.slice(at + 1).trim());
    } catch {
      // What grpc-js says holds the value, and that is a secret.
      throw unusable(`line ${index + 1} of ${file}`, new Error('expected NAME: VALUE'));
    }
  }
  return headers;
}

async function readGiven(file: string | undefined): Promise<Buffer | null> {
  if (file === undefined) return null;
  return readFile(file).catch((error: unknown) => {
    throw unusable(file, error);
  });
}

function unusable(what: string, error: unknown): ExportFailure {
  const reason = error instanceof Error ? error.message : String(error);
  return new ExportFailure(`${what} cannot be used: ${reason}`, { mayRepeat: true });
}

/** Changes when a file is written or replaced; a mounted Secret is a link to another file from then on. */
async function stateOfFiles({ otlpTls: tls = {}, otlpHeadersFile }: OtlpTarget): Promise<string> {
  const files = [tls.caFile, tls.certificateFile, tls.keyFile, otlpHeadersFile];
  const states = files.map(async (file) => {
    if (file === undefined) return '';
    const found = await stat(file).catch(() => null);
    return found === null ? 'none' : `${found.ino}:${found.size}:${found.mtimeMs}`;
  });
  return (await Promise.all(states)).join();
}
