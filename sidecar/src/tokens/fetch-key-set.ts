import type { IncomingMessage } from 'node:http';
import { get } from 'node:https';

const TIMEOUT_MS_DEFAULT = 5000;

interface FetchLimits {
  readonly signal: AbortSignal;
  readonly bytesMax: number;
  /** Certificates to verify the server with, in PEM. Default: Node's own. */
  readonly ca?: string;
  readonly timeoutMs?: number;
}

/**
 * Gets the text at an https:// URL. Follows no redirects: the policy names the one place that keys come from. Rejects on
 * any status but 200, after `timeoutMs` (default 5000) and beyond `bytesMax`.
 */
export async function fetchKeySet(url: string, limits: FetchLimits): Promise<string> {
  const { signal, bytesMax, ca, timeoutMs = TIMEOUT_MS_DEFAULT } = limits;
  const late = AbortSignal.timeout(timeoutMs);
  try {
    const response = await open(url, { signal: AbortSignal.any([signal, late]), ca });
    if (response.statusCode !== 200) {
      response.destroy();
      throw new Error(`${url} answered ${response.statusCode}`);
    }
    const chunks: Buffer[] = [];
    let bytes = 0;
    for await (const chunk of response as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      if (bytes > bytesMax) throw new Error(`${url} answered more than ${bytesMax} bytes`);
      chunks.push(chunk);
    }
    return Buffer.concat(chunks).toString('utf8');
  } catch (error) {
    throw late.aborted ? new Error(`${url} did not answer within ${timeoutMs} ms`) : error;
  }
}

function open(
  url: string,
  { signal, ca }: { signal: AbortSignal; ca: string | undefined },
): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const options = { signal, agent: false as const, headers: { accept: 'application/json' } };
    get(url, ca === undefined ? options : { ...options, ca }, resolve).on('error', reject);
  });
}
