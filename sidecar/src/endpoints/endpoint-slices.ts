import { isIP } from 'node:net';
import { z } from 'zod';
import { toEndpoints } from './ip-addresses.ts';

/** The part of a Kubernetes EndpointSlice (discovery.k8s.io/v1) that says where calls may go. */
const endpointSlice = z.object({
  metadata: z.object({ name: z.string(), resourceVersion: z.string() }),
  addressType: z.string(),
  endpoints: z
    .array(
      z.object({
        addresses: z.array(z.string()),
        conditions: z
          .object({
            ready: z.boolean().nullish(),
            serving: z.boolean().nullish(),
            terminating: z.boolean().nullish(),
          })
          .nullish(),
      }),
    )
    .nullish(),
  ports: z.array(z.object({ name: z.string().nullish(), port: z.number().nullish() })).nullish(),
});

export type EndpointSlice = z.output<typeof endpointSlice>;

export const endpointSliceList = z.object({
  metadata: z.object({ resourceVersion: z.string() }),
  items: z.array(endpointSlice),
});

/** One line of a watch. The object of a BOOKMARK has a version and nothing else; that of an ERROR is a Status. */
export const watchEvent = z.discriminatedUnion('type', [
  z.object({ type: z.enum(['ADDED', 'MODIFIED', 'DELETED']), object: endpointSlice }),
  z.object({
    type: z.literal('BOOKMARK'),
    object: z.object({ metadata: z.object({ resourceVersion: z.string() }) }),
  }),
  z.object({
    type: z.literal('ERROR'),
    object: z.object({ code: z.number().nullish(), message: z.string().nullish() }),
  }),
]);

export type WatchEvent = z.output<typeof watchEvent>;

/**
 * The addresses that calls may go to. Those that are ready; when none is, those that still serve although they are
 * ending, as kube-proxy has it. An absent condition means ready (the API's own default).
 *
 * @param port of the pods: a number as it is, or the name that a slice's ports give a number to
 */
export function addressesOf(slices: Iterable<EndpointSlice>, port: number | string): readonly string[] {
  const ready: { ip: string; port: number }[] = [];
  const ending: typeof ready = [];
  for (const slice of slices) {
    const number = portOf(slice, port);
    if (number === null || (slice.addressType !== 'IPv4' && slice.addressType !== 'IPv6')) continue;
    for (const { addresses, conditions } of slice.endpoints ?? []) {
      // The addresses of one endpoint are interchangeable (API reference: consumers use the first).
      const [ip] = addresses;
      if (ip === undefined || isIP(ip) === 0) continue;
      if (conditions?.ready !== false) ready.push({ ip, port: number });
      else if (conditions.serving === true && conditions.terminating === true)
        ending.push({ ip, port: number });
    }
  }
  return [...new Set(toEndpoints(ready.length > 0 ? ready : ending))].sort();
}

function portOf({ ports }: EndpointSlice, port: number | string): number | null {
  if (typeof port === 'number') return port;
  return ports?.find(({ name }) => name === port)?.port ?? null;
}
