import './reflect-metadata.ts';
import { webcrypto } from 'node:crypto';
import * as x509 from '@peculiar/x509';
import type { Authority, AuthorityOptions, Credentials, FlawedOptions } from './authority.ts';
import { parseSpiffeId } from './spiffe-id.ts';

/** Certificates begin this long before they are issued, so that a neighbour's slow clock accepts them. */
const BACKDATED_MS = 60_000;
const KEY_ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256' } as const;
const SIGNING_ALGORITHM = { name: 'ECDSA', hash: 'SHA-256' } as const;

/** @see createAuthority, which loads this file only where a CA is needed */
export async function openAuthority(options: AuthorityOptions): Promise<Authority> {
  const { trustDomain, clock, validForMs, parent } = options;
  const keys = await webcrypto.subtle.generateKey(KEY_ALGORITHM, true, ['sign', 'verify']);
  const times = { notBefore: new Date(clock() - BACKDATED_MS), notAfter: new Date(clock() + validForMs) };
  const name = `O=${trustDomain},CN=Development CA${parent === undefined ? '' : ' (intermediate)'}`;
  const sign = (subject: Subject): Promise<string> => create(subject, { name, keys });
  const ownPem =
    parent === undefined
      ? await sign({
          ...times,
          name,
          publicKey: keys.publicKey,
          extensions: authorityExtensions(trustDomain, 1),
        })
      : await parent.signAuthority({ ...times, publicKey: keys.publicKey });
  const issueFlawed = async (flawed: FlawedOptions): Promise<Credentials> => {
    const leaf = await webcrypto.subtle.generateKey(KEY_ALGORITHM, true, ['sign', 'verify']);
    const certificatePem = await sign({
      name: 'O=Gatehouse',
      notBefore: new Date(clock() - BACKDATED_MS),
      notAfter: new Date(clock() + flawed.validForMs),
      publicKey: leaf.publicKey,
      extensions: leafExtensions(flawed),
    });
    const key = await webcrypto.subtle.exportKey('pkcs8', leaf.privateKey);
    return {
      certificatePem: parent === undefined ? certificatePem : `${certificatePem}${ownPem}`,
      keyPem: `${x509.PemConverter.encode(key, 'PRIVATE KEY')}\n`,
    };
  };
  return {
    trustDomain,
    bundlePem: parent === undefined ? ownPem : parent.bundlePem,
    issueFlawed,
    issue: async ({ spiffeId, ...rest }) => {
      const parsed = parseSpiffeId(spiffeId);
      if ('problem' in parsed) {
        throw new TypeError(`the SPIFFE ID "${spiffeId}" ${parsed.problem}`);
      }
      if (parsed.id.trustDomain !== trustDomain || parsed.id.segments.length === 0) {
        throw new TypeError(`"${spiffeId}" is not a workload of ${trustDomain}`);
      }
      return issueFlawed({ ...rest, uris: [spiffeId] });
    },
    signAuthority: (request) =>
      sign({
        ...request,
        name: `O=${trustDomain},CN=Development CA (intermediate)`,
        extensions: authorityExtensions(trustDomain, 0),
      }),
  };
}

type Subject = {
  readonly name: string;
  readonly notBefore: Date;
  readonly notAfter: Date;
  readonly publicKey: CryptoKey;
  readonly extensions: x509.Extension[];
};

async function create(
  subject: Subject,
  issuer: { name: string; keys: webcrypto.CryptoKeyPair },
): Promise<string> {
  const certificate = await x509.X509CertificateGenerator.create(
    {
      subject: subject.name,
      issuer: issuer.name,
      notBefore: subject.notBefore,
      notAfter: subject.notAfter,
      publicKey: subject.publicKey,
      signingKey: issuer.keys.privateKey,
      signingAlgorithm: SIGNING_ALGORITHM,
      extensions: [
        ...subject.extensions,
        await x509.SubjectKeyIdentifierExtension.create(subject.publicKey, false, webcrypto),
        await x509.AuthorityKeyIdentifierExtension.create(issuer.keys.publicKey, false, webcrypto),
      ],
    },
    webcrypto,
  );
  return `${certificate.toString('pem')}\n`;
}

function authorityExtensions(trustDomain: string, pathLength: number): x509.Extension[] {
  return [
    new x509.BasicConstraintsExtension(true, pathLength, true),
    new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
    new x509.SubjectAlternativeNameExtension([{ type: 'url', value: `spiffe://${trustDomain}` }]),
  ];
}

function leafExtensions({
  uris,
  dnsNames = [],
  ca = false,
  purposes = ['client', 'server'],
}: FlawedOptions): x509.Extension[] {
  const names = [
    ...uris.map((value) => ({ type: 'url' as const, value })),
    ...dnsNames.map((value) => ({ type: 'dns' as const, value })),
  ];
  const oids = purposes.map((purpose) =>
    purpose === 'client' ? x509.ExtendedKeyUsage.clientAuth : x509.ExtendedKeyUsage.serverAuth,
  );
  return [
    new x509.BasicConstraintsExtension(ca, undefined, true),
    new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
    new x509.ExtendedKeyUsageExtension(oids),
    ...(names.length === 0 ? [] : [new x509.SubjectAlternativeNameExtension(names)]),
  ];
}
