import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type JwtIssuer, TokenBinding } from '@gatehouse/contracts/policy';
import { createAuthority } from '@gatehouse/identity';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { createTokenVerifier, type TokenResult, type TokenVerifier } from './index.ts';
import type { TokenVerifierOptions } from './token-verifier.ts';

const NOW_S = 1_800_000_000;
const CALLER = { spiffeId: 'spiffe://gatehouse.local/ns/local/sa/developer', thumbprint: 'dGh1bWI' };

interface Signer {
  readonly kid: string | undefined;
  readonly alg: string;
  readonly privateKey: CryptoKey;
  readonly jwk: object;
}

async function signerOf(kid: string | undefined, alg = 'ES256'): Promise<Signer> {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true });
  return { kid, alg, privateKey, jwk: { ...(await exportJWK(publicKey)), ...(kid && { kid }), alg } };
}

function sign(signer: Signer, claims: Record<string, unknown> = {}, header: object = {}): Promise<string> {
  const payload = { iss: 'https://issuer.test', aud: 'gatehouse', exp: NOW_S + 600, sub: 'u', ...claims };
  return new SignJWT(payload)
    .setProtectedHeader({ alg: signer.alg, ...(signer.kid && { kid: signer.kid }), ...header })
    .sign(signer.privateKey);
}

let folder: string;
let one: Signer;
let two: Signer;
let nowMs = NOW_S * 1000;
const verifiers: TokenVerifier[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'gatehouse-tokens-'));
  [one, two] = await Promise.all([signerOf('one'), signerOf('two')]);
});
afterAll(() => rm(folder, { recursive: true }));
afterEach(() => {
  nowMs = NOW_S * 1000;
  for (const verifier of verifiers.splice(0)) verifier.close();
});

function issuer(changes: Partial<JwtIssuer> = {}): JwtIssuer {
  return {
    name: 'staff',
    issuer: 'https://issuer.test',
    audiences: ['gatehouse', 'other'],
    algorithms: ['ES256'],
    jwks: { $case: 'jwksFile', value: join(folder, 'keys.json') },
    clockSkewSeconds: 30,
    binding: TokenBinding.TOKEN_BINDING_UNSPECIFIED,
    claims: {},
    ...changes,
  };
}

async function publish(...signers: { readonly jwk: object }[]): Promise<void> {
  await writeFile(join(folder, 'keys.json'), JSON.stringify({ keys: signers.map(({ jwk }) => jwk) }));
}

function verifierOf(
  issuers: readonly JwtIssuer[] | (() => readonly JwtIssuer[]),
  options: Partial<TokenVerifierOptions> = {},
): TokenVerifier {
  const verifier = createTokenVerifier({
    issuers: typeof issuers === 'function' ? issuers : () => issuers,
    clock: () => nowMs,
    ...options,
  });
  verifiers.push(verifier);
  return verifier;
}

async function reasonOf(result: TokenResult | Promise<TokenResult>): Promise<string> {
  const settled = await result;
  return 'refusal' in settled ? settled.refusal.reason : 'verified';
}

test('gives the claims of a good token, and the same at once from then on until it expires', async () => {
  await publish(one);
  const verifier = verifierOf([issuer()]);
  const token = await sign(one, { team: 'ml' });
  const first = verifier.verify(token, CALLER);
  expect(first).toBeInstanceOf(Promise);
  expect(await first).toMatchObject({ token: { issuer: 'staff', claims: { sub: 'u', team: 'ml' } } });
  nowMs += 629_000;
  expect(verifier.verify(token, CALLER)).toMatchObject({ token: { issuer: 'staff' } });
  nowMs += 1_000;
  expect(await reasonOf(verifier.verify(token, CALLER))).toBe('TOKEN_EXPIRED');
});

describe('refuses with its own reason', () => {
  let verifier: TokenVerifier;
  beforeAll(() => publish(one));

  test.each<[string, string, () => Promise<string> | string]>([
    ['a token above the limit', 'TOKEN_TOO_LARGE', () => 'x'.repeat(8193)],
    ['text that is no token', 'TOKEN_MALFORMED', () => 'a.b.c'],
    ['an encrypted token', 'TOKEN_MALFORMED', () => 'eyJhbGciOiJkaXIifQ.a.b.c.d'],
    ['a token without issuer', 'TOKEN_ISSUER', () => sign(one, { iss: undefined })],
    [
      'an issuer that the policy does not name',
      'TOKEN_ISSUER',
      () => sign(one, { iss: 'https://issuer.test/' }),
    ],
    ['a token of another type', 'TOKEN_TYPE', () => sign(one, {}, { typ: 'logout+jwt' })],
    [
      'an algorithm that is not accepted',
      'TOKEN_ALGORITHM',
      async () => sign(await signerOf('one', 'ES384')),
    ],
    ['an unsigned token', 'TOKEN_ALGORITHM', async () => unsigned(await sign(one))],
    ['a key that the issuer does not publish', 'TOKEN_KEY', () => sign(two)],
    ['a signature by another key of the same id', 'TOKEN_SIGNATURE', async () => sign(await signerOf('one'))],
    ['claims that were changed', 'TOKEN_SIGNATURE', async () => withClaims(await sign(one), { admin: true })],
    ['another audience', 'TOKEN_AUDIENCE', () => sign(one, { aud: ['someone'] })],
    ['an expired token', 'TOKEN_EXPIRED', () => sign(one, { exp: NOW_S - 31 })],
    ['a token before its time', 'TOKEN_NOT_YET_VALID', () => sign(one, { nbf: NOW_S + 31 })],
    ['a token that never expires', 'TOKEN_MALFORMED', () => sign(one, { exp: undefined })],
    [
      'an extension that is not understood',
      'TOKEN_MALFORMED',
      () => sign(one).then((token) => withHeader(token, { crit: ['x'], x: 1 })),
    ],
  ])('%s', async (_, expected, make) => {
    verifier = verifierOf([issuer()]);
    const result = await verifier.verify(await make(), CALLER);
    expect(result).toMatchObject({
      refusal: { reason: expected, sentence: expect.stringMatching(/^The .*\.$/) },
    });
  });
});

test.each([
  ['an expiry within the tolerance', { exp: NOW_S - 29 }],
  ['a beginning within the tolerance', { nbf: NOW_S + 29 }],
  ['one of several audiences', { aud: ['x', 'other'] }],
])('takes %s', async (_, claims) => {
  await publish(one);
  expect(await reasonOf(verifierOf([issuer()]).verify(await sign(one, claims), CALLER))).toBe('verified');
});

test.each(['JWT', 'at+jwt', 'application/at+jwt'])('takes a token of type %s', async (typ) => {
  await publish(one);
  expect(await reasonOf(verifierOf([issuer()]).verify(await sign(one, {}, { typ }), CALLER))).toBe(
    'verified',
  );
});

test('tries every key that fits a token without a key id', async () => {
  const [nameless, other] = await Promise.all([signerOf(undefined), signerOf(undefined)]);
  await publish(other, nameless);
  expect(await reasonOf(verifierOf([issuer()]).verify(await sign(nameless), CALLER))).toBe('verified');
});

test('refuses RSA keys below 2048 bits', async () => {
  const weak = await crypto.subtle.generateKey(
    {
      name: 'RSASSA-PKCS1-v1_5',
      modulusLength: 1024,
      publicExponent: Uint8Array.of(1, 0, 1),
      hash: 'SHA-256',
    },
    true,
    ['sign', 'verify'],
  );
  await publish({ jwk: { ...(await exportJWK(weak.publicKey)), kid: 'weak', alg: 'RS256' } });
  const encode = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const body = `${encode({ alg: 'RS256', kid: 'weak' })}.${encode({ iss: 'https://issuer.test', aud: 'other', exp: NOW_S + 9 })}`;
  const signature = await crypto.subtle.sign('RSASSA-PKCS1-v1_5', weak.privateKey, Buffer.from(body));
  const token = `${body}.${Buffer.from(signature).toString('base64url')}`;
  expect(await reasonOf(verifierOf([issuer({ algorithms: ['RS256'] })]).verify(token, CALLER))).toBe(
    'TOKEN_KEY',
  );
});

describe('binding', () => {
  beforeAll(() => publish(one));
  const certificate = { binding: TokenBinding.TOKEN_BINDING_CERTIFICATE };
  const claim = { binding: TokenBinding.TOKEN_BINDING_SPIFFE_CLAIM };

  test.each<[string, Partial<JwtIssuer>, Record<string, unknown>, string]>([
    [
      'the certificate that the token names',
      certificate,
      { cnf: { 'x5t#S256': CALLER.thumbprint } },
      'verified',
    ],
    ['another certificate', certificate, { cnf: { 'x5t#S256': 'b3RoZXI' } }, 'TOKEN_BINDING'],
    ['no certificate named', certificate, { cnf: null }, 'TOKEN_BINDING'],
    ['the identity that the token names', claim, { spiffe_id: CALLER.spiffeId }, 'verified'],
    ['another identity', claim, { spiffe_id: `${CALLER.spiffeId}2` }, 'TOKEN_BINDING'],
    ['no identity named', claim, {}, 'TOKEN_BINDING'],
    ['a binding that this version does not know', { binding: -1 }, {}, 'TOKEN_BINDING'],
  ])('%s', async (_, changes, claims, expected) => {
    expect(await reasonOf(verifierOf([issuer(changes)]).verify(await sign(one, claims), CALLER))).toBe(
      expected,
    );
  });

  test('is checked anew for each caller of one token', async () => {
    const verifier = verifierOf([issuer(claim)]);
    const token = await sign(one, { spiffe_id: CALLER.spiffeId });
    expect(await reasonOf(verifier.verify(token, CALLER))).toBe('verified');
    expect(verifier.verify(token, { ...CALLER, spiffeId: 'spiffe://gatehouse.local/thief' })).toMatchObject({
      refusal: { reason: 'TOKEN_BINDING', issuer: 'staff' },
    });
  });

  test('a caller without certificate matches no empty thumbprint', async () => {
    const token = await sign(one, { cnf: { 'x5t#S256': '' } });
    expect(
      await reasonOf(verifierOf([issuer(certificate)]).verify(token, { ...CALLER, thumbprint: '' })),
    ).toBe('TOKEN_BINDING');
  });
});

describe('keys', () => {
  test('a new key is taken when a token names it, once the cooldown has passed', async () => {
    await publish(one);
    const verifier = verifierOf([issuer()]);
    expect(await reasonOf(verifier.verify(await sign(one), CALLER))).toBe('verified');
    await publish(one, two);
    const token = await sign(two);
    expect(await reasonOf(verifier.verify(token, CALLER))).toBe('TOKEN_KEY');
    nowMs += 1_000;
    expect(await reasonOf(verifier.verify(token, CALLER))).toBe('verified');
  });

  test('a token whose key is withdrawn is refused although it was verified before', async () => {
    await publish(one, two);
    const outcomes: object[] = [];
    const verifier = verifierOf([issuer()], { onKeys: (_, outcome) => outcomes.push(outcome) });
    const token = await sign(one);
    expect(await reasonOf(verifier.verify(token, CALLER))).toBe('verified');
    await publish(two);
    nowMs += 5_000;
    expect(verifier.verify(token, CALLER)).toHaveProperty('token');
    await expect.poll(() => outcomes).toEqual([{ keys: 2 }, { keys: 1 }]);
    expect(await reasonOf(verifier.verify(token, CALLER))).toBe('TOKEN_KEY');
  });

  test('keys that cannot be read refuse every token, and come back by themselves', async () => {
    await rm(join(folder, 'keys.json'), { force: true });
    const failures: string[] = [];
    const onKeys = (name: string, outcome: object): void =>
      void ('failed' in outcome && failures.push(`${name}: ${String(outcome.failed)}`));
    const verifier = verifierOf([issuer()], { onKeys });
    const token = await sign(one);
    expect(await verifier.verify(token, CALLER)).toMatchObject({
      refusal: { reason: 'TOKEN_KEYS_UNAVAILABLE', issuer: 'staff' },
    });
    expect(failures[0]).toMatch(/^staff: ENOENT/);
    await publish(one);
    nowMs += 1_000;
    expect(await reasonOf(verifier.verify(token, CALLER))).toBe('verified');
  });

  test('keys stay in use for an hour after they can no longer be read, and no longer', async () => {
    await publish(one);
    const verifier = verifierOf([issuer()]);
    const token = await sign(one, { exp: NOW_S + 9_000 });
    expect(await reasonOf(verifier.verify(token, CALLER))).toBe('verified');
    await rm(join(folder, 'keys.json'));
    nowMs += 3_599_000;
    expect(await reasonOf(verifier.verify(token, CALLER))).toBe('verified');
    nowMs += 1_000;
    expect(await reasonOf(verifier.verify(token, CALLER))).toBe('TOKEN_KEYS_UNAVAILABLE');
  });

  test.each([
    ['text that is no JSON', 'keys'],
    ['an object without keys', '{}'],
    ['a key set that holds a private key', '{"keys":[{"kty":"EC","d":"x"}]}'],
    ['a key set that holds a shared key', '{"keys":[{"kty":"oct","k":"x"}]}'],
    ['a key set above the limit', ' '.repeat(262_145)],
    [
      'more keys than the limit',
      JSON.stringify({ keys: Array.from({ length: 101 }, () => ({ kty: 'EC' })) }),
    ],
  ])('takes no keys from %s', async (_, text) => {
    const verifier = verifierOf([issuer()], { readKeyFile: () => Promise.resolve(text) });
    expect(await reasonOf(verifier.verify(await sign(one), CALLER))).toBe('TOKEN_KEYS_UNAVAILABLE');
  });

  test('a change of the issuer in the policy makes its tokens count as new; no change keeps them', async () => {
    await publish(one);
    let issuers = [issuer()];
    const verifier = verifierOf(() => issuers);
    const token = await sign(one);
    await verifier.verify(token, CALLER);
    issuers = [issuer()];
    expect(verifier.verify(token, CALLER)).not.toBeInstanceOf(Promise);
    issuers = [issuer({ audiences: ['other'] })];
    expect(await reasonOf(verifier.verify(token, CALLER))).toBe('TOKEN_AUDIENCE');
    issuers = [];
    expect(await reasonOf(verifier.verify(token, CALLER))).toBe('TOKEN_ISSUER');
  });

  test('keeps no more verified tokens than its limit', async () => {
    await publish(one);
    const verifier = verifierOf([issuer()], { limits: { tokensCachedMax: 2 } });
    const tokens = await Promise.all(['a', 'b', 'c'].map((sub) => sign(one, { sub })));
    for (const token of tokens) await verifier.verify(token, CALLER);
    expect(tokens.map((token) => verifier.verify(token, CALLER) instanceof Promise)).toEqual([
      true,
      false,
      false,
    ]);
  });
});

describe('keys over HTTPS', () => {
  let server: Server;
  let ca: string;
  let url: string;
  let requests: string[];
  let answer: { status: number; body: string };

  beforeAll(async () => {
    const authority = await createAuthority({
      trustDomain: 'issuer.test',
      clock: Date.now,
      validForMs: 600_000,
    });
    const credentials = await authority.issue({
      spiffeId: 'spiffe://issuer.test/jwks',
      validForMs: 600_000,
      dnsNames: ['localhost'],
    });
    ca = authority.bundlePem;
    server = createServer(
      { cert: credentials.certificatePem, key: credentials.keyPem },
      (request, response) => {
        requests.push(request.url ?? '');
        response.writeHead(answer.status, { location: '/elsewhere' }).end(answer.body);
      },
    );
    await new Promise<void>((resolve) => server.listen(0, 'localhost', resolve));
    url = `https://localhost:${(server.address() as AddressInfo).port}/jwks`;
  });
  afterAll(() => new Promise((resolve) => server.close(resolve)));

  function start(...signers: Signer[]): TokenVerifier {
    requests = [];
    answer = { status: 200, body: JSON.stringify({ keys: signers.map(({ jwk }) => jwk) }) };
    return verifierOf([issuer({ jwks: { $case: 'jwksUrl', value: url } })], { ca });
  }

  test('many tokens at once share one look-up, and a rotated key costs one more', async () => {
    const verifier = start(one);
    const tokens = await Promise.all(Array.from({ length: 20 }, (_, i) => sign(one, { sub: `u${i}` })));
    const reasons = await Promise.all(tokens.map((token) => reasonOf(verifier.verify(token, CALLER))));
    expect(new Set(reasons)).toEqual(new Set(['verified']));
    expect(requests).toEqual(['/jwks']);

    answer.body = JSON.stringify({ keys: [two.jwk] });
    nowMs += 10_000;
    const rotated = await Promise.all(Array.from({ length: 20 }, (_, i) => sign(two, { sub: `u${i}` })));
    const again = await Promise.all(rotated.map((token) => reasonOf(verifier.verify(token, CALLER))));
    expect(new Set(again)).toEqual(new Set(['verified']));
    expect(requests).toEqual(['/jwks', '/jwks']);
  });

  test('tokens that name unknown keys cost no look-up within the cooldown', async () => {
    const verifier = start(one);
    expect(await reasonOf(verifier.verify(await sign(one), CALLER))).toBe('verified');
    for (const sub of ['a', 'b', 'c']) {
      expect(await reasonOf(verifier.verify(await sign(two, { sub }), CALLER))).toBe('TOKEN_KEY');
    }
    expect(requests).toHaveLength(1);
  });

  test('an unknown key is no key of the issuer only when the issuer could be asked', async () => {
    const verifier = start(one);
    expect(await reasonOf(verifier.verify(await sign(one), CALLER))).toBe('verified');
    answer.status = 503;
    nowMs += 10_000;
    expect(await reasonOf(verifier.verify(await sign(two), CALLER))).toBe('TOKEN_KEYS_UNAVAILABLE');
    expect(await reasonOf(verifier.verify(await sign(one), CALLER))).toBe('verified');
  });

  test.each([301, 404, 500])(
    'takes no keys from an answer with status %d, and follows no redirect',
    async (status) => {
      const verifier = start(one);
      answer.status = status;
      expect(await reasonOf(verifier.verify(await sign(one), CALLER))).toBe('TOKEN_KEYS_UNAVAILABLE');
      expect(requests).toEqual(['/jwks']);
    },
  );

  test('takes no keys from a server that the CA does not vouch for', async () => {
    start(one);
    const verifier = verifierOf([issuer({ jwks: { $case: 'jwksUrl', value: url } })]);
    expect(await reasonOf(verifier.verify(await sign(one), CALLER))).toBe('TOKEN_KEYS_UNAVAILABLE');
  });
});

function unsigned(token: string): string {
  return `${withHeader(token, { alg: 'none' }).split('.').slice(0, 2).join('.')}.`;
}

function withHeader(token: string, changes: object): string {
  const [header = '', ...rest] = token.split('.');
  return [changed(header, changes), ...rest].join('.');
}

function withClaims(token: string, changes: object): string {
  const [header = '', claims = '', signature = ''] = token.split('.');
  return [header, changed(claims, changes), signature].join('.');
}

function changed(part: string, changes: object): string {
  const value = JSON.parse(Buffer.from(part, 'base64url').toString()) as object;
  return Buffer.from(JSON.stringify({ ...value, ...changes })).toString('base64url');
}
