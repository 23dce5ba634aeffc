import { exportJWK, generateKeyPair, type JWK } from 'jose';
import { describe, expect, test } from 'vitest';
import { readSigners, signatureProblem, signPolicy } from './policy-signature.ts';

const FILES = [
  { file: 'conf/policy.yaml', text: 'version: v1\n' },
  { file: 'conf/teams/a.yaml', text: 'rules: []\n' },
];

async function keyPair(alg: string): Promise<{ secret: JWK; open: JWK }> {
  const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true });
  return { secret: await exportJWK(privateKey), open: await exportJWK(publicKey) };
}

describe('a signature', () => {
  test.each(['ES256', 'ES384', 'EdDSA', 'PS256'])(
    'by a key for %s holds, wherever the document lies',
    async (alg) => {
      const { secret, open } = await keyPair(alg);
      const signature = await signPolicy(FILES, { ...secret, alg });
      expect(signature).toMatch(/^[\w-]+\.\.[\w-]+$/);
      expect(await signatureProblem(FILES, `${signature}\n`, [open])).toBe('');
      const moved = FILES.map(({ file, text }) => ({ file: file.replace('conf', '/etc/gatehouse'), text }));
      expect(await signatureProblem(moved, signature, [open])).toBe('');
    },
  );

  test('does not hold for another text, another include, another name, or one file more or less', async () => {
    const { secret, open } = await keyPair('ES256');
    const signature = await signPolicy(FILES, secret);
    const [main, included] = FILES as [(typeof FILES)[0], (typeof FILES)[0]];
    for (const files of [
      [{ ...main, text: 'version: v2\n' }, included],
      [main, { ...included, text: '' }],
      [main, { ...included, file: 'conf/teams/b.yaml' }],
      [main],
      [main, included, { file: 'conf/c.yaml', text: '' }],
    ])
      expect(await signatureProblem(files, signature, [open])).toContain('does not hold');
  });

  test('of another key, of a tampered form, or over something else is refused with what was expected', async () => {
    const { secret, open } = await keyPair('ES256');
    const other = await keyPair('ES256');
    const signature = await signPolicy(FILES, secret);
    const [header = '', , signed = ''] = signature.split('.');
    expect(await signatureProblem(FILES, signature, [other.open])).toContain(
      'expected one of the keys of policySigners',
    );
    // The right name on the wrong key.
    expect(
      await signatureProblem(FILES, await signPolicy(FILES, { ...other.secret, kid: 'k' }), [
        { ...open, kid: 'k' },
      ]),
    ).toContain('does not hold');
    expect(await signatureProblem(FILES, `${header}.e30.${signed}`, [open])).toContain('detached JWS');
    expect(await signatureProblem(FILES, 'nonsense', [open])).toContain('detached JWS');
    const headers = (fields: object): string =>
      `${Buffer.from(JSON.stringify(fields)).toString('base64url')}..${signed}`;
    expect(await signatureProblem(FILES, headers({ alg: 'ES256' }), [open])).toContain('over a policy');
    for (const alg of ['none', 'HS256', 7])
      expect(await signatureProblem(FILES, headers({ alg, typ: 'gatehouse-policy+jws' }), [open])).toContain(
        'by a private key',
      );
  });
});

test.each([
  ['not JSON', '{', 'expected a JSON Web Key Set'],
  ['no keys', '{"keys":[]}', 'expected at least one key'],
  ['a shared secret', '{"keys":[{"kty":"oct","k":"AA"}]}', 'expected a public key: EC, OKP or RSA'],
  [
    'too many keys',
    JSON.stringify({ keys: Array.from({ length: 101 }, () => ({ kty: 'EC' })) }),
    'at most 100 keys',
  ],
])('a key set is refused that is %s', (_, text, expected) => {
  expect(readSigners(text)).toMatchObject({ problem: expect.stringContaining(expected) });
});
