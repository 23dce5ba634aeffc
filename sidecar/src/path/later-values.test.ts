import type { FieldValues } from '@gatehouse/contracts';
import { expect, test } from 'vitest';
import { laterValues } from './later-values.ts';

const NOTHING = {
  model: undefined,
  modelVersion: undefined,
  priority: undefined,
  outputTokensLimit: undefined,
  outputTokensUsed: undefined,
  inputTokensUsed: undefined,
} as FieldValues;
const FIRST: FieldValues = { ...NOTHING, model: 'a', modelVersion: '1', outputTokensLimit: 5 };

test('a message that says nothing new, or the same again, changes nothing', () => {
  expect(laterValues(FIRST, NOTHING)).toBeNull();
  expect(laterValues(FIRST, FIRST)).toBeNull();
  expect(laterValues(FIRST, { ...NOTHING, model: 'a' })).toBeNull();
  expect(laterValues(null, NOTHING)).toBeNull();
});

test('what a message leaves out stays, save the version of another model', () => {
  expect(laterValues(FIRST, { ...NOTHING, outputTokensLimit: 9 })).toMatchObject({
    model: 'a',
    modelVersion: '1',
    outputTokensLimit: 9,
  });
  expect(laterValues(FIRST, { ...NOTHING, model: 'b' })).toMatchObject({
    model: 'b',
    modelVersion: undefined,
    outputTokensLimit: 5,
  });
  expect(laterValues(FIRST, { ...NOTHING, modelVersion: '2' })).toMatchObject({
    model: 'a',
    modelVersion: '2',
  });
  expect(laterValues(null, { ...NOTHING, priority: 1 })).toMatchObject({ priority: 1 });
});
