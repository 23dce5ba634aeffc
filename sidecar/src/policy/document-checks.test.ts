import { formatProblem } from '@gatehouse/documents';
import { describe, expect, test } from 'vitest';
import { ownContract as contract } from '../../test/support/own-contract.ts';
import { compilePolicy } from './index.ts';

const HEAD = 'version: v1\ntrustDomains: [gatehouse.local]\n';
const GENERATE = 'gatehouse.inference.v1.InferenceService/Generate';
const EMBED = 'gatehouse.embeddings.v1.EmbeddingsService/Embed';
const ISSUER =
  'jwtIssuers: [{ name: staff, issuer: https://a, audiences: [x], algorithms: [ES256], jwksFile: a, claims: { team: STRING } }]\n';

function problems(text: string, more: Partial<Parameters<typeof compilePolicy>[1]> = {}): string[] {
  const compiled = compilePolicy(text, { contract, fileName: 'p.yaml', ...more });
  return 'problems' in compiled ? compiled.problems.map(formatProblem) : [];
}

/** Rules by id, each as the flow mapping after it. */
function rules(of: Record<string, string>): string {
  return `${HEAD}rules:\n${Object.entries(of)
    .map(([id, rule]) => `  - { id: ${id}, ${rule} }\n`)
    .join('')}`;
}

const to = (effect: string, identity: string, more: string): string =>
  `effect: ${effect}, identities: ["spiffe://gatehouse.local/${identity}"], ${more}`;

describe('rules that can decide nothing', () => {
  const one = (narrow: string, broad: string): string[] => problems(rules({ narrow, broad }));

  test.each<[string, string, string, string]>([
    [
      'a rule that denies covers it',
      to('ALLOW', 'a/b', `methods: [${GENERATE}]`),
      to('DENY', '**', 'permissions: [inference.generate]'),
      'denies all',
    ],
    [
      'a broader one allows it',
      to('ALLOW', 'a/b', `methods: [${GENERATE}], models: [small-1]`),
      to('ALLOW', 'a/*', `methods: [${GENERATE}, ${EMBED}], models: ["small-*"]`),
      'allows all',
    ],
    [
      'a broader one denies it',
      to('DENY', 'a/*', `methods: [${GENERATE}], models: [a@1]`),
      to('DENY', 'a/*', `methods: [${GENERATE}], models: [a]`),
      'denies all',
    ],
    [
      'a broader one asks for no condition',
      to('ALLOW', 'a/b', `methods: [${GENERATE}], condition: request.priority == 1`),
      to('ALLOW', 'a/b', `methods: [${GENERATE}]`),
      'allows all',
    ],
  ])('%s', (_, narrow, broad, what) => {
    expect(one(narrow, broad)).toEqual([
      `p.yaml:4:7: rules[0].id: got "narrow", expected a rule that can decide something: rule broad (p.yaml:5:5) ${what} that this one is about`,
    ]);
  });

  test.each<[string, string, string]>([
    [
      'a rule that allows is no reason against one that denies',
      to('DENY', 'a/b', `methods: [${GENERATE}]`),
      to('ALLOW', '**', `methods: [${GENERATE}]`),
    ],
    [
      'another path length',
      to('ALLOW', 'a/b/c', `methods: [${GENERATE}]`),
      to('ALLOW', 'a/*', `methods: [${GENERATE}]`),
    ],
    [
      'more methods',
      to('ALLOW', 'a/b', `methods: [${GENERATE}, ${EMBED}]`),
      to('DENY', 'a/b', `methods: [${GENERATE}]`),
    ],
    [
      'any model where the other names some',
      to('ALLOW', 'a/b', `methods: [${GENERATE}]`),
      to('DENY', 'a/b', `methods: [${GENERATE}], models: ["*"]`),
    ],
    [
      'a condition of its own',
      to('ALLOW', 'a/b', `methods: [${GENERATE}]`),
      to('DENY', 'a/b', `methods: [${GENERATE}], condition: request.priority == 1`),
    ],
    [
      'it is in shadow',
      to('ALLOW', 'a/b', `methods: [${GENERATE}], shadow: true`),
      to('DENY', 'a/b', `methods: [${GENERATE}]`),
    ],
    [
      'the other is in shadow',
      to('ALLOW', 'a/b', `methods: [${GENERATE}]`),
      to('DENY', 'a/b', `methods: [${GENERATE}], shadow: true`),
    ],
  ])('are not those with %s', (_, narrow, broad) => {
    expect(one(narrow, broad)).toEqual([]);
  });

  test('of two that say the same the later one is reported', () => {
    const same = to('ALLOW', 'a/b', `methods: [${GENERATE}]`);
    expect(one(same, same)).toEqual([
      'p.yaml:5:7: rules[1].id: got "broad", expected a rule that can decide something: rule narrow (p.yaml:4:5) allows all that this one is about',
    ]);
  });

  test('claims count: a rule without them, or with more values, is broader', () => {
    const asked = (token: string): string =>
      to('ALLOW', 'a/b', `methods: [${GENERATE}], token: { issuer: staff${token} }`);
    const found = (narrow: string, broad: string): number =>
      problems(rules({ narrow, broad }).replace('rules:', `${ISSUER}rules:`)).length;
    const claim = (values: string): string => `, claims: [{ name: team, values: [${values}] }]`;
    expect(found(asked(claim('a')), asked(''))).toBe(1);
    expect(found(asked(claim('a')), asked(claim('a, b')))).toBe(1);
    expect(found(asked(claim('a, b')), asked(claim('a')))).toBe(1); // The other way round.
    expect(found(asked(claim('a')), asked(claim('b')))).toBe(0);
  });
});

describe('limits', () => {
  const limits = (text: string): string[] => problems(`${HEAD}${ISSUER}rules: []\nlimits:\n${text}`);

  test('that contradict themselves or each other, and keys that no call has, are reported', () => {
    expect(
      limits(`  - { id: a, tokensPerMinute: 10, tokensPerDay: 5 }
  - { id: b, per: ["claim:team", identity], concurrentCalls: 2 }
  - { id: c, per: [identity, "claim:team"], concurrentCalls: 3 }
  - { id: d, per: [identity, "claim:team"], requests: { perSecond: 3 } }
  - { id: e, per: ["claim:teem"], concurrentCalls: 3 }
  - { id: f, match: { methods: [gatehouse.inference.v1.ModelService/ListModels], models: [x] }, per: [model], concurrentCalls: 3 }
  - { id: g, match: { identities: ["spiffe://other.test/a"] }, concurrentCalls: 3 }
  - { id: b, tokensPerDay: 5 }
`),
    ).toEqual([
      'p.yaml:6:14: limits[0].tokensPerMinute: got 10, expected at most tokensPerDay, which is 5: more could never be used',
      'p.yaml:8:45: limits[2].concurrentCalls: got 3, expected one limit for the same calls and accounts: limit b (p.yaml:7:5) has concurrentCalls for them as well',
      'p.yaml:10:20: limits[4].per[0]: got "claim:teem", expected a claim that an issuer declares; did you mean team?',
      'p.yaml:11:82: limits[5].match.models: got ["x"], expected no models: no method of this limit has a model in its request',
      'p.yaml:11:97: limits[5].per: got ["model"], expected no account for each model: no method of this limit has a model in its request',
      'p.yaml:12:36: limits[6].match.identities[0]: got "spiffe://other.test/a", expected an identity of one of trustDomains',
      'p.yaml:13:7: limits[7].id: got "b", expected a value that is given once',
      'p.yaml:13:14: limits[7].tokensPerDay: got 5, expected one limit for the same calls and accounts: limit a (p.yaml:6:5) has tokensPerDay for them as well',
    ]);
  });

  test('by a claim need an issuer', () => {
    expect(problems(`${HEAD}rules: []\nlimits: [{ id: a, per: ["claim:x"], concurrentCalls: 1 }]\n`)).toEqual(
      ['p.yaml:4:25: limits[0].per[0]: got "claim:x", expected no claim: the document has no jwtIssuers'],
    );
  });
});

test('protections that name unknown detectors and keys, or lack a key, are reported', () => {
  const text = `${HEAD}rules: []
detectors: [{ name: BADGE, pattern: "B-[0-9]+" }, { name: EMAIL, pattern: x }]
protections:
  - { id: a, detectors: [BADGE, EMAI], action: REDACT }
  - { id: b, detectors: [CARD], action: PSEUDONYMISE }
  - { id: c, detectors: [CARD], action: PSEUDONYMISE_REVERSIBLY, key: curent }
  - { id: d, detectors: [CARD], action: REFUSE, key: current }
`;
  const expected = [
    'p.yaml:4:53: detectors[1].name: got "EMAIL", expected a name that no built-in detector has',
    'p.yaml:6:33: protections[0].detectors[1]: got "EMAI", expected a built-in detector or one of detectors; did you mean EMAIL?',
    'p.yaml:7:33: protections[1].action: got "PSEUDONYMISE", expected a key beside it: pseudonyms are made with one',
    'p.yaml:9:49: protections[3].key: got "current", expected no key: pseudonyms alone are made with one',
  ];
  expect(problems(text)).toEqual(expected);
  expect(problems(text, { protectionKeys: new Set(['current']) })).toEqual(
    expected.toSpliced(
      3,
      0,
      'p.yaml:8:66: protections[2].key: got "curent", expected the name of a key in the sidecar\'s configuration; did you mean current?',
    ),
  );
});

test('a document for another contract is refused with both named', () => {
  expect(problems(`${HEAD}contractDigest: '${'0'.repeat(12)}'\nrules: []\n`)).toEqual([
    `p.yaml:3:1: contractDigest: got "000000000000", expected the digest of the descriptor set, ${contract.digest}`,
  ]);
  expect(problems(`${HEAD}contractDigest: '${contract.digest.slice(0, 16)}'\nrules: []\n`)).toEqual([]);
});

test('refuses a document that was written for another version of the contract, and names both', () => {
  const served = contract.version ?? '';
  const [major = '', minor = ''] = served.split('.');
  const of = (version: string): string[] => problems(`${HEAD}contractVersion: ${version}\nrules: []\n`);
  expect(of(served)).toEqual([]);
  expect(of(`${major}.0.0`)).toEqual([]);
  const newer = `${major}.${Number(minor) + 1}.0`;
  expect(of(newer)).toEqual([
    `p.yaml:3:1: contractVersion: got "${newer}", expected a version that is not newer than the descriptor set's, ${served}`,
  ]);
  const other = `${Number(major) + 1}.0.0`;
  expect(of(other)).toEqual([
    `p.yaml:3:1: contractVersion: got "${other}", expected a version that the descriptor set's, ${served}, is compatible with`,
  ]);
  expect(of('1.x')).toEqual(['p.yaml:3:1: contractVersion: got "1.x", expected a version such as 1.4.0']);
  const unstated = { contract: { ...contract, version: null } };
  expect(problems(`${HEAD}contractVersion: ${served}\nrules: []\n`, unstated)).toEqual([
    `p.yaml:3:1: contractVersion: got "${served}", expected no version, because the descriptor set states none`,
  ]);
});

describe('includes', () => {
  const rule = (id: string, identity = id): string =>
    `{ id: ${id}, ${to('ALLOW', identity, `methods: [${GENERATE}]`)} }`;
  const from = (files: Record<string, string>, main: string) =>
    compilePolicy(main, {
      contract,
      fileName: 'conf/p.yaml',
      readFile: (file) => {
        const text = files[file];
        if (text === undefined) throw Object.assign(new Error('no'), { code: 'ENOENT' });
        return text;
      },
    });
  const found = (files: Record<string, string>, main: string): string[] => {
    const compiled = from(files, main);
    return 'problems' in compiled ? compiled.problems.map(formatProblem) : [];
  };

  test('belong to the document: their entries, their files and their text in its digest', () => {
    const files = {
      'conf/teams/a.yaml': `includes: [b.yaml]\nrules: [${rule('a')}]\nlimits: [{ id: l, concurrentCalls: 1 }]\n`,
      'conf/teams/b.yaml': `rules: [${rule('b')}]\n`,
    };
    const main = `${HEAD}includes: [teams/a.yaml]\nrules: [${rule('main')}]\n`;
    const compiled = from(files, main);
    if ('problems' in compiled) throw new Error(compiled.problems.map(formatProblem).join('\n'));
    expect(compiled.policy.rules.map(({ id }) => id)).toEqual(['main', 'a', 'b']);
    expect(compiled.policy.limits.map(({ id }) => id)).toEqual(['l']);
    expect(compiled.files.map(({ file }) => file)).toEqual([
      'conf/p.yaml',
      'conf/teams/a.yaml',
      'conf/teams/b.yaml',
    ]);
    const other = from({ ...files, 'conf/teams/b.yaml': `${files['conf/teams/b.yaml']}# changed\n` }, main);
    expect('policy' in other && other.policy.digest).not.toBe(compiled.policy.digest);
  });

  test('alone may hold all rules', () => {
    expect(found({ 'conf/a.yaml': `rules: [${rule('a')}]` }, `${HEAD}includes: [a.yaml]\n`)).toEqual([]);
  });

  test('report all that is wrong, each problem with the file that it is in', () => {
    expect(
      found(
        {
          'conf/a.yaml': `version: v2\nincludes: [p.yaml, gone.yaml, b.yaml]\nrules:\n  - ${rule('a', 'x/*')}\n`,
          'conf/b.yaml': `rules:\n  - ${rule('a', 'q')}\n  - ${rule('narrow', 'x/y')}\nrulez: []\n`,
          'conf/c.yaml': 'rules: [',
        },
        `${HEAD}includes: [a.yaml, b.yaml, /etc/x.yaml, c.yaml]\nrules: []\n`,
      ),
    ).toEqual([
      'conf/p.yaml:3:20: includes[1]: got "b.yaml", expected each file once, and conf/a.yaml includes it already',
      'conf/p.yaml:3:28: includes[2]: got "/etc/x.yaml", expected a relative path',
      'conf/a.yaml:1:1: version: unknown key',
      'conf/a.yaml:2:12: includes[0]: got "p.yaml", expected no file that leads back here: conf/p.yaml → conf/a.yaml → conf/p.yaml',
      'conf/a.yaml:2:20: includes[1]: got "gone.yaml", expected a file that can be read, and conf/gone.yaml cannot (ENOENT)',
      'conf/b.yaml:2:7: rules[0].id: got "a", expected a value that is given once, and conf/a.yaml:4:5 has it',
      'conf/b.yaml:3:7: rules[1].id: got "narrow", expected a rule that can decide something: rule a (conf/a.yaml:4:5) allows all that this one is about',
      'conf/b.yaml:4:1: rulez: unknown key',
      expect.stringContaining('conf/c.yaml:1:9: not YAML'),
    ]);
  });

  test('are refused where a document alone was given', () => {
    expect(problems(`${HEAD}includes: [a.yaml]\n`)[0]).toContain('expected no includes');
  });
});

test('a rule of ten thousand takes no more work to read, check and compile than three times one of a thousand', () => {
  const textOf = (count: number): string => {
    const rules = Array.from(
      { length: count },
      (_, i) =>
        `  - { id: r${i}, effect: ALLOW, identities: ["spiffe://gatehouse.local/ns/local/sa/x${i}"], methods: [${GENERATE}], models: [m-${i % 7}] }\n`,
    );
    return `${HEAD}rules:\n${rules.join('')}`;
  };
  const compileMs = (text: string, count: number): number => {
    const before = process.threadCpuUsage();
    const compiled = compilePolicy(text, { contract, fileName: 'p.yaml' });
    const used = process.threadCpuUsage(before);
    expect('policy' in compiled && compiled.policy.rules.length).toBe(count);
    return (used.user + used.system) / 1000;
  };
  const [few, many] = [textOf(1_000), textOf(10_000)];
  // What the machine does besides makes even CPU time longer, so both are measured in turns, and the best of three tell.
  let [fewMs, manyMs] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
  for (let turn = 0; turn < 3; turn++) {
    fewMs = Math.min(fewMs, compileMs(few, 1_000));
    manyMs = Math.min(manyMs, compileMs(many, 10_000));
  }
  expect(manyMs / 10).toBeLessThan(3 * fewMs);
});
