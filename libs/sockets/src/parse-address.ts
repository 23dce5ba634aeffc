/** Where to connect to, in the form that `net.connect` and `tls.connect` take. */
export type Address = { readonly path: string } | { readonly host: string; readonly port: number };

const HOST_AND_PORT = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]+)):(\d{1,5})$/;

/**
 * Reads `unix:/absolute/path.sock`, `host:port` or `[v6]:port`.
 *
 * @throws TypeError for anything else: addresses come from a configuration that has been checked
 */
export function parseAddress(text: string): Address {
  if (text.startsWith('unix:/')) {
    return { path: text.slice('unix:'.length) };
  }
  const match = HOST_AND_PORT.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (host === undefined || port > 65_535) {
    throw new TypeError(`"${text}" is neither unix:/path nor host:port`);
  }
  return { host, port };
}
