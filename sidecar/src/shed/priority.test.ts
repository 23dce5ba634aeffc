import { Priority } from '@gatehouse/contracts/inference';
import { expect, test } from 'vitest';
import { priorityOf } from './priority.ts';

test.each([
  [undefined, 'normal'],
  [-1, 'normal'],
  [Priority.PRIORITY_UNSPECIFIED, 'normal'],
  [Priority.PRIORITY_LOW, 'low'],
  [Priority.PRIORITY_NORMAL, 'normal'],
  [Priority.PRIORITY_HIGH, 'high'],
  [100, 'high'],
] as const)('%s means %s', (value, priority) => {
  expect(priorityOf(value)).toBe(priority);
});
