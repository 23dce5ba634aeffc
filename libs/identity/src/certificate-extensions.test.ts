import { X509Certificate } from 'node:crypto';
import { beforeAll, describe, expect, it } from 'vitest';
import type { Authority } from './authority.ts';
import { createAuthority } from './authority.ts';
import { readExtensions } from './certificate-extensions.ts';

const HOUR_MS = 3_600_000;
const ID = 'spiffe://gatehouse.local/ns/local/sa/inference';
let authority: Authority;

beforeAll(async () => {
  authority = await createAuthority({
    trustDomain: 'gatehouse.local',
    clock: () => Date.now(),
    validForMs: HOUR_MS,
  });
});

describe('readExtensions', () => {
  it('reads names, usages and purposes of a leaf', async () => {
    const { certificatePem } = await authority.issue({
      spiffeId: ID,
      dnsNames: ['a.b'],
      validForMs: HOUR_MS,
    });
    expect(readExtensions(new X509Certificate(certificatePem).raw)).toEqual({
      uris: [ID],
      ca: false,
      keyUsage: 0b1,
      purposes: ['2b06010505070302', '2b06010505070301'],
    });
  });

  it('reads the flags of a CA', () => {
    expect(readExtensions(new X509Certificate(authority.bundlePem).raw)).toEqual({
      uris: ['spiffe://gatehouse.local'],
      ca: true,
      keyUsage: 0b1100000,
      purposes: null,
    });
  });

  it('never finds another name, a lesser usage or an endless loop in a damaged certificate', async () => {
    const { certificatePem } = await authority.issue({ spiffeId: ID, validForMs: HOUR_MS });
    const { raw } = new X509Certificate(certificatePem);
    const name = raw.indexOf(ID);
    const results = new Set<string>();
    for (let at = 0; at < raw.length; at += 1) {
      const inName = at >= name && at < name + ID.length;
      for (const flip of inName ? [] : [0x01, 0x80, 0xff]) {
        const damaged = Buffer.from(raw);
        damaged[at] = (damaged[at] ?? 0) ^ flip;
        results.add(spiffeNamesOf(damaged));
      }
    }
    expect([...results].sort()).toEqual(['none', 'refused', ID].sort());
  });

  it('refuses every certificate that is cut short', async () => {
    const { certificatePem } = await authority.issue({ spiffeId: ID, validForMs: HOUR_MS });
    const { raw } = new X509Certificate(certificatePem);
    for (let length = 0; length < raw.length; length += 1) {
      expect(() => readExtensions(raw.subarray(0, length))).toThrow(RangeError);
    }
  });
});

function spiffeNamesOf(der: Buffer): string {
  try {
    const names = readExtensions(der).uris.filter((uri) => uri.startsWith('spiffe://'));
    return names.length === 0 ? 'none' : names.join();
  } catch (error) {
    return error instanceof RangeError ? 'refused' : 'crashed';
  }
}
