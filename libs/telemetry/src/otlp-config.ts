import { isIP } from 'node:net';
import { z } from 'zod';

const file = z.string().min(1, 'expected a path');

/** The keys of a configuration that name a collector; its object gets `checkOtlp` as well. */
export const otlpKeys = {
  /** OTLP over gRPC: `http://host:4317`, or `https://host:4317` for TLS. Without it nothing leaves. */
  otlpEndpoint: z
    .url({ protocol: /^https?$/, error: 'expected a URL like http://127.0.0.1:4317' })
    .optional(),
  /** For https. Files that change are read again before the next export. */
  otlpTls: z
    .strictObject({
      /** PEM: CA certificates of the collector. Default: those that Node knows. */
      caFile: file.optional(),
      /** PEM: our certificate and its key, where the collector asks for one. */
      certificateFile: file.optional(),
      keyFile: file.optional(),
      /** What the collector's certificate names. Default: the host of the endpoint. */
      serverName: z.string().min(1).max(255).optional(),
    })
    .optional(),
  /** Holds headers of every export, `NAME: VALUE` a line. */
  otlpHeadersFile: file.optional(),
};

type Otlp = { readonly [Key in keyof typeof otlpKeys]?: z.infer<(typeof otlpKeys)[Key]> };

/** Refuses halves of a key pair, and secrets that would leave in plaintext. */
export function checkOtlp(given: Otlp, context: z.RefinementCtx): void {
  const report = (path: keyof Otlp, message: string): void =>
    context.addIssue({ code: 'custom', path: [path], input: given[path], message });
  const { otlpTls, otlpHeadersFile, otlpEndpoint } = given;
  if ((otlpTls?.certificateFile === undefined) !== (otlpTls?.keyFile === undefined))
    report('otlpTls', 'expected certificateFile and keyFile together');
  if ((otlpTls ?? otlpHeadersFile) !== undefined && !String(otlpEndpoint).startsWith('https:'))
    report('otlpEndpoint', 'expected an https URL: certificates and headers need TLS');
  if (hasAddressUnderTls(otlpEndpoint))
    report(
      'otlpEndpoint',
      'expected a host name: gRPC over TLS sends it to the collector, which an address is not fit for',
    );
}

function hasAddressUnderTls(endpoint: string | undefined): boolean {
  if (endpoint === undefined || !URL.canParse(endpoint)) return false;
  const { protocol, hostname } = new URL(endpoint);
  return protocol === 'https:' && isIP(hostname.replace(/^\[|\]$/g, '')) !== 0;
}
