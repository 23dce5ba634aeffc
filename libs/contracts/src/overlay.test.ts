import { expect, test } from 'vitest';
import { FieldRole, Sensitivity } from './gen/gatehouse/policy/v1/annotations.ts';
import { parseOverlay } from './overlay.ts';

test('reads methods with or without the leading slash, durations in their units, and fields', () => {
  const text = `
methods:
  a.v1.B/C: { permission: b.c, costUnit: tokens, deadlineDefault: 500ms, deadlineMax: 1.5m, idempotent: true }
  /a.v1.B/D: { requestBytesMax: 10, responseBytesMax: 4294967295 }
fields:
  a.v1.M.name: { role: MODEL, sensitivity: METADATA }
`;
  expect(parseOverlay(text, 'o.yaml')).toEqual({
    overlay: {
      fileName: 'o.yaml',
      partial: false,
      methods: new Map<string, object>([
        [
          '/a.v1.B/C',
          {
            permission: 'b.c',
            costUnit: 'tokens',
            deadlineMsDefault: 500,
            deadlineMsMax: 90_000,
            idempotent: true,
          },
        ],
        ['/a.v1.B/D', { requestBytesMax: 10, responseBytesMax: 4_294_967_295 }],
      ]),
      fields: new Map([
        ['a.v1.M.name', { role: FieldRole.FIELD_ROLE_MODEL, sensitivity: Sensitivity.SENSITIVITY_METADATA }],
      ]),
    },
  });
});

test('reports every error at once, each with line, key, value and expected form', () => {
  const text = `partial: maybe
methods:
  a.B/C: { permission: generate, costUnt: tokens, deadlineMax: 5 }
  a.B: {}
fields:
  M: { role: MODEL }
  a.M.b: { role: MODL, sensitivity: UNSPECIFIED }
  a.M.c: 5
extra: 1
`;
  expect(parseOverlay(text, 'o.yaml')).toEqual({
    problems: [
      'o.yaml:1:1: partial: got "maybe", expected true or false',
      'o.yaml:3:12: methods.a.B/C.permission: got "generate", expected a permission such as `inference.generate`',
      'o.yaml:3:51: methods.a.B/C.deadlineMax: got 5, expected a duration such as `500ms`, `5s` or `10m`, at most 168h',
      'o.yaml:3:34: methods.a.B/C.costUnt: unknown key',
      'o.yaml:4:3: methods.a.B: expected `pkg.Service/Method`',
      'o.yaml:6:3: fields.M: expected `pkg.Message.field`',
      'o.yaml:7:12: fields.a.M.b.role: got "MODL", expected one of MODEL, OUTPUT_TOKENS_LIMIT, OUTPUT_TOKENS_USED, INPUT_TOKENS_USED, PRIORITY, TEXT_DELTA, TEXT_KEY, MODEL_VERSION',
      'o.yaml:7:24: fields.a.M.b.sensitivity: got "UNSPECIFIED", expected one of METADATA, PROMPT, COMPLETION, EMBEDDING_INPUT, EMBEDDING',
      'o.yaml:8:3: fields.a.M.c: got 5, expected a mapping',
      'o.yaml:9:1: extra: unknown key',
    ],
  });
});

test('refuses a method given twice, once with and once without the slash', () => {
  const parsed = parseOverlay('methods:\n  a.B/C: {}\n  /a.B/C: {}\n', 'o.yaml');
  expect(parsed).toEqual({
    problems: ['o.yaml:3:3: methods./a.B/C: got "/a.B/C", expected each method once'],
  });
});

test.each([
  ['methods: [a', /^o\.yaml:1:\d+: not YAML: /],
  ['partial: true\npartial: false', /^o\.yaml:2:1: not YAML: .*unique/i],
  ['- a', /^o\.yaml:1:1: got \["a"\], expected a mapping$/],
])('refuses %j', (text, expected) => {
  const parsed = parseOverlay(text, 'o.yaml');
  expect('problems' in parsed && parsed.problems[0]).toMatch(expected);
});
