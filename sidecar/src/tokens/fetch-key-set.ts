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
export function fetchKeySet(
  url: string,
  { signal, bytesMax, ca, timeoutMs = TIMEOUT_MS_DEFAULT }: FetchLimits,
): Promise<string> {
  return new Promise((resolve, reject) => {
    const limit = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]);
    const options = {
      signal: limit,
      agent: false as const,
      headers: { accept: 'application/json' },
      ...(ca && { ca }),
    };
    const request = get(url, options, (response) => {
      if (response.statusCode !== 200) {
        request.destroy(new Error(`${url} answered ${response.statusCode}`));
        return;
      }
      const chunks: Buffer[] = [];
      let bytes = 0;
      response.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
        if (bytes > bytesMax) request.destroy(new Error(`${url} answered more than ${bytesMax} bytes`));
        else chunks.push(chunk);
      });
      response.on('end', () => resolve(Buffer.concat(chunks).toString('utf8')));
      response.on('error', reject);
    });
    request.on('error', (error) => {
      reject(
        error.name === 'AbortError' && !signal.aborted
          ? new Error(`${url} did not answer within ${timeoutMs} ms`)
          : error,
      );
    });
  });
}
