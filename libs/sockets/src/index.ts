/** Addresses as every configuration writes them, `unix:/path.sock` or `host:port`, and listening on them. */
export { ListenError, listenOn } from './listen-on.ts';
export { type Address, parseAddress } from './parse-address.ts';
