import { FinishReason } from '@gatehouse/contracts/inference';
import type { NodeEnded } from '@gatehouse/contracts/orchestration';
import { ErrorInfo, RetryInfo } from '@gatehouse/contracts/rpc-error-details';
import { Status } from '@gatehouse/contracts/rpc-status';
import { Metadata, type StatusObject, status } from '@grpc/grpc-js';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type Orchestration, startOrchestration, until } from '../test/orchestration-peer.ts';
import {
  forever,
  type GenerateScript,
  type ScriptedModels,
  startScriptedModels,
} from '../test/scripted-models.ts';

let models: ScriptedModels;
let orchestration: Orchestration;

beforeAll(async () => {
  models = await startScriptedModels();
  orchestration = await startOrchestration(models.address);
});
afterAll(async () => {
  await orchestration.close();
  models.close();
});
beforeEach(() => {
  models.reset({
    generate: {
      forever,
      deny: async () => denial,
      'deny-once-others-run': async () => {
        await until(() => models.calls.length >= 3);
        return denial;
      },
      invalid: async () => ({ code: status.INVALID_ARGUMENT, details: 'no' }),
      down: async (_, say) => {
        await say('half');
        return { code: status.UNAVAILABLE, details: 'away' };
      },
      'busy-first': firstThen(refusal(status.RESOURCE_EXHAUSTED, { retryDelayMs: 120 })),
      'aborted-twice': firstThen({ code: status.ABORTED, details: 'again' }, 2),
      'long-wait': async () => refusal(status.UNAVAILABLE, { retryDelayMs: 60_000 }),
      silent: async () => 'silent',
      cut: async (_, say) => {
        await say('{"a": ');
        return FinishReason.FINISH_REASON_LENGTH;
      },
      deep: async (_, say) => {
        await say('['.repeat(40) + ']'.repeat(40));
        return FinishReason.FINISH_REASON_STOP;
      },
      flood: async ({ signal }, say) => {
        while (!signal.aborted) await say('x'.repeat(200_000));
        return 'silent';
      },
    },
    embed: {
      deny: async () => denial,
      forever: async ({ signal }) => {
        await until(() => signal.aborted);
        return { code: status.CANCELLED };
      },
    },
  });
});

/** Fails the first calls, then answers `fine`. */
function firstThen(failure: Partial<StatusObject>, times = 1): GenerateScript {
  let failed = 0;
  return async (_, say) => {
    failed += 1;
    if (failed <= times) return failure;
    await say('fine');
    return FinishReason.FINISH_REASON_STOP;
  };
}

function refusal(code: status, { retryDelayMs = 0, reason = 'X', metadata = {} }): Partial<StatusObject> {
  const pack = (name: string, value: Uint8Array) => ({
    typeUrl: `type.googleapis.com/google.rpc.${name}`,
    value: Buffer.from(value),
  });
  const retryDelay = { seconds: BigInt(Math.floor(retryDelayMs / 1000)), nanos: (retryDelayMs % 1000) * 1e6 };
  const details = [
    pack('ErrorInfo', ErrorInfo.encode({ reason, domain: 'gatehouse.dev', metadata }).finish()),
    ...(retryDelayMs > 0 ? [pack('RetryInfo', RetryInfo.encode({ retryDelay }).finish())] : []),
  ];
  const trailers = new Metadata();
  trailers.set(
    'grpc-status-details-bin',
    Buffer.from(Status.encode({ code, message: 'refused', details }).finish()),
  );
  return { code, details: 'refused', metadata: trailers };
}

const denial = refusal(status.PERMISSION_DENIED, {
  reason: 'POLICY_DENIED',
  metadata: { rule: 'interns-small-models', decision: 'd1' },
});

const say = (id: string, model: string, more = ''): string =>
  `{ id: ${id}, generate: { model: ${model}, prompt: hello }${more === '' ? '' : `, ${more}`} }`;

function ends(nodes: readonly NodeEnded[]): string[] {
  return nodes.map(
    ({ path, attempts, fellBack, status: ended }) => `${path} ${ended?.code} ${attempts} ${fellBack}`,
  );
}

describe('a node that fails for good', () => {
  test("fails the graph with its path, the callee's reason and the rule that denied", async () => {
    const denied = await orchestration.refused(
      `[{ id: each, map: { over: '\${inputs.items}', concurrencyMax: 1, nodes: [{ id: p, parallel: { nodes: [${say('ask', 'deny')}] } }] } }]`,
      { inputs: { items: ['a'] } },
    );
    expect(denied).toMatchObject({
      code: status.PERMISSION_DENIED,
      message: 'Node each[0]/p/ask failed: refused',
      errorInfo: {
        reason: 'POLICY_DENIED',
        domain: 'gatehouse.dev',
        metadata: { node: 'each[0]/p/ask', rule: 'interns-small-models', decision: 'd1' },
      },
    });
  });

  test('cancels what runs beside it, as the callees see, and begins nothing more', async () => {
    const denied = await orchestration.refused(
      `[${say('a', 'forever')}, ${say('bad', 'deny-once-others-run')}, { id: e, embed: { model: forever, input: x } },
        { id: after, generate: { model: echo, prompt: '\${nodes.a.output}' } }]`,
    );
    expect(denied.errorInfo?.metadata).toMatchObject({ node: 'bad' });
    await until(() => models.cancelled() === 2);
    expect(models.calls.map(({ signal }) => signal.aborted).filter(Boolean)).toHaveLength(2);
    expect(models.calls).toHaveLength(3);
  });

  test('tells each end: the failure, and CANCELLED for what ran beside it', async () => {
    const told: string[] = [];
    const stream = orchestration.stream(
      `[{ id: p, parallel: { nodes: [${say('a', 'forever')}, ${say('b', 'forever')}, ${say('bad', 'deny-once-others-run')}] } }]`,
    );
    const reading = async (): Promise<void> => {
      for await (const { event } of stream)
        if (event?.$case === 'nodeEnded') told.push(...ends([event.value]));
    };
    await expect(reading()).rejects.toMatchObject({ code: status.PERMISSION_DENIED });
    expect(told.sort((a, b) => a.localeCompare(b))).toEqual([
      'p 7 0 false',
      'p/a 1 1 false',
      'p/b 1 1 false',
      'p/bad 7 1 false',
    ]);
  });

  test('a failing item stops a map: items that wait are never begun', async () => {
    const items = Array.from({ length: 20 }, (_, at) => `i${at}`);
    await orchestration.refused(
      `[{ id: each, map: { over: '\${inputs.items}', concurrencyMax: 2, nodes: [${say('one', 'deny')}] } }]`,
      { inputs: { items } },
    );
    expect(models.calls.length).toBeLessThanOrEqual(2);
  });
});

describe('retries', () => {
  test('wait as long as RetryInfo says, and tell which try a text belongs to', async () => {
    const startedAt = performance.now();
    const { nodes } = await orchestration.execute(
      `[${say('a', 'busy-first', 'retry: { attemptsMax: 2, backoff: 0.01s }')}]`,
    );
    expect(performance.now() - startedAt).toBeGreaterThanOrEqual(119);
    expect(ends(nodes)).toEqual(['a 0 2 false']);
    const tries: number[] = [];
    const stream = orchestration.stream(`[${say('a', 'down', 'retry: { attemptsMax: 3, backoff: 0.01s }')}]`);
    const reading = async (): Promise<void> => {
      for await (const { event } of stream) if (event?.$case === 'nodeDelta') tries.push(event.value.attempt);
    };
    await expect(reading()).rejects.toMatchObject({ code: status.UNAVAILABLE });
    expect(tries).toEqual([1, 2, 3]);
  });

  test('come after ABORTED, up to attemptsMax and no further', async () => {
    const { nodes } = await orchestration.execute(
      `[${say('a', 'aborted-twice', 'retry: { attemptsMax: 3, backoff: 0.01s }')}]`,
    );
    expect(ends(nodes)).toEqual(['a 0 3 false']);
    const failed = await orchestration.refused(
      `[${say('a', 'down', 'retry: { attemptsMax: 2, backoff: 0.01s }')}]`,
    );
    expect(failed.code).toBe(status.UNAVAILABLE);
    expect(models.calls).toHaveLength(3 + 2);
  });

  test.each(['deny', 'invalid', 'silent'])('never come after a final failure (%s)', async (model) => {
    await orchestration.refused(`[${say('a', model, 'retry: { attemptsMax: 5, backoff: 0.01s }')}]`);
    expect(models.calls).toHaveLength(1);
  });

  test('are given up at once when the wait would pass the deadline', async () => {
    const startedAt = performance.now();
    const failed = await orchestration.refused(
      `[${say('a', 'long-wait', 'retry: { attemptsMax: 5 }, deadline: 5s')}]`,
    );
    expect(failed).toMatchObject({ code: status.UNAVAILABLE, retryDelayMs: 60_000 });
    expect(performance.now() - startedAt).toBeLessThan(2000);
    expect(models.calls).toHaveLength(1);
  });
});

describe('fallbacks', () => {
  test('a value stands in for the output, and the end says why', async () => {
    const { outputs, nodes } = await orchestration.execute(
      `[${say('a', 'deny', 'fallback: { value: nothing }')}, { id: e, embed: { model: deny, input: x }, fallback: { value: [1, 2] } }]`,
      { outputs: { a: '${nodes.a.output}', e: '${nodes.e.output}' } },
    );
    expect(outputs).toEqual({ a: 'nothing', e: [1, 2] });
    expect(ends(nodes).sort((a, b) => a.localeCompare(b))).toEqual(['a 7 1 true', 'e 7 1 true']);
  });

  test('another model is asked after the retries of the first, as a further try', async () => {
    const { outputs, nodes } = await orchestration.execute(
      `[${say('a', 'down', 'retry: { attemptsMax: 2, backoff: 0.01s }, fallback: { model: echo }')}]`,
      { outputs: { a: '${nodes.a.output}' } },
    );
    expect(outputs).toEqual({ a: 'hello' });
    expect(ends(nodes)).toEqual(['a 14 3 true']);
    expect(models.calls.map(({ model }) => model)).toEqual(['down', 'down', 'echo']);
  });

  test('of a node with nodes inside stands in for all of them', async () => {
    const { outputs } = await orchestration.execute(
      `[{ id: p, parallel: { nodes: [${say('a', 'deny')}] }, fallback: { value: { a: none } } }]`,
      { outputs: { a: '${nodes.p.output.a}' } },
    );
    expect(outputs).toEqual({ a: 'none' });
  });
});

describe('deadlines of nodes', () => {
  test('reach the callee, cancel it, and name the node', async () => {
    const startedAt = Date.now();
    const late = await orchestration.refused(`[${say('a', 'forever', 'deadline: 0.2s')}]`, {
      call: { deadline: startedAt + 20_000 },
    });
    expect(late).toMatchObject({
      code: status.DEADLINE_EXCEEDED,
      errorInfo: { reason: 'NODE_DEADLINE_EXCEEDED', metadata: { node: 'a' } },
    });
    await until(() => models.cancelled() === 1);
    expect((models.calls[0]?.deadline ?? Infinity) - startedAt).toBeLessThan(2000);
  });

  test('of a node with nodes inside hold for all of them, and a fallback may follow', async () => {
    const { outputs } = await orchestration.execute(
      `[{ id: p, deadline: 0.2s, parallel: { nodes: [${say('a', 'forever')}, ${say('b', 'forever')}] }, fallback: { value: { a: late, b: late } } }]`,
      { outputs: { a: '${nodes.p.output.a}' } },
    );
    expect(outputs).toEqual({ a: 'late' });
    await until(() => models.cancelled() === 2);
    expect(models.calls).toHaveLength(2);
  });
});

describe('answers that cannot be used', () => {
  const schema = `jsonSchema: '{"type":"object"}'`;
  const ask = (model: string): string =>
    `[{ id: a, generate: { model: ${model}, prompt: hello, ${schema} } }]`;

  test.each([
    ['echo', status.FAILED_PRECONDITION, 'OUTPUT_NOT_JSON'],
    ['cut', status.FAILED_PRECONDITION, 'OUTPUT_CUT'],
    ['deep', status.FAILED_PRECONDITION, 'VALUE_UNFIT'],
    ['silent', status.INTERNAL, 'ANSWER_BROKEN'],
    ['flood', status.RESOURCE_EXHAUSTED, 'EXECUTION_LIMIT'],
  ])('from %s end with code %d and %s', async (model, code, reason) => {
    expect(await orchestration.refused(ask(model))).toMatchObject({
      code,
      errorInfo: { reason, metadata: { node: 'a' } },
    });
  });

  test('an answer over the limit is cancelled', async () => {
    await orchestration.refused(ask('flood'));
    await until(() => models.cancelled() === 1);
    expect(models.calls[0]?.signal.aborted).toBe(true);
  });
});

describe('limits', () => {
  test('a map over more than 1024 items, and conditions that take too long', async () => {
    const items = Array.from({ length: 1025 }, () => 'x');
    const map = `[{ id: each, map: { over: '\${inputs.items}', nodes: [${say('one', 'echo')}] } }]`;
    expect(await orchestration.refused(map, { inputs: { items } })).toMatchObject({
      code: status.RESOURCE_EXHAUSTED,
      errorInfo: { reason: 'EXECUTION_LIMIT', metadata: { limit: 'mapItemsMax', max: '1024', node: 'each' } },
    });
    const evil = `[{ id: s, switch: { cases: [{ condition: 'inputs.items.all(a, inputs.items.all(b, inputs.items.all(c, a == c)))', nodes: [${say('one', 'echo')}] }] } }]`;
    expect(await orchestration.refused(evil, { inputs: { items } })).toMatchObject({
      code: status.RESOURCE_EXHAUSTED,
      errorInfo: { metadata: { limit: 'conditionsMsMax', node: 's' } },
    });
    expect(models.calls).toEqual([]);
  });

  test('plain conditions do not use the time up: four on each of 1024 items', async () => {
    const items = Array.from({ length: 1024 }, (_, at) => at);
    const cases = [1, 2, 3, 4].map(
      (n) => `{ condition: 'item == -${n}', nodes: [${say(`never${n}`, 'echo')}] }`,
    );
    const { outputs } = await orchestration.execute(
      `[{ id: each, map: { over: '\${inputs.items}', nodes: [{ id: s, switch: { cases: [${cases.join()}] } }] } }]`,
      { inputs: { items }, outputs: { all: '${nodes.each.output}' } },
    );
    expect(outputs['all']).toEqual(items.map(() => null));
  });

  test('a condition that cannot be evaluated fails its node', async () => {
    const node = `[{ id: s, switch: { cases: [{ condition: 'inputs.o.gone == 1', nodes: [${say('one', 'echo')}] }] } }]`;
    expect(await orchestration.refused(node, { inputs: { o: {} } })).toMatchObject({
      code: status.FAILED_PRECONDITION,
      errorInfo: { reason: 'CONDITION_FAILED', metadata: { node: 's' } },
    });
  });

  test('the nodes that run are counted, those of every item too', async () => {
    const items = Array.from({ length: 100 }, () => 'x');
    const inner = `{ id: in, map: { over: '\${inputs.items}', concurrencyMax: 16, nodes: [{ id: s, switch: { cases: [{ condition: 'false', nodes: [${say('never', 'echo')}] }] } }] } }`;
    const outer = `[{ id: out, map: { over: '\${inputs.items}', concurrencyMax: 16, nodes: [${inner}] } }]`;
    expect(await orchestration.refused(outer, { inputs: { items } })).toMatchObject({
      errorInfo: { reason: 'EXECUTION_LIMIT' },
    });
  });
});
