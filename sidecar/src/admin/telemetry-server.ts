import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { listenOn } from '@gatehouse/sockets';

/** Not by `import`, which asks for every export: `WebSocket` among them brings in all of undici, 6 MB that nothing here uses. */
const { createServer } = process.getBuiltinModule('node:http');

export type TelemetryParts = {
  /** Why the sidecar is not ready, a sentence each; empty when it is. */
  readonly notReadyBecause: () => Promise<readonly string[]>;
  /** What is wrong although the sidecar is ready, a sentence each. */
  readonly notes: () => readonly string[];
  /** No call from the network is in progress any more, and none will be. */
  readonly drained: () => boolean;
  /** Waits for that, within a bound. */
  readonly untilDrained: () => Promise<void>;
  /** The metrics in Prometheus' text format, or in OpenMetrics, which has exemplars. */
  readonly metrics: (
    asOpenMetrics: boolean,
  ) => Promise<{ readonly contentType: string; readonly body: string }>;
};

export type TelemetryServer = { readonly address: string; close(): void };

/** Header and idle time-outs of the port, which may face the pod network. */
const REQUEST_MS_MAX = 5000;
const CONNECTIONS_MAX = 64;
/** Of these, how many may wait for the drain. */
const WAITING_MAX = 32;

/**
 * Probes and metrics, nothing else: `/livez`, `/readyz`, `/drained` and `/metrics`. `/drained?wait` answers once it is so, or can't be any
 * more: a preStop hook of an app, which then ends without a call in flight from the network.
 */
export async function serveTelemetry(address: string, parts: TelemetryParts): Promise<TelemetryServer> {
  let waiting = 0;
  const untilDrained = async (): Promise<void> => {
    if (waiting >= WAITING_MAX) return;
    waiting++;
    await parts.untilDrained().finally(() => waiting--);
  };
  const server: Server = createServer((request, response) => {
    answer(request, response, { ...parts, untilDrained }).catch(() => end(response, 500, 'internal error\n'));
  });
  server.requestTimeout = REQUEST_MS_MAX;
  server.headersTimeout = REQUEST_MS_MAX;
  server.maxConnections = CONNECTIONS_MAX;
  const bound = await listenOn(server, address);
  return {
    address: bound,
    close: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}

async function answer(
  { method, url = '', headers }: IncomingMessage,
  response: ServerResponse,
  parts: TelemetryParts,
): Promise<void> {
  if (method !== 'GET' && method !== 'HEAD') {
    response.setHeader('allow', 'GET, HEAD');
    return end(response, 405, 'expected GET\n');
  }
  const [path, query] = url.split('?', 2);
  switch (path) {
    case '/livez':
      return end(response, 200, 'alive\n');
    case '/readyz': {
      const reasons = await parts.notReadyBecause();
      return reasons.length === 0
        ? end(response, 200, `${['ready', ...parts.notes()].join('\n')}\n`)
        : end(response, 503, `${reasons.join('\n')}\n`);
    }
    case '/drained':
      if (query === 'wait') await parts.untilDrained();
      return parts.drained() ? end(response, 200, 'drained\n') : end(response, 503, 'not drained\n');
    case '/metrics': {
      // Prometheus asks for OpenMetrics first; whoever names it can read it.
      const asOpenMetrics = headers.accept?.includes('application/openmetrics-text') === true;
      const { contentType, body } = await parts.metrics(asOpenMetrics);
      response.setHeader('vary', 'accept');
      response.setHeader('content-type', contentType);
      return end(response, 200, body);
    }
    default:
      return end(response, 404, 'expected /livez, /readyz, /drained or /metrics\n');
  }
}

function end(response: ServerResponse, status: number, body: string): void {
  response.statusCode = status;
  response.end(body);
}
