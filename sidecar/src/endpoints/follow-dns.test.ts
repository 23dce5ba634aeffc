import { lookup as systemLookup } from 'node:dns/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { followDns } from './follow-dns.ts';

const WAIT = { timeout: 5_000, interval: 5 };
const closes: (() => void)[] = [];
afterEach(() => {
  for (const close of closes.splice(0)) close();
});

/** Follows a name whose answers the test decides. */
function following(lookup: (host: string) => Promise<readonly string[]>, host = 'pods.prod.svc') {
  const told: (readonly string[])[] = [];
  const problems: string[] = [];
  const source = followDns(
    { host, port: 8443 },
    {
      lookup,
      refreshMs: 20,
      random: Math.random,
      onEndpoints: (addresses) => told.push(addresses),
      onProblem: (problem) => problems.push(problem),
    },
  );
  closes.push(source.close);
  return { told, problems, source };
}

describe('followDns', () => {
  it('has an endpoint for every address, as the system resolves the name', async () => {
    const { told, source } = following(
      async (host) => (await systemLookup(host, { all: true })).map(({ address }) => address),
      'localhost',
    );
    await source.firstAnswer;
    expect(told[0]?.every((address) => ['127.0.0.1:8443', '[::1]:8443'].includes(address))).toBe(true);
    expect(told[0]?.length).toBeGreaterThan(0);
  });

  it('asks again, and takes what has changed', async () => {
    const answers = [['10.0.0.1'], ['10.0.0.1', '10.0.0.2']];
    const { told } = following(async () => answers.shift() ?? ['10.0.0.2']);
    await expect.poll(() => told.length, WAIT).toBeGreaterThanOrEqual(3);
    expect(told.slice(0, 3)).toEqual([
      ['10.0.0.1:8443'],
      ['10.0.0.1:8443', '10.0.0.2:8443'],
      ['10.0.0.2:8443'],
    ]);
  });

  it('takes IPv4 alone of pods that have both families', async () => {
    const { told, source } = following(async () => ['fd00::1', '10.0.0.1']);
    await source.firstAnswer;
    expect(told).toEqual([['10.0.0.1:8443']]);
  });

  it('tells of a failure and of an empty answer, takes neither for a set, and goes on', async () => {
    let failing = true;
    let asked = 0;
    const { told, problems } = following(async (host) => {
      if (!failing) return ['10.0.0.1'];
      asked += 1;
      if (asked > 1) return [];
      throw Object.assign(new Error(`getaddrinfo ENOTFOUND ${host}`), { code: 'ENOTFOUND' });
    });
    await expect.poll(() => problems.length, WAIT).toBeGreaterThanOrEqual(2);
    expect(problems.slice(0, 2)).toEqual([
      'DNS does not resolve pods.prod.svc: ENOTFOUND',
      'DNS has no address for pods.prod.svc',
    ]);
    expect(told).toEqual([]);
    failing = false;
    await expect.poll(() => told.length, WAIT).toBeGreaterThan(0);
  });

  it('has one question open at a time, and tells when there is no answer to it', async () => {
    const question = Promise.withResolvers<readonly string[]>();
    let asked = 0;
    const { told, problems } = following(() => {
      asked += 1;
      return question.promise;
    });
    await expect.poll(() => problems.length, WAIT).toBeGreaterThanOrEqual(2);
    expect(problems[0]).toBe('DNS has not answered for pods.prod.svc in 20 ms');
    expect(asked).toBe(1);
    question.resolve(['10.0.0.1']);
    await expect.poll(() => told.length, WAIT).toBeGreaterThan(0);
  });

  it('says nothing after it was closed', async () => {
    const question = Promise.withResolvers<readonly string[]>();
    const { told, problems, source } = following(() => question.promise);
    source.close();
    question.resolve(['10.0.0.1']);
    await source.firstAnswer;
    await question.promise;
    expect([told, problems]).toEqual([[], []]);
  });
});
