import { expect, test } from 'vitest';
import { ConnectionPeer } from './connection-peer.ts';
import { ResponseBacklog } from './response-backlog.ts';

const KIB = 1024;
const someone = (): ConnectionPeer => ConnectionPeer.localApp('spiffe://test.gatehouse/sa/a');

test('one caller alone may hold half of the limit, and two a third each', () => {
  const backlog = new ResponseBacklog(1200 * KIB);
  const [first, second] = [someone(), someone()];
  expect(backlog.add(first, 600 * KIB)).toBe(true);
  expect(backlog.add(first, KIB)).toBe(false);
  backlog.leave(first, 201 * KIB);
  expect(backlog.add(second, 400 * KIB)).toBe(true);
  expect(backlog.add(second, KIB)).toBe(false);
  expect(backlog.heldBytes).toBe(801 * KIB);
});

test('with nothing free everybody has 64 KiB', () => {
  const backlog = new ResponseBacklog(256 * KIB);
  backlog.add(someone(), 300 * KIB);
  const late = someone();
  expect(backlog.add(late, 64 * KIB)).toBe(true);
  expect(backlog.add(late, 1)).toBe(false);
});

test('what has left or was dropped is free again', () => {
  const backlog = new ResponseBacklog(256 * KIB);
  const peer = someone();
  backlog.add(peer, 256 * KIB);
  backlog.leave(peer, 256 * KIB);
  expect([backlog.heldBytes, peer.backlogBytes]).toEqual([0, 0]);
});
