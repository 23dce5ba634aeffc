import fc from 'fast-check';
import { expect, test } from 'vitest';
import { stringify } from 'yaml';
import { ownContract as contract } from '../../test/support/own-contract.ts';
import { compilePolicy } from './index.ts';

const SEED = Number(process.env['FUZZ_SEED'] ?? 20261122);

const GOOD = {
  version: 'v',
  trustDomains: ['gatehouse.local'],
  jwtIssuers: [
    {
      name: 'staff',
      issuer: 'https://a',
      audiences: ['x'],
      algorithms: ['ES256'],
      jwksFile: 'a',
      claims: { team: 'STRING', level: 'INT' },
    },
  ],
  rules: [
    {
      id: 'a',
      effect: 'ALLOW',
      identities: ['spiffe://gatehouse.local/a/*'],
      methods: ['gatehouse.inference.v1.InferenceService/Generate'],
      models: ['m@1', 'n'],
      token: { issuer: 'staff', claims: [{ name: 'team', values: ['ml'] }] },
      condition: 'request.priority == 1 && token.claims.level > 2',
      owner: 'me',
      labels: { a: 'b' },
    },
    {
      id: 'b',
      effect: 'DENY',
      identities: ['spiffe://gatehouse.local/b'],
      permissions: ['models.read'],
      shadow: true,
    },
  ],
  limits: [
    {
      id: 'l',
      match: { models: ['n'] },
      per: ['identity', 'claim:team'],
      tokensPerMinute: 5,
      tokensPerDay: 9,
    },
    { id: 'k', requests: { perSecond: 1, burst: 2 } },
  ],
  detectors: [{ name: 'BADGE', pattern: 'B-[0-9]+' }],
  protections: [
    {
      id: 'p',
      match: { identities: ['spiffe://gatehouse.local/**'] },
      detectors: ['BADGE', 'CARD'],
      action: 'REDACT',
    },
  ],
  includes: ['other.yaml'],
};

type Path = readonly (string | number)[];

/** Every place of a value, itself included. */
function placesOf(value: unknown, path: Path = []): Path[] {
  if (typeof value !== 'object' || value === null) return [path];
  return [
    path,
    ...Object.entries(value).flatMap(([key, part]) =>
      placesOf(part, [...path, Array.isArray(value) ? Number(key) : key]),
    ),
  ];
}

function replaced(value: unknown, [key, ...rest]: Path, junk: unknown): unknown {
  if (key === undefined) return junk;
  if (Array.isArray(value))
    return value.map((part: unknown, index) => (index === key ? replaced(part, rest, junk) : part));
  return { ...(value as object), [key]: replaced((value as Record<string, unknown>)[key], rest, junk) };
}

test('whatever stands in a document in place of a value, its problems are reported and nothing is thrown', () => {
  const places = placesOf(GOOD);
  const junk = fc.constantFrom<unknown>(
    null,
    0,
    -1,
    1.5,
    true,
    '',
    'x',
    '**',
    [],
    [null],
    [[]],
    {},
    { a: null },
    'spiffe://',
    'a@b@c',
    { name: 7 },
  );
  const compile = (document: unknown) =>
    compilePolicy(stringify(document), {
      contract,
      fileName: 'p.yaml',
      readFile: () => stringify({ rules: [] }),
    });
  expect(compile(GOOD)).toHaveProperty('policy');
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.constantFrom(...places), junk), { minLength: 1, maxLength: 3 }),
      (changes) => {
        let document: unknown = GOOD;
        for (const [path, value] of changes) {
          try {
            document = replaced(document, path, value);
          } catch {
            // An earlier change took the place away.
          }
        }
        const compiled = compile(document);
        if ('problems' in compiled) {
          expect(compiled.problems.length).toBeGreaterThan(0);
          for (const { line, column, message } of compiled.problems) {
            expect(line).toBeGreaterThan(0);
            expect(column).toBeGreaterThan(0);
            expect(message).not.toBe('');
          }
        }
      },
    ),
    { numRuns: 400, seed: SEED },
  );
});
