/** What the Kubernetes API server does for EndpointSlices: list, watch, bookmarks, expiry, tokens; over real TLS. */
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createAuthority } from '@gatehouse/identity';

const HOUR_MS = 3_600_000;
const TRUST_DOMAIN = 'cluster.local';

export type SliceEndpoint = {
  readonly addresses: readonly string[];
  readonly conditions?: {
    readonly ready?: boolean;
    readonly serving?: boolean;
    readonly terminating?: boolean;
  };
};

type Slice = {
  readonly addressType?: 'IPv4' | 'IPv6' | 'FQDN';
  readonly endpoints: readonly SliceEndpoint[] | null;
  readonly ports?: readonly { readonly name?: string; readonly port?: number }[];
};

type Stored = { readonly name: string; readonly service: string; readonly object: object };
type Event = { readonly version: number; readonly service: string; readonly line: string };
type Watcher = { readonly response: ServerResponse; readonly service: string };

export type ApiServer = {
  readonly url: string;
  readonly caFile: string;
  readonly tokenFile: string;
  /** Paths with queries, as they came. */
  readonly requests: string[];
  /** Writes a slice of a Service, or deletes it with null. */
  put(service: string, name: string, slice: Slice | null): void;
  bookmark(): void;
  /** Forgets the past: whoever asks from an older version on gets 410 Gone. */
  compact(): void;
  /** Ends every watch with an ERROR event of this code. */
  failWatches(code: number): void;
  /** Ends every watch as its time-out does. */
  endWatches(): void;
  /** Cuts every connection. */
  cut(): void;
  /** The token that is accepted from now on; `write`: the kubelet puts it into its file. */
  rotateToken(token: string, write?: boolean): Promise<void>;
  /** Answers with this status instead, until it is null again. */
  refuseWith(status: number | null): void;
  readonly watches: () => number;
  stop(): Promise<void>;
  start(): Promise<void>;
  close(): Promise<void>;
};

export async function startApiServer(): Promise<ApiServer> {
  const folder = await mkdtemp(join(tmpdir(), 'gh-api-'));
  const clock = (): number => performance.timeOrigin + performance.now();
  const authority = await createAuthority({ trustDomain: TRUST_DOMAIN, clock, validForMs: HOUR_MS });
  const issued = await authority.issue({
    spiffeId: `spiffe://${TRUST_DOMAIN}/api`,
    dnsNames: ['localhost'],
    validForMs: HOUR_MS,
  });
  const files = { caFile: join(folder, 'ca.crt'), tokenFile: join(folder, 'token') };
  await writeFile(files.caFile, authority.bundlePem);
  await writeFile(files.tokenFile, 'first\n');
  const state = new State();
  const server = createServer({ cert: issued.certificatePem, key: issued.keyPem }, (request, response) =>
    state.answer(request, response),
  );
  const sockets = new Set<Socket>();
  server.on('secureConnection', (socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket)).on('error', () => {});
  });
  server.on('tlsClientError', () => {});
  const listen = async (port: number): Promise<number> => {
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
    return (server.address() as AddressInfo).port;
  };
  const port = await listen(0);
  const cut = (): void => {
    for (const socket of sockets) socket.destroy();
  };
  const stop = async (): Promise<void> => {
    const closed = server.listening ? once(server, 'close') : null;
    server.close();
    cut();
    await closed;
  };
  return {
    url: `https://localhost:${port}`,
    ...files,
    requests: state.requests,
    put: (service, name, slice) => state.put(service, name, slice),
    bookmark: () => state.bookmark(),
    compact: () => state.compact(),
    failWatches: (code) => state.failWatches(code),
    endWatches: () => state.endWatches(),
    cut,
    rotateToken: async (token, write = true) => {
      state.token = token;
      if (write) await writeFile(files.tokenFile, `${token}\n`);
    },
    refuseWith: (status) => {
      state.refusal = status;
    },
    watches: () => state.watchers.size,
    stop,
    start: async () => void (await listen(port)),
    close: async () => {
      await stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

class State {
  readonly requests: string[] = [];
  readonly watchers = new Set<Watcher>();
  token = 'first';
  refusal: number | null = null;
  #version = 100;
  #oldest = 100;
  #slices = new Map<string, Stored>();
  #events: Event[] = [];

  put(service: string, name: string, slice: Slice | null): void {
    const known = this.#slices.get(name);
    this.#version += 1;
    const metadata = {
      name,
      namespace: 'prod',
      resourceVersion: String(this.#version),
      labels: { 'kubernetes.io/service-name': service },
    };
    const object =
      slice === null
        ? { ...known?.object, metadata }
        : { kind: 'EndpointSlice', metadata, addressType: 'IPv4', ports: null, ...slice };
    if (slice === null) this.#slices.delete(name);
    else this.#slices.set(name, { name, service, object });
    const type = slice === null ? 'DELETED' : known === undefined ? 'ADDED' : 'MODIFIED';
    const event = { version: this.#version, service, line: `${JSON.stringify({ type, object })}\n` };
    this.#events.push(event);
    for (const watcher of this.watchers) if (watcher.service === service) watcher.response.write(event.line);
  }

  bookmark(): void {
    // Versions count over the whole cluster: other objects move them too.
    this.#version += 10;
    const object = { kind: 'EndpointSlice', metadata: { resourceVersion: String(this.#version) } };
    this.#send({ type: 'BOOKMARK', object });
  }

  compact(): void {
    this.#version += 10;
    this.#oldest = this.#version;
    this.#events = [];
  }

  failWatches(code: number): void {
    this.#send({ type: 'ERROR', object: { kind: 'Status', code, message: 'too old resource version' } });
    this.endWatches();
  }

  endWatches(): void {
    for (const { response } of this.watchers) response.end();
  }

  answer(request: IncomingMessage, response: ServerResponse): void {
    const url = new URL(request.url ?? '', 'https://localhost');
    this.requests.push(request.url ?? '');
    if (this.refusal !== null) return refuse(response, this.refusal, 'not now');
    if (request.headers.authorization !== `Bearer ${this.token}`)
      return refuse(response, 401, 'Unauthorized');
    if (url.pathname !== '/apis/discovery.k8s.io/v1/namespaces/prod/endpointslices')
      return refuse(response, 403, `endpointslices is forbidden: ${url.pathname}`);
    const service = url.searchParams.get('labelSelector')?.replace('kubernetes.io/service-name=', '') ?? '';
    if (url.searchParams.get('watch') === '1')
      this.#watch(Number(url.searchParams.get('resourceVersion')), service, response);
    else this.#list(service, response);
  }

  #send(event: object): void {
    for (const { response } of this.watchers) response.write(`${JSON.stringify(event)}\n`);
  }

  #list(service: string, response: ServerResponse): void {
    const items = [...this.#slices.values()].filter((slice) => slice.service === service);
    const metadata = { resourceVersion: String(this.#version) };
    response.end(
      JSON.stringify({ kind: 'EndpointSliceList', metadata, items: items.map(({ object }) => object) }),
    );
  }

  #watch(version: number, service: string, response: ServerResponse): void {
    if (version < this.#oldest) return refuse(response, 410, 'too old resource version');
    response.writeHead(200, { 'content-type': 'application/json' });
    response.flushHeaders();
    for (const event of this.#events)
      if (event.version > version && event.service === service) response.write(event.line);
    const watcher = { response, service };
    this.watchers.add(watcher);
    response.on('close', () => this.watchers.delete(watcher)).on('error', () => {});
  }
}

function refuse(response: ServerResponse, code: number, message: string): void {
  response.statusCode = code;
  response.end(JSON.stringify({ kind: 'Status', status: 'Failure', code, message }));
}
