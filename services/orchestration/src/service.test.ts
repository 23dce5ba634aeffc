import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { FinishReason } from '@gatehouse/contracts/inference';
import type { GetGraphResponse, ListGraphsResponse } from '@gatehouse/contracts/orchestration';
import { Metadata, status } from '@grpc/grpc-js';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type Orchestration, requestFor, startOrchestration, until } from '../test/orchestration-peer.ts';
import { forever, type ScriptedModels, type SeenCall, startScriptedModels } from '../test/scripted-models.ts';

let models: ScriptedModels;
let orchestration: Orchestration;
/** Resolves the meeting of calls to the model `meet`: each waits until as many are under way as its prompt says. */
let meeting: SeenCall[] = [];
let meetingMax = 0;

beforeAll(async () => {
  models = await startScriptedModels();
  orchestration = await startOrchestration(models.address);
});
afterAll(async () => {
  await orchestration.close();
  models.close();
});
beforeEach(() => {
  meeting = [];
  meetingMax = 0;
  models.reset({ generate: { forever, meet } });
});

async function meet(call: SeenCall, say: (text: string) => Promise<void>): Promise<FinishReason> {
  const wanted = Number(call.texts[0]);
  meeting.push(call);
  meetingMax = Math.max(meetingMax, meeting.length);
  await until(() => meeting.length >= wanted || call.signal.aborted || meetingMax >= wanted);
  meeting = meeting.filter((other) => other !== call);
  await say(`met ${wanted}`);
  return FinishReason.FINISH_REASON_STOP;
}

const say = (id: string, prompt: string, model = 'echo'): string =>
  `{ id: ${id}, generate: { model: ${model}, prompt: '${prompt}' } }`;

describe('values', () => {
  test('pass along edges with their types, and become text inside text', async () => {
    const schema = '{"type":"object","properties":{"n":{"type":"number"}},"required":["n"]}';
    const { outputs, usage } = await orchestration.execute(
      `[${say('second', 'got ${nodes.first.output.n} of ${inputs.list} and ${inputs.list[*].k}')},
        { id: first, generate: { model: echo, prompt: '{"n": 4}', jsonSchema: '${schema}' } }]`,
      {
        inputs: { list: [{ k: 'a' }, { k: 'b' }] },
        outputs: { text: '${nodes.second.output}', value: '${nodes.first.output}', literal: '$${x}' },
      },
    );
    expect(outputs).toEqual({
      text: 'got 4 of [1] {"k":"a"}\n[2] {"k":"b"} and [1] a\n[2] b',
      value: { n: 4 },
      literal: '${x}',
    });
    expect(usage).toEqual({ inputTokens: 14, outputTokens: 2 + 12 });
  });

  test('embed gives a vector for a text and vectors for texts, and retrieve the nearest passages in one call', async () => {
    const { outputs } = await orchestration.execute(
      `[{ id: one, embed: { model: e, input: 'ab' } },
        { id: many, embed: { model: e, input: '\${inputs.passages}' } },
        { id: find, retrieve: { model: e, query: 'aab', passages: '\${inputs.passages}', topK: 2 } }]`,
      {
        inputs: { passages: ['zzz', 'ab', 'aab', 'ba'] },
        outputs: { one: '${nodes.one.output}', many: '${nodes.many.output}', find: '${nodes.find.output}' },
      },
    );
    const vector = outputs['one'] as number[];
    expect(vector.slice(0, 3)).toEqual([1, 1, 0]);
    expect((outputs['many'] as number[][]).map(({ length }) => length)).toEqual([26, 26, 26, 26]);
    expect(outputs['find']).toEqual([
      { index: 2, passage: 'aab', score: 1 },
      { index: 1, passage: 'ab', score: expect.closeTo(0.9487, 3) as number },
    ]);
    expect(models.calls.map(({ texts }) => texts.length).sort((a, b) => a - b)).toEqual([1, 4, 5]);
  });

  test('a value that is not there fails the node with its path', async () => {
    const refusal = await orchestration.refused(`[${say('a', '${inputs.o.gone}')}]`, {
      inputs: { o: { k: 1 } },
    });
    expect(refusal).toMatchObject({
      code: status.FAILED_PRECONDITION,
      errorInfo: { reason: 'VALUE_UNFIT', metadata: { node: 'a' } },
    });
    expect(models.calls).toEqual([]);
  });

  test('inputs that do not fit are refused together, each by name', async () => {
    const { source } = requestFor(`[${say('a', 'x')}]`, { inputs: { text: 'x', list: [], more: {} } });
    const refusal = await orchestration.refusedRequest({
      source,
      inputs: { text: 5, list: ['fits'], other: 1 },
    });
    expect(refusal).toMatchObject({
      code: status.INVALID_ARGUMENT,
      badRequest: [
        { field: 'inputs["other"]', description: 'the graph has no such input' },
        { field: 'inputs["text"]', description: 'is a number, where a string is expected' },
        { field: 'inputs["more"]', description: 'is missing; expected an object' },
      ],
    });
  });

  test('an inline graph that is not valid is refused with every violation', async () => {
    const refusal = await orchestration.refused(
      `[${say('a', '${inputs.gone}')}, ${say('b', '${nodes.b.output}')}]`,
    );
    expect(refusal.code).toBe(status.INVALID_ARGUMENT);
    expect(refusal.badRequest?.map(({ field }) => field)).toEqual([
      'inline.nodes[0].generate.prompt',
      'inline.nodes[1].generate.prompt',
    ]);
  });
});

describe('order', () => {
  test('independent nodes run at the same time, dependent ones one after the other', async () => {
    const { nodes } = await orchestration.execute(
      `[${say('last', '${nodes.a.output} ${nodes.b.output}')}, ${say('a', '2', 'meet')}, ${say('b', '2', 'meet')}]`,
    );
    expect(meetingMax).toBe(2);
    expect(nodes.at(-1)?.path).toBe('last');
    expect(models.calls.at(-1)?.texts).toEqual(['met 2 met 2']);
  });

  test('the nodes of a parallel node run at the same time and give an object', async () => {
    const { outputs } = await orchestration.execute(
      `[{ id: p, parallel: { nodes: [${say('a', '3', 'meet')}, ${say('b', '3', 'meet')}, ${say('c', '3', 'meet')}] } }]`,
      { outputs: { all: '${nodes.p.output}' } },
    );
    expect(outputs['all']).toEqual({ a: 'met 3', b: 'met 3', c: 'met 3' });
  });

  test('a map keeps the order of the items and never runs more than concurrencyMax at a time', async () => {
    const { outputs, nodes } = await orchestration.execute(
      `[{ id: each, map: { over: '\${inputs.items}', concurrencyMax: 3, nodes: [
          ${say('hold', '3', 'meet')}, ${say('one', '${item} at ${index} ${nodes.hold.output}')}] } }]`,
      { inputs: { items: ['a', 'b', 'c', 'd', 'e', 'f', 'g'] }, outputs: { all: '${nodes.each.output}' } },
    );
    expect(outputs['all']).toEqual(
      ['a', 'b', 'c', 'd', 'e', 'f', 'g'].map((item, at) => `${item} at ${at} met 3`),
    );
    expect(meetingMax).toBe(3);
    expect(nodes.map(({ path }) => path)).toContain('each[6]/one');
  });

  test('a switch runs the first case that holds and nothing else', async () => {
    const nodes = (word: string): string => `[${say('a', word)}, { id: route, switch: {
      cases: [{ condition: 'nodes.a.output == "one"', nodes: [${say('first', '1st')}] },
              { condition: 'nodes.a.output.startsWith("t")', nodes: [${say('prep', 'x')}, ${say('second', '${nodes.prep.output} 2nd')}] }],
      otherwise: [${say('third', '3rd')}] } }]`;
    const options = { outputs: { out: '${nodes.route.output}' } };
    expect((await orchestration.execute(nodes('one'), options)).outputs).toEqual({ out: '1st' });
    expect((await orchestration.execute(nodes('two'), options)).outputs).toEqual({ out: 'x 2nd' });
    const last = await orchestration.execute(nodes('none'), options);
    expect(last.outputs).toEqual({ out: '3rd' });
    expect(last.nodes.map(({ path }) => path)).toEqual(['a', 'route/third', 'route']);
  });

  test('at most 16 calls of an execution are under way at the same time', async () => {
    const nodes = Array.from({ length: 20 }, (_, at) => say(`n${at}`, '16', 'meet'));
    await orchestration.execute(`[${nodes.join()}]`);
    expect(meetingMax).toBe(16);
  });
});

describe('events', () => {
  test('tell starts, pieces of text with the tokens so far, ends, and the outputs last', async () => {
    const events: unknown[] = [];
    for await (const { event } of orchestration.stream(
      `[{ id: p, parallel: { nodes: [${say('a', 'one two')}] } }, ${say('b', '${nodes.p.output.a} three')}]`,
      { outputs: { out: '${nodes.b.output}' } },
    )) {
      if (event?.$case === 'nodeEnded')
        events.push(`end ${event.value.path} ${event.value.status?.code} ${event.value.attempts}`);
      else if (event?.$case === 'completed')
        events.push(event.value.outputs, event.value.usage, event.value.nodes.length);
      else events.push(Object.values(event?.value ?? {}).join(' | '));
    }
    expect(events).toEqual([
      'p | parallel',
      'p/a | generate',
      'p/a | one | 1 | 1',
      'p/a |  two | 2 | 1',
      'end p/a 0 1',
      'end p 0 0',
      'b | generate',
      'b | one | 3 | 1',
      'b |  two | 4 | 1',
      'b |  three | 5 | 1',
      'end b 0 1',
      { out: 'one two three' },
      { inputTokens: 14, outputTokens: 5 },
      3,
    ]);
  });
});

describe('forwarding', () => {
  test("children get the caller's authorization and trace, the upstream's name, and what is left of the deadline", async () => {
    const metadata = new Metadata();
    metadata.set('authorization', 'Bearer abc');
    metadata.set('traceparent', '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01');
    metadata.set('x-other', 'stays here');
    const deadline = Date.now() + 9000;
    await orchestration.execute(
      `[{ id: g, generate: { model: echo, system: be short, prompt: hi, maxTokens: 9, temperature: 0.5, seed: 3 } }, { id: e, embed: { model: e, input: x } }]`,
      { metadata, call: { deadline } },
    );
    const [generation, embedding] = [...models.calls].sort((a, b) => b.authority.localeCompare(a.authority));
    expect([generation?.authority, embedding?.authority]).toEqual(['inference', 'embeddings']);
    for (const call of models.calls) {
      expect(call.metadata.get('authorization')).toEqual(['Bearer abc']);
      expect(call.metadata.get('traceparent')).toEqual([
        '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
      ]);
      expect(call.metadata.get('x-other')).toEqual([]);
      expect(Math.abs(call.deadline - deadline)).toBeLessThan(100);
    }
    expect(generation).toMatchObject({
      system: 'be short',
      request: { maxTokens: 9, temperature: 0.5, seed: 3 },
    });
  });
});

describe('ending early', () => {
  test('a caller that cancels cancels every call of a model', async () => {
    const call = orchestration.stream(`[${say('a', 'x', 'forever')}, ${say('b', 'x', 'forever')}]`);
    await until(() => models.calls.length === 2);
    const ended = once(call as never, 'error');
    call.cancel();
    await ended;
    await until(() => models.cancelled() === 2);
    expect(models.calls.every(({ signal }) => signal.aborted)).toBe(true);
  });

  test("the call's deadline ends every call of a model", async () => {
    const refusal = await orchestration.refused(`[${say('a', 'x', 'forever')}]`, {
      call: { deadline: Date.now() + 150 },
    });
    expect(refusal.code).toBe(status.DEADLINE_EXCEEDED);
    await until(() => models.cancelled() === 1);
  });
});

describe('the graphs of the server', () => {
  const names = ['answer-from-passages', 'classify-then-route'];
  let shipped: Orchestration;
  beforeAll(async () => {
    const files = names.map((name) => `${name}.yaml`);
    const texts = files.map((file) => readFileSync(new URL(`../graphs/${file}`, import.meta.url), 'utf8'));
    shipped = await startOrchestration(
      models.address,
      new Map(files.map((file, at) => [file, texts[at] ?? ''])),
    );
  });
  afterAll(() => shipped.close());

  test('are listed with what they take and give', async () => {
    const listed = await new Promise<ListGraphsResponse>((resolve, reject) => {
      shipped.client.listGraphs({}, (error, response) => (error ? reject(error) : resolve(response)));
    });
    expect(
      listed.graphs.map(({ name, inputs, outputs }) => [name, inputs.map((input) => input.name), outputs]),
    ).toEqual([
      ['answer-from-passages', ['question', 'passages'], ['answer', 'citations', 'found']],
      ['classify-then-route', ['text', 'categories'], ['category', 'categoryIndex', 'reply', 'scores']],
    ]);
  });

  test('are given whole, and keep every rule of the contract when they are sent back inline', async () => {
    for (const name of names) {
      const { graph } = await new Promise<GetGraphResponse>((resolve, reject) => {
        shipped.client.getGraph({ name }, (error, response) => (error ? reject(error) : resolve(response)));
      });
      if (!graph) throw new Error('no graph came');
      const refusal = await orchestration.refusedRequest({
        source: { $case: 'inline', value: graph },
        inputs: {},
      });
      expect(refusal.badRequest?.every(({ description }) => description.startsWith('is missing'))).toBe(true);
    }
  });

  test('a name that the server does not have is NOT_FOUND', async () => {
    const refusal = await orchestration.refusedRequest({
      source: { $case: 'graph', value: 'gone' },
      inputs: {},
    });
    expect(refusal).toMatchObject({
      code: status.NOT_FOUND,
      errorInfo: { reason: 'GRAPH_NOT_FOUND', metadata: { graph: 'gone' } },
    });
  });

  test('a question that no passage is about gets no answer, and no model is asked', async () => {
    const request = { question: 'aaa', passages: ['zzz'] };
    const { outputs } = await shipped.executeRequest({
      source: { $case: 'graph', value: 'answer-from-passages' },
      inputs: request,
    });
    expect(outputs).toMatchObject({ answer: null, citations: [] });
    expect(models.calls.map(({ authority }) => authority)).toEqual(['embeddings']);
  });

  test('a message is answered by the branch of the nearest category', async () => {
    const inputs = { text: 'ccc', categories: ['aaa', 'bbb', 'ccc', 'ddd'] };
    const { outputs, nodes } = await shipped.executeRequest({
      source: { $case: 'graph', value: 'classify-then-route' },
      inputs,
    });
    expect(outputs).toMatchObject({ category: 'ccc', categoryIndex: 2 });
    expect(nodes.map(({ path }) => path)).toEqual(['sort', 'reply/shipping', 'reply']);
  });
});
