import { readFile } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { request as requestHttps } from 'node:https';

export type KubernetesApiOptions = {
  /** `https://host[:port]`. */
  readonly url: string;
  /** PEM: the CA of the API server. */
  readonly caFile: string;
  /** The token of the service account, which the kubelet renews in its file. */
  readonly tokenFile: string;
};

/** Until the head of a response. */
const HEAD_MS_MAX = 10_000;
/** Silence on a connection after which TCP asks whether the other end is there (ten times, a second apart). */
const KEEPALIVE_MS = 10_000;
/** What is kept of the body of a refusal. */
const REFUSAL_BYTES_MAX = 4_096;

/** The API server has said no. */
export class KubernetesApiError extends Error {
  override readonly name = 'KubernetesApiError';
  readonly status: number;
  /** As Retry-After asks; 0 without it. */
  readonly retryAfterMs: number;

  constructor(status: number, message: string, retryAfterMs = 0) {
    super(message);
    this.status = status;
    this.retryAfterMs = retryAfterMs;
  }
}

/**
 * GETs a path of the API server, over a connection of its own: token and CA are read anew each time, because both are
 * renewed in their files.
 * @throws KubernetesApiError for any status but 200; other errors when the server or a file can't be had
 */
export async function getFromKubernetes(
  { url, caFile, tokenFile }: KubernetesApiOptions,
  path: string,
  signal: AbortSignal,
): Promise<IncomingMessage> {
  const [ca, token] = await Promise.all([readFile(caFile), readFile(tokenFile, 'utf8')]);
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    const request = requestHttps(new URL(path, url), {
      ca,
      agent: false,
      signal,
      headers: {
        accept: 'application/json',
        authorization: `Bearer ${token.trim()}`,
        'user-agent': 'gatehouse-sidecar',
      },
    });
    const late = setTimeout(() => request.destroy(new Error(`no answer in ${HEAD_MS_MAX} ms`)), HEAD_MS_MAX);
    request.on('socket', (socket) => socket.setKeepAlive(true, KEEPALIVE_MS));
    request.on('error', (error) => {
      clearTimeout(late);
      reject(error);
    });
    request.on('response', (answer) => {
      clearTimeout(late);
      resolve(answer);
    });
    request.end();
  });
  if (response.statusCode === 200) return response;
  throw await refusalOf(response);
}

/** The Status object (or whatever it is) of a refusal as an error. */
async function refusalOf(response: IncomingMessage): Promise<KubernetesApiError> {
  const status = response.statusCode ?? 0;
  const retryAfterMs = 1_000 * (Number.parseInt(response.headers['retry-after'] ?? '', 10) || 0);
  let text = '';
  for await (const chunk of response.setEncoding('utf8')) {
    text += String(chunk);
    if (text.length > REFUSAL_BYTES_MAX) break;
  }
  response.destroy();
  return new KubernetesApiError(status, `${status} ${messageIn(text)}`.trim(), retryAfterMs);
}

function messageIn(text: string): string {
  try {
    const { message } = JSON.parse(text) as { message?: unknown };
    return typeof message === 'string' ? message : '';
  } catch {
    return '';
  }
}
