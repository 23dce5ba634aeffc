import { expect, test } from 'vitest';
import { z } from 'zod';
import { commonConfig, parseServiceConfig } from './config.ts';
import { StartFailure } from './start-failure.ts';

const schema = commonConfig.extend({ models: z.array(z.strictObject({ name: z.string() })).min(1) });

test('gives defaults and freezes the whole', () => {
  const config = parseServiceConfig(
    schema,
    'name: a\nlisten: unix:/run/a.sock\nmodels: [{name: m}]',
    'a.yaml',
  );
  expect(config).toMatchObject({ drainMsMax: 10_000, telemetry: { sampleRatio: 1 }, log: { level: 'info' } });
  expect(Object.isFrozen(config.models[0])).toBe(true);
});

test('reports every error with its key, its value and the expected form', () => {
  const text =
    'name: 3\nlisten: 0.0.0.0:80\nlog: {level: loud}\nmodels: [{name: m, colour: red}, {}]\ndrainMsMax: -1';
  const parse = () => parseServiceConfig(schema, text, 'a.yaml');
  expect(parse).toThrow(StartFailure);
  for (const part of [
    'name: got 3',
    'listen: got "0.0.0.0:80"',
    'log.level: got "loud"',
    'models[0].colour',
    'models[1].name: missing',
    'drainMsMax: got -1',
  ]) {
    expect(parse).toThrow(part);
  }
});

test.each(['unix:/run/a.sock', '127.0.0.1:0', '127.9.9.9:80', 'localhost:9000', '[::1]:9000'])(
  'may listen on %s',
  (listen) => {
    expect(commonConfig.safeParse({ name: 'a', listen }).success).toBe(true);
  },
);

test.each([
  'unix:a.sock',
  `unix:/${'x'.repeat(107)}`,
  '0.0.0.0:80',
  '10.0.0.1:80',
  '[::]:80',
  '127.0.0.1:65536',
  'example.com:80',
  '127.0.0.1',
])('may not listen on %s: services have no security of their own', (listen) => {
  expect(commonConfig.safeParse({ name: 'a', listen }).success).toBe(false);
});
