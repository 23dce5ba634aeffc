import { describe, expect, it } from 'vitest';
import { parseSpiffeId } from './spiffe-id.ts';

describe('parseSpiffeId', () => {
  it('splits an ID into trust domain and segments', () => {
    expect(parseSpiffeId('spiffe://gatehouse.local/ns/local/sa/inference')).toEqual({
      id: {
        uri: 'spiffe://gatehouse.local/ns/local/sa/inference',
        trustDomain: 'gatehouse.local',
        segments: ['ns', 'local', 'sa', 'inference'],
      },
    });
  });

  it('reads the ID of a trust domain itself as one without segments', () => {
    expect(parseSpiffeId('spiffe://a_b-c.d')).toEqual({
      id: { uri: 'spiffe://a_b-c.d', trustDomain: 'a_b-c.d', segments: [] },
    });
  });

  it.each([
    ['https://gatehouse.local/a', 'does not begin with "spiffe://"'],
    ['SPIFFE://gatehouse.local/a', 'does not begin with "spiffe://"'],
    ['spiffe:gatehouse.local/a', 'does not begin with "spiffe://"'],
    ['spiffe:///a', 'has no trust domain'],
    ['spiffe://user@gatehouse.local/a', 'has user information'],
    ['spiffe://gatehouse.local:443/a', 'has a port'],
    ['spiffe://Gatehouse.local/a', 'characters other than lower-case'],
    ['spiffe://gatehouse%2elocal/a', 'characters other than lower-case'],
    ['spiffe://gatehouse.local/a?b=c', 'has a query'],
    ['spiffe://gatehouse.local/a#b', 'has a fragment'],
    ['spiffe://gatehouse.local/', 'ends with a slash'],
    ['spiffe://gatehouse.local/a/', 'ends with a slash'],
    ['spiffe://gatehouse.local//a', 'has an empty path segment'],
    ['spiffe://gatehouse.local/a/../b', 'relative path segment ".."'],
    ['spiffe://gatehouse.local/./b', 'relative path segment "."'],
    ['spiffe://gatehouse.local/a%2Fb', 'path segment with characters'],
    ['spiffe://gatehouse.local/a b', 'path segment with characters'],
    ['spiffe://gatehouse.local/a\0', 'path segment with characters'],
    ['spiffe://gatehouse.local/a\n', 'path segment with characters'],
    ['spiffe://gatehouse.local\n/a', 'characters other than lower-case'],
    ['spiffe://gatehouse.local/é', 'path segment with characters'],
    [`spiffe://${'a'.repeat(256)}/b`, 'longer than 255 bytes'],
    [`spiffe://gatehouse.local/${'a'.repeat(2048)}`, 'longer than 2048 bytes'],
  ])('refuses %j', (text, problem) => {
    expect(parseSpiffeId(text)).toEqual({ problem: expect.stringContaining(problem) });
  });

  it('accepts exactly 2048 bytes', () => {
    const prefix = 'spiffe://gatehouse.local/';
    expect(parseSpiffeId(prefix + 'a'.repeat(2048 - prefix.length))).toHaveProperty('id');
  });
});
