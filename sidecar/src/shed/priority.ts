/** What is shed first comes first. */
export const PRIORITIES = ['low', 'normal', 'high'] as const;

export type Priority = (typeof PRIORITIES)[number];

const NORMAL = 2;

/**
 * Reads a field of role PRIORITY, numbered as in gatehouse.inference.v1.Priority: 1 low, 2 normal, from 3 on high. What
 * is absent, 0 or below says nothing, and counts as normal.
 */
export function priorityOf(value: number | undefined): Priority {
  if (value === undefined || value <= 0 || value === NORMAL) return 'normal';
  return value < NORMAL ? 'low' : 'high';
}
