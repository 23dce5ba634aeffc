import { expect, test } from 'vitest';
import { checkJsonSchema } from './json-schema.ts';

test.each([
  [{ type: 'object', properties: { a: { type: 'string', maxLength: 9 } }, required: ['a'], title: 'T' }],
  [{ type: 'object', additionalProperties: { type: 'integer' } }],
  [{ type: 'array', items: { enum: ['x', 1, null] }, minItems: 1, maxItems: 3 }],
  [{ anyOf: [{ type: 'null' }, { const: 'x' }] }],
  [{ type: ['string', 'null'] }],
  [{ type: 'string', format: 'date-time' }],
  [
    {
      $defs: {
        n: { type: 'object', properties: { next: { anyOf: [{ $ref: '#/$defs/n' }, { type: 'null' }] } } },
      },
      $ref: '#/$defs/n',
    },
  ],
])('takes what the grammar can enforce: %j', (schema) => {
  expect(checkJsonSchema(JSON.stringify(schema))).toMatchObject({ ok: true });
});

test.each([
  ['{', 'must be JSON'],
  ['true', 'must be an object'],
  ['{}', 'must have a type'],
  ['{"type":"string","pattern":"a+"}', 'has pattern, which cannot be enforced'],
  ['{"type":"integer","minimum":3}', 'has minimum'],
  ['{"type":"object","properties":{"a":{"type":"string","format":"email"}}}', '#/properties/a'],
  ['{"type":"object","required":["b"],"properties":{}}', 'only names from properties'],
  [
    '{"type":"object","properties":{"a":{"type":"null"}},"additionalProperties":true}',
    'either properties or',
  ],
  ['{"type":"array","items":{"type":"null"},"maxItems":100000}', 'maxItems from 0 to 1000'],
  ['{"type":"string","minLength":5,"maxLength":2}', 'maxLength of at least minLength'],
  ['{"$ref":"#/$defs/missing"}', 'refer to a schema in #/$defs'],
  ['{"type":"string","enum":[1]}', 'values of its type'],
  ['{"enum":[{}]}', 'strings, numbers, booleans or null'],
  ['{"not":{"type":"string"}}', 'must have a type'],
  [`${'{"type":"array","items":'.repeat(40)}{"type":"null"}${'}'.repeat(40)}`, 'nest at most 32'],
])('refuses what it cannot, and says where: %s', (text, problem) => {
  const checked = checkJsonSchema(text);
  expect(checked.ok ? '' : checked.problem).toContain(problem);
});
