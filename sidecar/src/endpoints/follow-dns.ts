import type { EndpointSource, SourceEvents } from './endpoint-source.ts';
import { toEndpoints } from './ip-addresses.ts';

export type DnsOptions = SourceEvents & {
  /** All addresses of a name, A and AAAA, as the system resolves it. */
  readonly lookup: (host: string) => Promise<readonly string[]>;
  /** From one question to the next, a tenth more or less. */
  readonly refreshMs: number;
  /** From 0 to below 1. */
  readonly random: () => number;
};

/**
 * Asks for the addresses of a name again and again; that of a headless Service has one for each pod that is ready. A
 * failure changes nothing, and neither does an answer without addresses: a resolver that has just started says the
 * same as one whose Service is empty, and the breakers judge endpoints that are gone.
 */
export function followDns(
  target: { readonly host: string; readonly port: number },
  options: DnsOptions,
): EndpointSource {
  const { lookup, refreshMs, random, onEndpoints, onProblem } = options;
  const first = Promise.withResolvers<void>();
  let timer: NodeJS.Timeout | undefined;
  let asking = false;
  let closed = false;

  const ask = async (): Promise<void> => {
    asking = true;
    try {
      const addresses = await lookup(target.host);
      if (closed) return;
      if (addresses.length === 0) onProblem(`DNS has no address for ${target.host}`);
      else onEndpoints(toEndpoints(addresses.map((ip) => ({ ip, port: target.port }))));
    } catch (error) {
      if (!closed) onProblem(`DNS does not resolve ${target.host}: ${sentenceOf(error)}`);
    } finally {
      asking = false;
      first.resolve();
    }
  };
  const tick = (): void => {
    if (asking) {
      // A question cannot be taken back; a second one would wait behind it.
      onProblem(`DNS has not answered for ${target.host} in ${refreshMs} ms`);
      first.resolve();
    } else void ask();
    timer = setTimeout(tick, refreshMs * (0.9 + 0.2 * random()));
    timer.unref();
  };
  tick();
  return {
    firstAnswer: first.promise,
    close: () => {
      closed = true;
      clearTimeout(timer);
      first.resolve();
    },
  };
}

function sentenceOf(error: unknown): string {
  if (error instanceof Error && 'code' in error && typeof error.code === 'string') return error.code;
  return error instanceof Error ? error.message : String(error);
}
