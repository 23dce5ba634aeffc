import { expect, test } from 'vitest';
import { Quarantine } from './quarantine.ts';

const ID = 'spiffe://test.gatehouse/sa/caller';

test('an offender is kept out for a second, then for two, then for four, and for half a minute at most', () => {
  let nowMs = 0;
  const quarantine = new Quarantine(() => nowMs);
  for (const seconds of [1, 2, 4, 8, 16, 30, 30]) {
    quarantine.add(ID, '10.0.0.1');
    nowMs += seconds * 1000 - 1;
    expect(quarantine.holds(ID, '10.0.0.1')).toBe(true);
    nowMs += 1;
    expect(quarantine.holds(ID, '10.0.0.1')).toBe(false);
  }
});

test('another address of the same identity, and another identity at the same address, may come', () => {
  const quarantine = new Quarantine(() => 0);
  quarantine.add(ID, '10.0.0.1');
  expect(quarantine.holds(ID, '10.0.0.2')).toBe(false);
  expect(quarantine.holds(`${ID}-2`, '10.0.0.1')).toBe(false);
});

test('after a minute of peace an offence is the first again', () => {
  let nowMs = 0;
  const quarantine = new Quarantine(() => nowMs);
  for (let i = 0; i < 3; i++) quarantine.add(ID, 'a');
  nowMs += 70_000;
  quarantine.add(ID, 'a');
  nowMs += 1000;
  expect(quarantine.holds(ID, 'a')).toBe(false);
});

test('the newest thousand offenders are remembered', () => {
  const quarantine = new Quarantine(() => 0);
  for (let i = 0; i <= 1024; i++) quarantine.add(ID, String(i));
  expect([quarantine.holds(ID, '0'), quarantine.holds(ID, '1'), quarantine.holds(ID, '1024')]).toEqual([
    false,
    true,
    true,
  ]);
});
