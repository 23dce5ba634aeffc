import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Graph } from '@gatehouse/contracts/orchestration';
import { expect, test } from 'vitest';
import { graphDocumentReader } from './document.ts';
import { validateGraph } from './validation.ts';

const read = graphDocumentReader(
  readFileSync(fileURLToPath(import.meta.resolve('@gatehouse/contracts/descriptors.binpb'))),
);

function graph(yaml: string): Graph {
  const document = read(yaml);
  if (!document.ok) throw new Error(JSON.stringify(document.violations));
  return document.graph;
}

/** Problems of a graph with these nodes, as `path: description`. */
function problems(nodes: string, outputs = '[{ name: out, value: done }]'): string[] {
  const validated = validateGraph(
    graph(`
name: tried
inputs:
  - { name: question, type: VALUE_TYPE_STRING }
  - { name: count, type: VALUE_TYPE_NUMBER }
  - { name: passages, type: VALUE_TYPE_LIST }
  - { name: vector, type: VALUE_TYPE_VECTOR }
nodes: ${nodes}
outputs: ${outputs}
`),
  );
  return validated.ok ? [] : validated.violations.map(({ path, description }) => `${path}: ${description}`);
}

const say = (id: string, prompt: string): string =>
  `{ id: ${id}, generate: { model: m, prompt: '${prompt}' } }`;

test('takes a graph of every kind of node with references of every form', () => {
  const nodes = `
  - { id: find, retrieve: { model: e, query: '\${inputs.question}', passages: '\${inputs.passages}', topK: 3 } }
  - { id: ask, generate: { model: m, prompt: 'of \${nodes.find.output[*].passage} \${nodes.find.output[0].score} $\${x}' } }
  - id: route
    switch:
      cases:
        - { condition: 'nodes.ask.output == "x" && inputs.count > 1', nodes: [${say('inner', '${nodes.ask.output}')}] }
      otherwise: [${say('other', 'a')}, ${say('last', '${nodes.other.output}')}]
  - id: both
    parallel: { nodes: [{ id: vec, embed: { model: e, input: '\${nodes.route.output}' } }, ${say('p', 'b')}] }
  - id: each
    map: { over: '\${inputs.passages}', nodes: [${say('one', '${item} is ${index} of ${inputs.question}')}] }
`;
  const outputs = `[{ name: a, value: '\${nodes.both.output.vec}' }, { name: b, value: '\${nodes.each.output[0]}' }]`;
  expect(problems(nodes, outputs)).toEqual([]);
});

test('reports every error at once, each with its path', () => {
  const nodes = `
  - ${say('twice', '${inputs.nothing}')}
  - ${say('twice', '${nodes.gone.output}')}
  - { id: bad, generate: { model: m, prompt: '\${oops}', jsonSchema: '{' } }
  - { id: vec, embed: { model: e, input: '\${inputs.count}' } }
  - id: route
    switch: { cases: [{ condition: 'inputs.question +', nodes: [${say('in', 'a')}] }] }
`;
  expect(problems(nodes, `[{ name: o, value: '\${nodes.in.output}' }, { name: o, value: x }]`)).toEqual([
    'nodes[2].generate.json_schema: is not JSON',
    'nodes[2].generate.prompt: ${oops} is no reference; expected ${inputs.NAME}, ${nodes.ID.output}, ${item} or ${index}',
    'nodes[4].switch.cases[0].condition: Unexpected token: EOF',
    'nodes[1].id: "twice" is the id of nodes[0] already; an id stands once in the whole graph',
    'outputs[1].name: "o" stands twice',
    'nodes[0].generate.prompt: ${inputs.nothing}: the graph has no such input',
    'nodes[1].generate.prompt: ${nodes.gone.output}: the graph has no such node',
    "outputs[0].value: ${nodes.in.output}: may not have run: it stands inside another node or runs at the same time (nodes[4].switch.cases[0].nodes[0]); refer to that node's output",
    'nodes[3].embed.input: is a number, where a string or a list of strings is expected',
  ]);
});

test('names each cycle, also one that goes through an inner node', () => {
  expect(
    problems(
      `[${say('a', '${nodes.b.output}')}, ${say('b', '${nodes.c.output}')}, ${say('c', '${nodes.a.output}')}]`,
    ),
  ).toEqual(['nodes[0]: a cycle: a → b → c → a']);
  expect(problems(`[${say('a', '${nodes.a.output}')}]`)).toEqual([
    'nodes[0].generate.prompt: ${nodes.a.output}: a cycle: a → a',
  ]);
  expect(
    problems(
      `[${say('a', '${nodes.p.output.x}')}, { id: p, parallel: { nodes: [${say('x', '${nodes.a.output}')}] } }]`,
    ),
  ).toEqual(['nodes[0]: a cycle: a → p → a']);
  expect(
    problems(`[{ id: p, map: { over: '\${inputs.passages}', nodes: [${say('x', '${nodes.p.output}')}] } }]`),
  ).toEqual([
    'nodes[0].map.nodes[0].generate.prompt: ${nodes.p.output}: a cycle: p → x → p; a node cannot wait for one that it stands in',
  ]);
});

test('refuses a reference to a node that may not have run', () => {
  const branches = `{ id: r, switch: { cases: [{ condition: 'true', nodes: [${say('a', 'x')}] }], otherwise: [${say('b', '${nodes.a.output}')}] } }`;
  expect(problems(`[${branches}]`)[0]).toMatch(
    /^nodes\[0\]\.switch\.otherwise\[0\]\.generate\.prompt: \$\{nodes\.a\.output\}: may not have run/,
  );
  const beside = `{ id: p, parallel: { nodes: [${say('a', 'x')}, ${say('b', '${nodes.a.output}')}] } }`;
  expect(problems(`[${beside}]`)[0]).toMatch(
    /^nodes\[0\]\.parallel\.nodes\[1\]\.generate\.prompt: .*may not have run/,
  );
  const condition = `{ id: r, switch: { cases: [{ condition: 'nodes.inner.output == "x"', nodes: [${say('inner', 'x')}] }] } }`;
  expect(problems(`[${condition}]`)[0]).toMatch(
    /^nodes\[0\]\.switch\.cases\[0\]\.condition: nodes\.inner: may not have run/,
  );
});

test('knows item and index inside a map only', () => {
  expect(problems(`[${say('a', '${item}')}]`)).toEqual([
    'nodes[0].generate.prompt: ${item}: item and index are known inside a map only',
  ]);
  expect(
    problems(`[{ id: r, switch: { cases: [{ condition: 'index > 0', nodes: [${say('a', 'x')}] }] } }]`),
  ).toEqual(['nodes[0].switch.cases[0].condition: item and index are known inside a map only']);
  expect(
    problems(
      `[{ id: r, switch: { cases: [{ condition: 'inputs.passages.exists(item, item == "x")', nodes: [${say('a', 'x')}] }] } }]`,
    ),
  ).toEqual([]);
});

test('reports type mismatches of references, steps, conditions, defaults and fallbacks', () => {
  const found = problems(`
  - ${say('text', 'x')}
  - { id: vec, embed: { model: e, input: x } }
  - { id: find, retrieve: { model: e, query: x, passages: '\${nodes.text.output}', topK: 1 } }
  - ${say('a', '${nodes.vec.output} inside text')}
  - ${say('b', '${nodes.find.output}')}
  - ${say('c', '${nodes.find.output[0].score} ${nodes.find.output[0].title} ${nodes.text.output.key} ${inputs.count[0]}')}
  - { id: each, map: { over: '\${inputs.question}', nodes: [${say('d', 'x')}] } }
  - { id: r, switch: { cases: [{ condition: 'inputs.question > 3', nodes: [${say('e', 'x')}] }, { condition: '"x"', nodes: [${say('f', 'x')}] }] } }
  - { id: fb, generate: { model: m, prompt: x }, fallback: { value: 3 } }
  - { id: nulls, retrieve: { model: e, query: x, passages: '\${inputs.passages}', topK: 1 }, fallback: { value: [] } }
`);
  expect(found).toEqual([
    'nodes[2].retrieve.passages: is a string, where a list of strings is expected',
    'nodes[3].generate.prompt: ${nodes.vec.output} is a vector, which has no form as text',
    'nodes[4].generate.prompt: is a list of objects, where a string is expected',
    'nodes[5].generate.prompt: ${nodes.find.output[0].title}: there is no .title; there is .index, .passage, .score',
    'nodes[5].generate.prompt: ${nodes.text.output.key}: a string has no keys, so no .key',
    'nodes[5].generate.prompt: ${inputs.count[0]}: a number is no list',
    'nodes[6].map.over: is a string, where a list is expected',
    'nodes[7].switch.cases[0].condition: no such overload: string > int',
    'nodes[7].switch.cases[1].condition: is string, where a condition is a bool',
    "nodes[8].fallback.value: is a number, where the node's output is a string",
  ]);
});

test('knows the keys that a JSON schema requires', () => {
  const schema =
    '{"type":"object","properties":{"kind":{"type":"string"},"size":{"type":"integer"}},"required":["kind","size"],"additionalProperties":false}';
  const node = `{ id: sort, generate: { model: m, prompt: x, jsonSchema: '${schema}' } }`;
  expect(problems(`[${node}, ${say('a', '${nodes.sort.output.kind}')}]`)).toEqual([]);
  expect(
    problems(`[${node}, ${say('a', '${nodes.sort.output.size}')}, ${say('b', '${nodes.sort.output.sort}')}]`),
  ).toEqual([
    'nodes[1].generate.prompt: is a number, where a string is expected',
    'nodes[2].generate.prompt: ${nodes.sort.output.sort}: there is no .sort; there is .kind, .size',
  ]);
  const broken = `{ id: sort, generate: { model: m, prompt: x, jsonSchema: '{"type":"strong"}' } }`;
  expect(problems(`[${broken}]`)[0]).toMatch(
    /^nodes\[0\]\.generate\.json_schema: is no JSON schema: schema\/type must be/,
  );
});

test('refuses retries and other models on nodes that call no model', () => {
  const node = `{ id: p, parallel: { nodes: [${say('a', 'x')}] }, retry: { attemptsMax: 2 }, fallback: { model: n } }`;
  expect(problems(`[${node}]`)).toEqual([
    'nodes[0].retry: belongs to a node that calls a model, not to a parallel',
    'nodes[0].fallback.model: belongs to a node that calls a model, not to a parallel',
  ]);
});

test('refuses more than 256 nodes in all and nodes more than 8 deep', () => {
  const many = Array.from(
    { length: 5 },
    (_, p) =>
      `{ id: p${p}, parallel: { nodes: [${Array.from({ length: 52 }, (_, n) => say(`n${p}x${n}`, 'x')).join()}] } }`,
  );
  expect(problems(`[${many.join()}]`)).toEqual([
    'nodes: 265 nodes in all, those inside others included; at most 256',
  ]);
  const deep = (levels: number): string =>
    levels === 0 ? say('leaf', 'x') : `{ id: l${levels}, parallel: { nodes: [${deep(levels - 1)}] } }`;
  expect(problems(`[${deep(7)}]`)).toEqual([]);
  expect(problems(`[${deep(8)}]`)[0]).toMatch(/nodes stand 9 deep in each other; at most 8$/);
});

test('validates the largest graph of conditions within a second', () => {
  const cases = Array.from(
    { length: 25 },
    (_, c) => `{ condition: 'inputs.question == "${c}"', nodes: [NODE${c}] }`,
  );
  const nodes = Array.from({ length: 9 }, (_, n) => {
    const filled = cases.map((one, c) => one.replace(`NODE${c}`, say(`n${n}x${c}`, 'x')));
    return `{ id: s${n}, switch: { cases: [${filled.join()}] } }`;
  });
  const largest = graph(
    `{ name: largest, inputs: [{ name: question, type: VALUE_TYPE_STRING }], nodes: [${nodes.join()}], outputs: [{ name: o, value: x }] }`,
  );
  const startedAt = performance.now();
  expect(validateGraph(largest).ok).toBe(true);
  expect(performance.now() - startedAt).toBeLessThan(1000);
});
