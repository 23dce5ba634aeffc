import fc from 'fast-check';
import { expect, test } from 'vitest';
import { formatGrpcTimeout, parseGrpcTimeout } from './grpc-timeout.ts';

test.each([
  ['1H', 3_600_000],
  ['2M', 120_000],
  ['3S', 3_000],
  ['250m', 250],
  ['1500u', 1.5],
  ['1000000n', 1],
  ['0m', 0],
  ['00000007S', 7_000],
  ['99999999H', 99_999_999 * 3_600_000],
])('%s is %d ms', (text, ms) => {
  expect(parseGrpcTimeout(text)).toBeCloseTo(ms, 9);
});

test.each([
  '',
  '1',
  'm',
  '1 m',
  ' 1m',
  '1m ',
  '-1m',
  '+1m',
  '1.5S',
  '1ms',
  '1s',
  '1h',
  '123456789m',
  '0x1m',
  '１m',
  '1m\n',
])('%j is malformed', (text) => {
  expect(parseGrpcTimeout(text)).toBeNull();
});

test('a time that is left is written so that it is read as no shorter and at most 1 ms longer', () => {
  fc.assert(
    fc.property(fc.double({ min: 0.001, max: 99_999_999, noNaN: true }), (ms) => {
      const read = parseGrpcTimeout(formatGrpcTimeout(ms)) ?? -1;
      expect(read).toBeGreaterThanOrEqual(ms);
      expect(read - ms).toBeLessThanOrEqual(1);
    }),
  );
});

test('a time that has run out is written as the least that the header can say, never as zero or below', () => {
  for (const ms of [0, -1, -60_000, 0.2]) expect(formatGrpcTimeout(ms)).toBe('1m');
});

test('days are written in seconds, within the eight digits of the header', () => {
  const days = 30 * 24 * 3_600_000;
  expect(formatGrpcTimeout(days)).toBe('2592000S');
  expect(formatGrpcTimeout(99_999_999)).toBe('99999999m');
  expect(formatGrpcTimeout(100_000_000)).toBe('100000S');
});
