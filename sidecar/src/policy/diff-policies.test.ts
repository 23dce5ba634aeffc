import { formatProblem } from '@gatehouse/documents';
import { expect, test } from 'vitest';
import { ownContract as contract } from '../../test/support/own-contract.ts';
import { compilePolicy, diffPolicies, type Policy } from './index.ts';

const SA = 'spiffe://gatehouse.local/ns/local/sa';
const GENERATE = 'gatehouse.inference.v1.InferenceService/Generate';

function compile(text: string): Policy {
  const compiled = compilePolicy(`version: v\ntrustDomains: [gatehouse.local]\n${text}`, {
    contract,
    fileName: 'p.yaml',
  });
  if ('problems' in compiled) throw new Error(compiled.problems.map(formatProblem).join('\n'));
  return compiled.policy;
}

const rule = (id: string, who: string, more: string, effect = 'ALLOW'): string =>
  `  - { id: ${id}, effect: ${effect}, identities: ["${SA}/${who}"], methods: [${GENERATE}]${more} }\n`;

function diff(before: string, after: string): string[] {
  return diffPolicies(compile(`rules:\n${before}`), compile(`rules:\n${after}`)).map(
    ({ who, effect, methods, what }) =>
      `${who.replace(SA, '…')} ${effect} ${methods.length === 0 ? '' : `${methods.map((name) => name.split('/')[1]).join(' ')}: `}${what}`,
  );
}

test.each<[string, string, string, string[]]>([
  ['the same in other words is no difference', rule('a', 'x', ''), rule('b', 'x', ''), []],
  [
    'what a broader identity covers stays',
    rule('a', 'x', ''),
    rule('a', '*', ''),
    ['…/* gains Generate: any model'],
  ],
  [
    'a new method',
    rule('a', 'x', ''),
    `${rule('a', 'x', '')}${rule('b', 'y', '')}`,
    ['…/y gains Generate: any model'],
  ],
  [
    'models',
    rule('a', 'x', ', models: [m, n]'),
    rule('a', 'x', ', models: [n, o@2]'),
    ['…/x gains Generate: model o@2', '…/x loses Generate: model m'],
  ],
  [
    'any model',
    rule('a', 'x', ', models: [m]'),
    rule('a', 'x', ''),
    ['…/x gains Generate: any model beyond m'],
  ],
  [
    'a condition',
    rule('a', 'x', ''),
    rule('a', 'x', ', condition: request.priority == 1'),
    ['…/x loses Generate: any model', '…/x gains Generate: any model when `request.priority == 1`'],
  ],
  [
    'a rule that denies a model',
    rule('a', 'x', ''),
    `${rule('a', 'x', '')}${rule('b', 'x', ', models: [m]', 'DENY')}`,
    ['…/x loses Generate: model m (a rule that denies)'],
  ],
  [
    'a rule that denies what nobody may do',
    rule('a', 'x', ''),
    `${rule('a', 'x', '')}${rule('b', 'y', '', 'DENY')}`,
    [],
  ],
  [
    'a rule goes into shadow',
    rule('a', 'x', ''),
    rule('a', 'x', ', shadow: true'),
    ['…/x loses Generate: any model'],
  ],
])('%s', (_, before, after, expected) => {
  expect(diff(before, after).toSorted()).toEqual(expected.toSorted());
});

test('limits and protections by their ids', () => {
  const before = `  []\nlimits:\n  - { id: l, per: [identity], tokensPerMinute: 100 }\nprotections:\n  - { id: p, detectors: [CARD], action: RECORD }\n`;
  const after = `  []\nlimits:\n  - { id: l, per: [identity], tokensPerMinute: 50 }\n  - { id: m, match: { models: [big] }, requests: { perSecond: 5 } }\nprotections:\n  - { id: p, directions: [RESPONSE], detectors: [CARD], action: REDACT }\n`;
  expect(diff(before, after)).toEqual([
    'limit l changes tokens a minute: 100 → 50',
    'limit m changes is new: calls of big, requests 5 a second, 1 at once, when short refuse, store memory, store failure refuse',
    'protection p changes looks: at requests and at responses → at responses',
    'protection p changes action: record → redact',
  ]);
  expect(diff(before, '  []')).toEqual([
    expect.stringContaining('limit l changes is gone'),
    expect.stringContaining('protection p changes is gone'),
  ]);
});
