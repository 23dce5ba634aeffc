import { X509Certificate } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { createAuthority } from './authority.ts';

const HOUR_MS = 3_600_000;
const ID = 'spiffe://gatehouse.local/ns/local/sa/inference';
const now = Date.UTC(2030, 0, 1);
const options = { trustDomain: 'gatehouse.local', clock: () => now, validForMs: HOUR_MS };

describe('createAuthority', () => {
  it('issues a P-256 leaf with one URI name that ends when asked', async () => {
    const authority = await createAuthority(options);
    const { certificatePem } = await authority.issue({
      spiffeId: ID,
      validForMs: 5_000,
      dnsNames: ['inference'],
    });
    const leaf = new X509Certificate(certificatePem);
    expect(leaf.subjectAltName).toBe(`URI:${ID}, DNS:inference`);
    expect(leaf.validToDate.getTime()).toBe(now + 5_000);
    expect(leaf.publicKey.asymmetricKeyDetails).toEqual({ namedCurve: 'prime256v1' });
    expect(leaf.verify(new X509Certificate(authority.bundlePem).publicKey)).toBe(true);
  });

  it('makes a second CA of the same name whose certificates the first does not vouch for', async () => {
    const [first, second] = await Promise.all([createAuthority(options), createAuthority(options)]);
    const root = new X509Certificate(first.bundlePem);
    const leaf = new X509Certificate((await second.issue({ spiffeId: ID, validForMs: 1 })).certificatePem);
    expect(leaf.issuer).toBe(root.subject);
    expect(leaf.verify(root.publicKey)).toBe(false);
  });

  it.each(['spiffe://other.local/a', 'spiffe://gatehouse.local', 'inference'])(
    'does not issue %s',
    async (spiffeId) => {
      const authority = await createAuthority(options);
      await expect(authority.issue({ spiffeId, validForMs: 1 })).rejects.toThrow(TypeError);
    },
  );

  it('needs the name of a trust domain', async () => {
    await expect(createAuthority({ ...options, trustDomain: 'a:1' })).rejects.toThrow('has a port');
  });
});
