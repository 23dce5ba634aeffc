import { X509Certificate } from 'node:crypto';
import { expect, it } from 'vitest';
import { createAuthority } from './authority.ts';
import { certificatesToPem, splitDer } from './der-certificates.ts';

it('cuts certificates apart, and refuses every cut through one', async () => {
  const clock = () => Date.UTC(2030, 0, 1);
  const make = async () => {
    const { bundlePem } = await createAuthority({ trustDomain: 'a.b', clock, validForMs: 1_000 });
    return new X509Certificate(bundlePem).raw;
  };
  const [one, two] = [await make(), await make()];
  const both = Buffer.concat([one, two]);
  expect(splitDer(both)).toEqual([one, two]);
  expect(splitDer(Buffer.alloc(0))).toEqual([]);
  expect(new X509Certificate(certificatesToPem(one)).raw).toEqual(one);
  for (let length = 1; length < both.length; length += 1) {
    if (length !== one.length) expect(() => splitDer(both.subarray(0, length))).toThrow(RangeError);
  }
});
