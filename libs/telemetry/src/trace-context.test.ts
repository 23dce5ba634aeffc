import { describe, expect, it } from 'vitest';
import { createIdSource, formatTraceparent, parseTraceparent, traceSampler } from './trace-context.ts';

const TRACE_ID = '4bf92f3577b34da6a3ce929d0e0e4736';
const SPAN_ID = '00f067aa0ba902b7';

describe('parseTraceparent', () => {
  it('reads ids and both flags of version 00', () => {
    expect(parseTraceparent(`00-${TRACE_ID}-${SPAN_ID}-03`)).toEqual({
      traceId: TRACE_ID,
      spanId: SPAN_ID,
      sampled: true,
      random: true,
    });
    expect(parseTraceparent(`00-${TRACE_ID}-${SPAN_ID}-00`)).toMatchObject({ sampled: false, random: false });
  });

  it('ignores flags that it does not know', () => {
    expect(parseTraceparent(`00-${TRACE_ID}-${SPAN_ID}-fd`)).toMatchObject({ sampled: true, random: false });
  });

  it('reads a later version, with or without more after its flags', () => {
    expect(parseTraceparent(`01-${TRACE_ID}-${SPAN_ID}-01`)).toMatchObject({ traceId: TRACE_ID });
    expect(parseTraceparent(`cc-${TRACE_ID}-${SPAN_ID}-01-what-comes-next`)).toMatchObject({ sampled: true });
  });

  it.each([
    ['no header', undefined],
    ['an empty header', ''],
    ['version ff', `ff-${TRACE_ID}-${SPAN_ID}-01`],
    ['version 00 with more after its flags', `00-${TRACE_ID}-${SPAN_ID}-01-more`],
    ['a later version with more after its flags but no hyphen', `01-${TRACE_ID}-${SPAN_ID}-01more`],
    ['an all-zero trace id', `00-${'0'.repeat(32)}-${SPAN_ID}-01`],
    ['an all-zero span id', `00-${TRACE_ID}-${'0'.repeat(16)}-01`],
    ['upper-case hex', `00-${TRACE_ID.toUpperCase()}-${SPAN_ID}-01`],
    ['a short trace id', `00-${TRACE_ID.slice(1)}-${SPAN_ID}-01`],
    ['a long span id', `00-${TRACE_ID}-${SPAN_ID}0-01`],
    ['flags of one digit', `00-${TRACE_ID}-${SPAN_ID}-1`],
    ['a letter that is not hex', `00-${TRACE_ID.replace('4', 'g')}-${SPAN_ID}-01`],
    ['a space before it', ` 00-${TRACE_ID}-${SPAN_ID}-01`],
    ['a line break after it', `00-${TRACE_ID}-${SPAN_ID}-01\n`],
    ['two headers joined', `00-${TRACE_ID}-${SPAN_ID}-01,00-${TRACE_ID}-${SPAN_ID}-01`],
    ['a later version of unbounded length', `01-${TRACE_ID}-${SPAN_ID}-01-${'a'.repeat(600)}`],
  ])('refuses %s', (_what, header) => {
    expect(parseTraceparent(header)).toBeUndefined();
  });

  it('gives back what formatTraceparent was given', () => {
    for (const sampled of [true, false]) {
      for (const random of [true, false]) {
        const parent = { traceId: TRACE_ID, spanId: SPAN_ID, sampled, random };
        expect(parseTraceparent(formatTraceparent(parent))).toEqual(parent);
      }
    }
  });
});

describe('createIdSource', () => {
  it('gives ids that differ, across refills of its pool', () => {
    const ids = createIdSource();
    const made = Array.from({ length: 1000 }, () => ids.traceId());
    expect(new Set(made).size).toBe(1000);
    for (const id of made) expect(id).toMatch(/^[0-9a-f]{32}$/);
    expect(ids.spanId()).toMatch(/^[0-9a-f]{16}$/);
  });

  it('never gives an id of zeros alone', () => {
    let fills = 0;
    const ids = createIdSource((pool) => {
      fills += 1;
      pool.fill(fills === 1 ? 0 : 7);
    });
    expect(ids.spanId()).toBe('07'.repeat(8));
  });
});

describe('traceSampler', () => {
  it('takes all at ratio 1 and none at 0, next to 0 or at what is not a ratio', () => {
    const traceId = 'f'.repeat(32);
    expect(traceSampler(1)(traceId)).toBe(true);
    for (const ratio of [0, 1e-17, -1, Number.NaN]) expect(traceSampler(ratio)(traceId)).toBe(false);
  });

  it('takes about the share it was told, and the same traces again at a larger one', () => {
    const ids = createIdSource();
    const made = Array.from({ length: 20_000 }, () => ids.traceId());
    const tenth = made.filter(traceSampler(0.1));
    expect(tenth.length).toBeGreaterThan(1600);
    expect(tenth.length).toBeLessThan(2400);
    expect(tenth.every(traceSampler(0.2))).toBe(true);
  });

  it('takes those whose 52 bits of randomness are at or above the share to leave out', () => {
    const isSampled = traceSampler(0.25);
    const withRandomness = (digits: string): string => `${'0'.repeat(18)}${digits}0`;
    expect(isSampled(withRandomness('c000000000000'))).toBe(true);
    expect(isSampled(withRandomness('c000000000001'))).toBe(true);
    expect(isSampled(withRandomness('bffffffffffff'))).toBe(false);
  });
});
