import { expect, test } from 'vitest';
import type { Stream } from '../http2/index.ts';
import { Call } from './call.ts';
import { DecisionLog } from './decision-log.ts';

function decided(name: string, allowed: boolean): Call {
  const call = new Call('inbound', {} as Stream, 0);
  call.path = `/a.B/${name}`;
  call.identity = 'spiffe://example.org/caller';
  call.requestValues = {
    model: 'small-1',
    modelVersion: undefined,
    priority: undefined,
    outputTokensLimit: undefined,
    outputTokensUsed: undefined,
    inputTokensUsed: undefined,
    inputTokensBound: 0,
  };
  call.decision = {
    allowed,
    ruleId: allowed ? 'r1' : '',
    reason: allowed ? '' : 'NO_MATCHING_RULE',
    policyVersion: 'v1@abc',
    shadow: null,
    owner: '',
    labels: {},
  };
  return call;
}

test('keeps the newest and lets the oldest go', () => {
  const log = new DecisionLog(3, 'p');
  for (let i = 0; i < 5; i++) log.add(decided(`M${i}`, true), i);
  expect(log.newest(10, false).map(({ method }) => method)).toEqual(['a.B/M4', 'a.B/M3', 'a.B/M2']);
});

test('gives no more than asked for, newest first', () => {
  const log = new DecisionLog(100, 'p');
  for (let i = 0; i < 5; i++) log.add(decided(`M${i}`, true), i);
  expect(log.newest(2, false).map(({ timeMs }) => timeMs)).toEqual([4, 3]);
  expect(log.newest(0, false)).toEqual([]);
});

test('the limit counts refusals alone where only refusals are asked for', () => {
  const log = new DecisionLog(100, 'p');
  for (let i = 0; i < 9; i++) log.add(decided(`M${i}`, i % 3 !== 0), i);
  expect(log.newest(2, true).map(({ timeMs, allowed }) => [timeMs, allowed])).toEqual([
    [6, false],
    [3, false],
  ]);
});

test('every decision has an id of its own that begins with the prefix, also after the ring has turned', () => {
  const log = new DecisionLog(2, 'abc');
  const ids = Array.from({ length: 200 }, (_, i) => log.idOf(log.add(decided('M', true), i)));
  expect(new Set(ids).size).toBe(200);
  for (const id of ids) expect(id).toMatch(/^abc-[0-9a-z]+$/);
  expect(log.newest(1, false)[0]?.decisionId).toBe(ids.at(-1));
});

test('holds what was decided about whom, and nothing when nothing was', () => {
  const log = new DecisionLog(2, 'p');
  log.add(decided('M', false), 7);
  log.add(new Call('inbound', {} as Stream, 0), 8);
  const [empty, full] = log.newest(2, false);
  expect(full).toEqual({
    decisionId: 'p-0',
    timeMs: 7,
    allowed: false,
    ruleId: '',
    reason: 'NO_MATCHING_RULE',
    identity: 'spiffe://example.org/caller',
    method: 'a.B/M',
    model: 'small-1',
    policyVersion: 'v1@abc',
    traceId: '',
    shadow: null,
    ruleOwner: '',
    ruleLabels: {},
    asked: { outputTokensLimit: null, priority: null, token: null },
  });
  expect(empty).toMatchObject({ allowed: false, reason: '', policyVersion: '' });
});
