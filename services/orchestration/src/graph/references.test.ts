import { expect, test } from 'vitest';
import { parseTemplate } from './references.ts';

test('a reference that stands alone is a reference, and one among text is a part of the text', () => {
  expect(parseTemplate('${nodes.a.output[2].key[*]}')).toEqual({
    ok: true,
    value: {
      kind: 'reference',
      reference: {
        root: 'nodes',
        name: 'a',
        steps: [{ kind: 'index', index: 2 }, { kind: 'key', key: 'key' }, { kind: 'each' }],
        text: '${nodes.a.output[2].key[*]}',
      },
    },
  });
  expect(parseTemplate(' ${index}')).toMatchObject({
    value: { kind: 'text', parts: [' ', { root: 'index' }] },
  });
});

test('$${ stands for ${, and a lone $ for itself', () => {
  expect(parseTemplate('costs $5, $$, $${a} and {b}')).toEqual({
    ok: true,
    value: { kind: 'text', parts: ['costs $5, $$, ${a} and {b}'] },
  });
});

test.each([
  '${',
  '${inputs}',
  '${inputs.}',
  '${inputs[0]}',
  '${nodes.a}',
  '${nodes.a.outputs}',
  '${ item }',
  '${item..a}',
  '${item[-1]}',
  '${items}',
])('refuses %s', (text) => {
  expect(parseTemplate(text).ok).toBe(false);
});
