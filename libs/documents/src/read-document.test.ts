import { expect, test } from 'vitest';
import { z } from 'zod';
import { formatProblem, readDocument } from './index.ts';

const schema = z.strictObject({
  listen: z.string().regex(/:/, 'expected host:port'),
  upstreams: z.array(z.strictObject({ name: z.string(), weight: z.number().max(10, 'expected at most 10') })),
});

function problems(text: string): string[] {
  const read = readDocument(schema, text, 'a.yaml');
  return 'problems' in read ? read.problems.map(formatProblem) : [];
}

test('reads a document that fits its schema', () => {
  const read = readDocument(schema, 'listen: a:1\nupstreams: []\n', 'a.yaml');
  expect(read).toMatchObject({ value: { listen: 'a:1', upstreams: [] } });
});

test('reports every problem at once, each with place, key, value and expected form', () => {
  const text = [
    'listen: nowhere',
    'upstreams:',
    '  - name: 5',
    '    weight: 11',
    '    wieght: 1',
    'extra: 1',
  ].join('\n');
  expect(problems(text)).toEqual([
    'a.yaml:1:1: listen: got "nowhere", expected host:port',
    'a.yaml:3:5: upstreams[0].name: got 5, expected text',
    'a.yaml:4:5: upstreams[0].weight: got 11, expected at most 10',
    'a.yaml:5:5: upstreams[0].wieght: unknown key',
    'a.yaml:6:1: extra: unknown key',
  ]);
});

test('says which key is missing', () => {
  expect(problems('listen: a:1')).toEqual(['a.yaml:1:1: upstreams: missing, expected a list']);
});

test('refuses text that is not YAML, with the place', () => {
  expect(problems('listen: [a')[0]).toMatch(/^a\.yaml:1:\d+: not YAML: /);
});

test('refuses a key given twice', () => {
  expect(problems('listen: a:1\nlisten: b:2\nupstreams: []')[0]).toMatch(/^a\.yaml:2:1: not YAML: .*unique/i);
});

test('finds the place of a key for checks that a schema cannot make', () => {
  const read = readDocument(schema, 'listen: a:1\nupstreams:\n  - name: x\n    weight: 1\n', 'a.yaml');
  if ('problems' in read) throw new Error('expected a value');
  expect(read.placeOf(['upstreams', 0, 'weight'])).toEqual({ line: 4, column: 5 });
});
