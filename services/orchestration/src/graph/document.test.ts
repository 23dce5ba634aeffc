import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { graphDocumentReader } from './document.ts';

const read = graphDocumentReader(
  readFileSync(fileURLToPath(import.meta.resolve('@gatehouse/contracts/descriptors.binpb'))),
);

test('reads YAML in the JSON form of the message, durations and defaults included', () => {
  const document = read(`
name: a
inputs: [{ name: x, type: VALUE_TYPE_OBJECT, default: { deep: [1, null] } }]
nodes: [{ id: n, deadline: 1.5s, generate: { model: m, prompt: p, maxTokens: 5 } }]
outputs: [{ name: o, value: v }]
`);
  expect(document).toMatchObject({
    ok: true,
    graph: {
      inputs: [{ default: { deep: [1, null] } }],
      nodes: [
        {
          deadline: { seconds: 1n, nanos: 500_000_000 },
          kind: { $case: 'generate', value: { maxTokens: 5 } },
        },
      ],
    },
  });
});

test('reports every unknown key with its path', () => {
  const document = read(`
name: a
titel: x
nodes: [{ id: n, generate: { model: m, prompt: p, promt: q } }, { id: m, switch: { cases: [{ when: x }] } }]
`);
  expect(document).toMatchObject({
    ok: false,
    violations: [
      { path: 'titel' },
      { path: 'nodes[0].generate.promt' },
      {
        path: 'nodes[1].switch.cases[0].when',
        description: 'there is no such key; there is condition, nodes',
      },
    ],
  });
});

test.each([
  ['name: [a', /^not YAML: /],
  ['name: a\nname: b', /^not YAML: .*unique/],
  ['name: 5', /name/],
  ['inputs: [{ name: x, type: TEXT }]', /ValueType/],
  ['just text', /./],
])('refuses %j', (yaml, description) => {
  const document = read(yaml);
  expect(document).toMatchObject({
    ok: false,
    violations: [{ description: expect.stringMatching(description) }],
  });
});

test('refuses what the contract’s rules do not allow, every place at once', () => {
  const document = read(`
name: Not-Lower-Case
nodes:
  - id: ask
    generate: { model: m, prompt: hello, temperature: 9 }
    retry: { attemptsMax: 50 }
outputs: [{ name: answer, value: "\${nodes.ask.output}" }]
`);
  expect(document).toMatchObject({
    ok: false,
    violations: expect.arrayContaining([
      expect.objectContaining({ path: 'name' }),
      expect.objectContaining({ path: 'nodes[0].generate.temperature' }),
      expect.objectContaining({ path: 'nodes[0].retry.attempts_max' }),
    ]),
  });
});
