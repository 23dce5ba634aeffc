import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { CompactSign, calculateJwkThumbprint, compactVerify, exportJWK } from 'jose';
import { z } from 'zod';
import type { ChainPoint } from './chain-scan.ts';

/** What a sidecar signs: that its chain had this entry at this number. */
export type Checkpoint = ChainPoint & {
  /** The sidecar's SPIFFE ID. */
  readonly workload: string;
  readonly timeMs: number;
};

const TYPE = 'gatehouse-audit-checkpoint';
const ALGORITHM = 'EdDSA';
const HASH_HEX_DIGITS = 64;

const payloadSchema = z.object({
  sequence: z.int().min(1),
  hash: z.hex().length(HASH_HEX_DIGITS),
  workload: z.string(),
  time: z.iso.datetime(),
});

/** A new Ed25519 key pair, as PEM: PKCS#8 for the sidecar, SPKI for whoever verifies. */
export function generateSigningKey(): { readonly privatePem: string; readonly publicPem: string } {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  return {
    privatePem: privateKey.export({ type: 'pkcs8', format: 'pem' }),
    publicPem: publicKey.export({ type: 'spki', format: 'pem' }),
  };
}

/** @returns a sentence when the PEM holds no Ed25519 private key */
export function readSigningKey(pem: string): KeyObject | string {
  return readKey(() => createPrivateKey(pem), 'an Ed25519 private key in PEM (PKCS#8)');
}

/** Takes a public key, or the private one that it belongs to. @returns a sentence when the PEM holds neither */
export function readVerifyingKey(pem: string): KeyObject | string {
  return readKey(() => createPublicKey(pem), 'an Ed25519 public key in PEM (SPKI)');
}

function readKey(read: () => KeyObject, expected: string): KeyObject | string {
  try {
    const key = read();
    return key.asymmetricKeyType === 'ed25519' ? key : `expected ${expected}, got ${key.asymmetricKeyType}`;
  } catch {
    return `expected ${expected}`;
  }
}

/** A compact JWS (RFC 7515) over sequence number, hash, workload and time; `kid` is the key's thumbprint (RFC 7638). */
export async function signCheckpoint(checkpoint: Checkpoint, key: KeyObject): Promise<string> {
  const payload = {
    sequence: checkpoint.sequence,
    hash: checkpoint.hash.toString('hex'),
    workload: checkpoint.workload,
    time: new Date(checkpoint.timeMs).toISOString(),
  };
  const kid = await calculateJwkThumbprint(await exportJWK(createPublicKey(key)));
  return new CompactSign(Buffer.from(JSON.stringify(payload)))
    .setProtectedHeader({ alg: ALGORITHM, typ: TYPE, kid })
    .sign(key);
}

/** @returns a sentence when it is not a checkpoint, or not signed by the key */
export async function readCheckpoint(jws: string, key: KeyObject): Promise<Checkpoint | string> {
  try {
    const { payload, protectedHeader } = await compactVerify(jws.trim(), key, { algorithms: [ALGORITHM] });
    if (protectedHeader.typ !== TYPE) return `expected a JWS of type ${TYPE}`;
    const { sequence, hash, workload, time } = payloadSchema.parse(
      JSON.parse(Buffer.from(payload).toString()),
    );
    return { sequence, hash: Buffer.from(hash, 'hex'), workload, timeMs: Date.parse(time) };
  } catch (error) {
    return (error as { code?: unknown }).code === 'ERR_JWS_SIGNATURE_VERIFICATION_FAILED'
      ? 'its signature is not of this key'
      : `expected a checkpoint that this key has signed (a compact JWS)`;
  }
}
