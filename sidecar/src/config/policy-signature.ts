import { createHash } from 'node:crypto';
import { dirname, relative } from 'node:path';
import type { JWK } from 'jose';
import { z } from 'zod';

/** One file of a signed document. */
export type SignedFile = { readonly file: string; readonly text: string };

/** Beside the document: the signature over it and over all that it includes. */
export const SIGNATURE_SUFFIX = '.jws';

/** Keeps signatures over other things from passing for one over a policy. */
const TYPE = 'gatehouse-policy+jws';
/** Signatures by a private key: a shared secret would let every sidecar sign. */
const ALGORITHMS = [
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
  'Ed25519',
  'PS256',
  'PS384',
  'PS512',
  'RS256',
  'RS384',
  'RS512',
];
const KEYS_MAX = 100;

const keySetSchema = z.object({
  keys: z
    .array(z.looseObject({ kty: z.enum(['EC', 'OKP', 'RSA'], 'expected a public key: EC, OKP or RSA') }))
    .min(1, 'expected at least one key')
    .max(KEYS_MAX, `expected at most ${KEYS_MAX} keys`),
});

/** @returns the keys of a JWKS (RFC 7517), or what is wrong with it */
export function readSigners(text: string): { readonly keys: readonly JWK[] } | { readonly problem: string } {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { problem: 'expected a JSON Web Key Set' };
  }
  const parsed = keySetSchema.safeParse(value);
  return parsed.success
    ? { keys: parsed.data.keys as JWK[] }
    : { problem: parsed.error.issues[0]?.message ?? 'expected a JSON Web Key Set' };
}

/**
 * Signs a document with all that it includes: a detached JWS (RFC 7515 appendix F) over the names and SHA-256 digests of
 * its files.
 * @param files the document first
 */
export async function signPolicy(files: readonly SignedFile[], key: JWK): Promise<string> {
  const { CompactSign, calculateJwkThumbprint, importJWK } = await import('jose');
  const alg = key.alg ?? DEFAULT_ALGORITHMS[key.crv ?? key.kty ?? ''] ?? '';
  if (!ALGORITHMS.includes(alg)) throw new TypeError(`no signature algorithm for a key of type ${key.kty}`);
  const kid = key.kid ?? (await calculateJwkThumbprint(key));
  const jws = await new CompactSign(manifestOf(files))
    .setProtectedHeader({ alg, kid, typ: TYPE })
    .sign(await importJWK(key, alg));
  const [header, , signature] = jws.split('.');
  return `${header}..${signature}`;
}

const DEFAULT_ALGORITHMS: Readonly<Record<string, string>> = {
  'P-256': 'ES256',
  'P-384': 'ES384',
  'P-521': 'ES512',
  Ed25519: 'EdDSA',
  RSA: 'PS256',
};

/** @returns why the signature does not make these files trusted; empty when it does */
export async function signatureProblem(
  files: readonly SignedFile[],
  signature: string,
  signers: readonly JWK[],
): Promise<string> {
  const { calculateJwkThumbprint, compactVerify, decodeProtectedHeader, importJWK } = await import('jose');
  const [header = '', payload, signed = '', ...more] = signature.trim().split('.');
  if (payload !== '' || more.length > 0) return 'expected a detached JWS, header..signature';
  let alg: unknown;
  let kid: unknown;
  try {
    const fields = decodeProtectedHeader(`${header}..${signed}`);
    ({ alg, kid } = fields);
    if (fields.typ !== TYPE) return `expected a signature over a policy, of type ${TYPE}`;
  } catch {
    return 'expected a detached JWS, header..signature';
  }
  if (typeof alg !== 'string' || !ALGORITHMS.includes(alg)) return 'expected a signature by a private key';
  const jws = `${header}.${Buffer.from(manifestOf(files)).toString('base64url')}.${signed}`;
  let isKnown = false;
  for (const signer of signers) {
    if (kid !== (signer.kid ?? (await calculateJwkThumbprint(signer)))) continue;
    isKnown = true;
    try {
      await compactVerify(jws, await importJWK(signer, alg), { algorithms: [alg] });
      return '';
    } catch {
      // Another key of the set may have the same name.
    }
  }
  return isKnown
    ? 'the signature does not hold for what the document and its includes say now'
    : `expected one of the keys of policySigners, and it is signed by ${JSON.stringify(String(kid)).slice(0, 80)}`;
}

/** What is signed: a line a file, in the order in which the document names them. */
function manifestOf(files: readonly SignedFile[]): Uint8Array {
  const folder = dirname(files[0]?.file ?? '');
  const lines = files.map(
    ({ file, text }, index) =>
      `${createHash('sha256').update(text).digest('hex')}  ${index === 0 ? '.' : relative(folder, file)}\n`,
  );
  return Buffer.from(`gatehouse-policy-v1\n${lines.join('')}`);
}
