import { isIPv6 } from 'node:net';

/**
 * Where a pod has an address of either family (dual stack), two endpoints would be one: only those of IPv4 are taken
 * as soon as there is one.
 */
export function ofOneFamily(addresses: readonly string[]): readonly string[] {
  const four = addresses.filter((address) => !isIPv6(address));
  return four.length > 0 ? four : addresses;
}

export function withPort(address: string, port: number): string {
  return isIPv6(address) ? `[${address}]:${port}` : `${address}:${port}`;
}
