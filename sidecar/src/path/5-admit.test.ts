import { expect, test } from 'vitest';
import type { Permitted } from './4-authorise.ts';
import { AdmissionControl } from './5-admit.ts';

const callOf = (identity: string): Permitted => ({ identity }) as unknown as Permitted;

test('a call over the limit is turned away until another has given its place back', () => {
  const control = new AdmissionControl({ callsActiveMax: 1, streamsPerConnectionMax: 10 }, null, () => 0);
  const first = control.admit(callOf('a'));
  expect(control.admit(callOf('b'))).toMatchObject({ kind: 'overloaded', limit: 'callsActiveMax', max: 1 });
  if ('admission' in first) first.admission.release();
  expect(control.admit(callOf('b'))).toHaveProperty('admission');
});

test('an identity whose abandoned calls still run may not begin another, and others may', () => {
  const control = new AdmissionControl({ callsActiveMax: 100, streamsPerConnectionMax: 2 }, null, () => 0);
  const admitted = control.admit(callOf('a'));
  if (!('admission' in admitted)) throw new Error('not admitted');
  const ended = [admitted.admission.linger('a'), admitted.admission.linger('a')];
  expect(control.admit(callOf('a'))).toEqual({ kind: 'too-many-left', max: 2 });
  expect(control.admit(callOf('b'))).toHaveProperty('admission');
  ended[0]?.();
  expect(control.admit(callOf('a'))).toHaveProperty('admission');
  ended[1]?.();
  expect(control.admit(callOf('a'))).toHaveProperty('admission');
});
