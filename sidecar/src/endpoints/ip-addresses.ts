import { isIPv6 } from 'node:net';

type SocketAddress = { readonly ip: string; readonly port: number };

/**
 * Addresses in the form of a configuration. Where a pod has one of either family (dual stack), two endpoints would be
 * one: only those of IPv4 are taken as soon as there is one.
 */
export function toEndpoints(addresses: readonly SocketAddress[]): readonly string[] {
  const four = addresses.filter(({ ip }) => !isIPv6(ip));
  return (four.length > 0 ? four : addresses).map(({ ip, port }) =>
    isIPv6(ip) ? `[${ip}]:${port}` : `${ip}:${port}`,
  );
}
