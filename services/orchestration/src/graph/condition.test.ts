import { expect, test } from 'vitest';
import { type Condition, type ConditionScope, evaluateCondition, parseCondition } from './condition.ts';

function condition(source: string): Condition {
  const parsed = parseCondition(source);
  if (!parsed.ok) throw new Error(parsed.error);
  return parsed.value;
}

const scope: ConditionScope = {
  inputs: { count: 2, name: 'x', list: [1, 'two'] },
  nodes: { sort: { output: { kind: 'bill', sure: true } } },
};

test.each([
  ['inputs.count == 2', true],
  ['inputs.count > 1 && inputs.name == "x"', true],
  ['nodes.sort.output.kind == "bill"', true],
  ['nodes["sort"].output.sure', true],
  ['"two" in inputs.list', true],
  ['inputs.name', false],
  ['1', false],
  ['"true"', false],
  ['null', false],
])('%s holds: %s', (source, holds) => {
  expect(evaluateCondition(condition(source), scope, 1000)).toMatchObject({ kind: 'answered', holds });
});

test('a missing key is an error and says nothing of the values', () => {
  expect(evaluateCondition(condition('nodes.sort.output.gone == 1'), scope, 1000)).toMatchObject({
    kind: 'error',
    error: 'No such key: gone',
  });
});

test('stops a regular expression and a nested loop that would take for ever', () => {
  const list = Array.from({ length: 10_000 }, (_, at) => at);
  const evil = condition('"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab".matches("(a+)+$")');
  const nested = condition('inputs.list.all(a, inputs.list.all(b, inputs.list.all(c, a + b + c < 99999)))');
  const startedAt = performance.now();
  expect(evaluateCondition(evil, scope, 20)).toMatchObject({ kind: 'late' });
  expect(evaluateCondition(nested, { inputs: { list }, nodes: {} }, 20)).toMatchObject({ kind: 'late' });
  expect(performance.now() - startedAt).toBeLessThan(5000);
  expect(evaluateCondition(condition('true'), scope, 1000)).toMatchObject({ kind: 'answered', holds: true });
});

test('finds what an expression refers to, and not what a macro binds under the same name', () => {
  const { nodes, inputs, item } = condition(
    'inputs.a.exists(item, item == nodes.b.output) && inputs["c"].all(nodes, nodes.x)',
  );
  expect({ nodes: [...nodes], inputs: [...inputs], item }).toEqual({
    nodes: ['b'],
    inputs: ['a', 'c'],
    item: false,
  });
});

test.each(['nodes[inputs.x].output == 1', 'size(nodes) > 1', 'inputs == inputs'])(
  'refuses %s, whose edges are unknown',
  (source) => {
    expect(parseCondition(source)).toMatchObject({
      ok: false,
      error: expect.stringMatching(/^takes (nodes|inputs) whole/),
    });
  },
);

test('refuses an expression of more than 512 parts', () => {
  expect(parseCondition(Array.from({ length: 300 }, () => 'true').join(' && ')).ok).toBe(false);
});
