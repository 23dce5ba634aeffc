import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createAuthority } from '@gatehouse/identity';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';

const TRUST_DOMAIN = 'bench.gatehouse';
const HOUR_MS = 3_600_000;
const ISSUER = 'staff';
const AUDIENCE = 'bench';

/** Identities and a token of one run, as files in a scratch folder. */
export type Ground = {
  readonly folder: string;
  readonly trustDomain: string;
  readonly callerSpiffeId: string;
  readonly server: PemFiles;
  readonly caller: PemFiles;
  readonly issuer: { readonly name: string; readonly audience: string; readonly jwksFile: string };
  readonly token: string;
};

export type PemFiles = {
  readonly certificateFile: string;
  readonly keyFile: string;
  readonly bundleFile: string;
};

export async function layGround(folder: string): Promise<Ground> {
  const clock = (): number => Date.now();
  const authority = await createAuthority({ trustDomain: TRUST_DOMAIN, clock, validForMs: 24 * HOUR_MS });
  const bundleFile = join(folder, 'bundle.pem');
  await writeFile(bundleFile, authority.bundlePem);
  const issue = async (name: string): Promise<PemFiles> => {
    const spiffeId = `spiffe://${TRUST_DOMAIN}/sa/${name}`;
    const issued = await authority.issue({ spiffeId, validForMs: HOUR_MS, dnsNames: ['localhost'] });
    const files = {
      certificateFile: join(folder, `${name}.pem`),
      keyFile: join(folder, `${name}.key`),
      bundleFile,
    };
    await writeFile(files.certificateFile, issued.certificatePem);
    await writeFile(files.keyFile, issued.keyPem);
    return files;
  };
  const server = await issue('server');
  const caller = await issue('caller');
  const { publicKey, privateKey } = await generateKeyPair('ES256', { extractable: true });
  const jwksFile = join(folder, 'jwks.json');
  await writeFile(
    jwksFile,
    JSON.stringify({ keys: [{ ...(await exportJWK(publicKey)), kid: 'k1', alg: 'ES256' }] }),
  );
  const token = await new SignJWT({ team: 'ml', sub: 'someone' })
    .setProtectedHeader({ alg: 'ES256', kid: 'k1', typ: 'JWT' })
    .setIssuer(`https://${ISSUER}`)
    .setAudience(AUDIENCE)
    .setIssuedAt()
    .setExpirationTime('1h')
    .sign(privateKey);
  const callerSpiffeId = `spiffe://${TRUST_DOMAIN}/sa/caller`;
  const issuer = { name: ISSUER, audience: AUDIENCE, jwksFile };
  return { folder, trustDomain: TRUST_DOMAIN, callerSpiffeId, server, caller, issuer, token };
}
