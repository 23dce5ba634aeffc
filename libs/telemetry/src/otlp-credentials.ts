import { readFile, stat } from 'node:fs/promises';
import { checkServerIdentity } from 'node:tls';
import { type ChannelCredentials, credentials, Metadata } from '@grpc/grpc-js';
import { ExportFailure } from './export-queue.ts';
import type { OtlpTarget } from './otlp-target.ts';

/** What a collector is shown: TLS or none of it, and headers. */
export type OtlpCredentials = { readonly credentials: ChannelCredentials; readonly metadata: Metadata };

/**
 * Reads the files that the target names.
 * @throws ExportFailure when one of them cannot be used, naming it
 */
export async function readOtlpCredentials(target: OtlpTarget): Promise<OtlpCredentials> {
  const { protocol } = new URL(target.otlpEndpoint);
  const metadata = await readHeaders(target.otlpHeadersFile);
  return { credentials: protocol === 'https:' ? await readTls(target) : plaintext(), metadata };
}

/** Changes when a file is written or replaced; a mounted Secret is a link to another file from then on. */
export async function stateOfFiles({ otlpTls: tls = {}, otlpHeadersFile }: OtlpTarget): Promise<string> {
  const files = [tls.caFile, tls.certificateFile, tls.keyFile, otlpHeadersFile];
  const states = files.map(async (file) => {
    if (file === undefined) return '';
    const found = await stat(file).catch(() => null);
    return found === null ? 'none' : `${found.ino}:${found.size}:${found.mtimeMs}`;
  });
  return (await Promise.all(states)).join();
}

/** Equal to no other, so that grpc-js shares its connection with no exporter that was opened before. */
function plaintext(): ChannelCredentials {
  const insecure = credentials.createInsecure();
  return Object.assign(insecure, { _equals: (other: ChannelCredentials) => other === insecure });
}

async function readTls({ otlpTls: tls = {} }: OtlpTarget): Promise<ChannelCredentials> {
  const { serverName } = tls;
  const [ca, key, certificate] = await Promise.all([
    readGiven(tls.caFile),
    readGiven(tls.keyFile),
    readGiven(tls.certificateFile),
  ]);
  try {
    return credentials.createSsl(
      ca,
      key,
      certificate,
      serverName === undefined
        ? {}
        : { checkServerIdentity: (_host, shown) => checkServerIdentity(serverName, shown) },
    );
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
