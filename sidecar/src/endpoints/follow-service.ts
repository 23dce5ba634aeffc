import {
  addressesOf,
  type EndpointSlice,
  endpointSliceList,
  type WatchEvent,
  watchEvent,
} from './endpoint-slices.ts';
import type { EndpointSource, SourceEvents } from './endpoint-source.ts';
import { getFromKubernetes, KubernetesApiError, type KubernetesApiOptions } from './kubernetes-api.ts';
import { readLines } from './read-lines.ts';

export type ServiceTarget = {
  readonly namespace: string;
  /** Of the Service. */
  readonly name: string;
  /** A number, or the name of a port of the Service. */
  readonly port: number | string;
};

export type ServiceOptions = SourceEvents & {
  readonly api: KubernetesApiOptions;
  /** Milliseconds, never going back. */
  readonly clock: () => number;
  /** From 0 to below 1. */
  readonly random: () => number;
  /** Wait after a first failure; doubles, with jitter. Default 200. */
  readonly backoffMs?: number;
  /** Where the doubling ends. Default 15,000. */
  readonly backoffMsMax?: number;
};

const BACKOFF_MS = 200;
const BACKOFF_MS_MAX = 15_000;
const FAILURES_COUNTED_MAX = 16;
/** A watch that went on for this long ends the back-off. */
const STABLE_MS = 1_000;
/** Changes that come together, as when an endpoint moves from one slice to another, are taken as one. */
const SETTLE_MS = 20;
/** How long the server is asked to keep a watch open: from this to twice as long. */
const WATCH_SECONDS = 300;
/** What a watch may take longer than that. */
const WATCH_GRACE_MS = 15_000;
/** A slice has at most 1,000 endpoints; 100 is the usual. */
const LINE_BYTES_MAX = 4 * 1024 * 1024;
const LIST_BYTES_MAX = 64 * 1024 * 1024;
const LIST_MS_MAX = 30_000;
const GONE = 410;

/**
 * Follows the EndpointSlices of a Service: one list, then a watch from its version on (Kubernetes API Concepts,
 * "Efficient detection of changes"). A watch that ends is resumed from the last version seen; 410 Gone lists anew; while
 * the server can't be had the last good set stays.
 */
export function followService(target: ServiceTarget, options: ServiceOptions): EndpointSource {
  const first = Promise.withResolvers<void>();
  const stop = new AbortController();
  const told = (tell: () => void): void => {
    tell();
    first.resolve();
  };
  const watch = new SliceWatch(
    target,
    {
      ...options,
      onEndpoints: (addresses) => told(() => options.onEndpoints(addresses)),
      onProblem: (problem) => told(() => options.onProblem(problem)),
    },
    stop.signal,
  );
  void watch.follow();
  return {
    firstAnswer: first.promise,
    close: () => {
      stop.abort();
      watch.close();
      first.resolve();
    },
  };
}

/** The slices of one Service, as far as they are known. */
class SliceWatch {
  readonly #service: string;
  readonly #target: ServiceTarget;
  readonly #options: ServiceOptions;
  readonly #signal: AbortSignal;
  readonly #slices = new Map<string, EndpointSlice>();
  /** Where to go on; null: the slices have to be listed. */
  #version: string | null = null;
  #settling: NodeJS.Timeout | undefined;

  constructor(target: ServiceTarget, options: ServiceOptions, signal: AbortSignal) {
    this.#service = `${target.namespace}/${target.name}`;
    this.#target = target;
    this.#options = options;
    this.#signal = signal;
  }

  async follow(): Promise<void> {
    const { clock, random, onProblem, backoffMs = BACKOFF_MS, backoffMsMax = BACKOFF_MS_MAX } = this.#options;
    let failures = 0;
    while (!this.#signal.aborted) {
      const begunAtMs = clock();
      let askedToWaitMs = 0;
      try {
        await this.#listAndWatch();
      } catch (error) {
        if (this.#signal.aborted) return;
        if (error instanceof KubernetesApiError) askedToWaitMs = error.retryAfterMs;
        onProblem(`the Kubernetes API does not answer for ${this.#service}: ${sentenceOf(error)}`);
      }
      // Also a watch that ends well is not begun anew at once: a server that ends each would be asked without a pause.
      if (clock() - begunAtMs >= STABLE_MS) failures = 0;
      const waitMs = Math.min(backoffMs * 2 ** failures, backoffMsMax) * (0.5 + random() / 2);
      failures = Math.min(failures + 1, FAILURES_COUNTED_MAX);
      await pause(Math.max(waitMs, Math.min(askedToWaitMs, backoffMsMax)), this.#signal);
    }
  }

  /**
   * Lists where it has to, and watches until the watch ends.
   * @throws when the server can't be had, or says no
   */
  async #listAndWatch(): Promise<void> {
    if (this.#version === null) await this.#list();
    const seconds = Math.round(WATCH_SECONDS * (1 + this.#options.random()));
    const silent = AbortSignal.timeout(seconds * 1_000 + WATCH_GRACE_MS);
    const query = {
      watch: '1',
      allowWatchBookmarks: 'true',
      resourceVersion: this.#version ?? '',
      timeoutSeconds: String(seconds),
    };
    try {
      const stream = await this.#get(query, AbortSignal.any([this.#signal, silent]));
      this.#tell();
      for await (const line of readLines(stream, LINE_BYTES_MAX))
        this.#take(watchEvent.parse(JSON.parse(line)));
    } catch (error) {
      if (!(error instanceof KubernetesApiError) || error.status !== GONE) throw error;
      this.#version = null;
    }
  }

  close(): void {
    clearTimeout(this.#settling);
  }

  async #list(): Promise<void> {
    const inTime = AbortSignal.any([this.#signal, AbortSignal.timeout(LIST_MS_MAX)]);
    const stream = await this.#get({}, inTime);
    let text = '';
    for await (const chunk of stream.setEncoding('utf8')) {
      text += String(chunk);
      if (text.length > LIST_BYTES_MAX)
        throw new RangeError(`the list is longer than ${LIST_BYTES_MAX} bytes`);
    }
    const { metadata, items } = endpointSliceList.parse(JSON.parse(text));
    this.#slices.clear();
    for (const slice of items) this.#slices.set(slice.metadata.name, slice);
    this.#version = metadata.resourceVersion;
    this.#tell();
  }

  #take(event: WatchEvent): void {
    switch (event.type) {
      case 'ERROR':
        throw new KubernetesApiError(event.object.code ?? 0, event.object.message ?? 'the watch failed');
      case 'BOOKMARK':
        this.#version = event.object.metadata.resourceVersion;
        return;
      case 'DELETED':
        this.#slices.delete(event.object.metadata.name);
        break;
      default:
        this.#slices.set(event.object.metadata.name, event.object);
    }
    this.#version = event.object.metadata.resourceVersion;
    this.#settling ??= setTimeout(() => this.#tell(), SETTLE_MS);
  }

  /** Also the set of before is told: it says that the server answers. */
  #tell(): void {
    clearTimeout(this.#settling);
    this.#settling = undefined;
    this.#options.onEndpoints(addressesOf(this.#slices.values(), this.#target.port));
  }

  #get(query: Record<string, string>, signal: AbortSignal) {
    const { namespace, name } = this.#target;
    const search = new URLSearchParams({ labelSelector: `kubernetes.io/service-name=${name}`, ...query });
    const path = `/apis/discovery.k8s.io/v1/namespaces/${namespace}/endpointslices?${search.toString()}`;
    return getFromKubernetes(this.#options.api, path, signal);
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    timer.unref();
    signal.addEventListener('abort', done);
  });
}

function sentenceOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.message !== '' ? error.message : error.name;
}
