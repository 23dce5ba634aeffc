import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { BinaryWriter } from '@bufbuild/protobuf/wire';
import { loadContract, numberText, type TextLeaf, type TextPlan, TextWalker } from '@gatehouse/contracts';
import { Sensitivity } from '@gatehouse/contracts/annotations';
import { Any } from '@gatehouse/contracts/any';
import { GenerateRequest } from '@gatehouse/contracts/inference';
import { ExecuteRequest, type Node, StreamExecuteResponse } from '@gatehouse/contracts/orchestration';
import { ErrorInfo } from '@gatehouse/contracts/rpc-error-details';
import { Status } from '@gatehouse/contracts/rpc-status';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

const loaded = loadContract({
  descriptorSet: readFileSync(fileURLToPath(import.meta.resolve('@gatehouse/contracts/descriptors.binpb'))),
});
if ('problems' in loaded) throw new Error(loaded.problems.join('\n'));
const { contract } = loaded;
const walker = new TextWalker(contract.textPlans);
const generatePlan = contract.methods.get('/gatehouse.inference.v1.InferenceService/Generate')
  ?.requestText as TextPlan;
const executePlan = contract.methods.get('/gatehouse.orchestration.v1.OrchestrationService/Execute')
  ?.requestText as TextPlan;
const eventPlan = contract.methods.get('/gatehouse.orchestration.v1.OrchestrationService/StreamExecute')
  ?.responseText as TextPlan;
const statusPlan = contract.textPlans.named('google.rpc.Status', 0) as TextPlan;

function textOf(leaf: TextLeaf, buffer: Buffer): string {
  return leaf.step.kind === 'number'
    ? numberText(leaf.step.scalar, leaf)
    : buffer.toString('utf8', leaf.start, leaf.end);
}

function textsIn(plan: TextPlan, buffer: Buffer): string[] {
  if (!walker.walk(plan, buffer, 0, buffer.length)) throw new Error(walker.fault);
  return walker.leaves
    .filter(({ step }) => step.kind === 'text' || step.kind === 'number' || step.kind === 'bytes')
    .map((leaf) => textOf(leaf, buffer));
}

/** All texts of a decoded message, and numbers of google.protobuf.Value, which ts-proto gives as they are. */
function textsOf(decoded: unknown): string[] {
  if (typeof decoded === 'string') return decoded === '' ? [] : [decoded];
  if (typeof decoded !== 'object' || decoded === null || Buffer.isBuffer(decoded)) return [];
  return Object.entries(decoded).flatMap(([key, value]) => [
    ...(key === '$case' || isFieldName(key) ? [] : key === '' ? [] : [key]),
    ...(key === '$case' ? [] : textsOf(value)),
  ]);
}

/** Keys of maps begin with a sign in these tests. */
function isFieldName(key: string): boolean {
  return /^[a-z][A-Za-z_0-9]*$|^\d+$/.test(key);
}

const text = fc.string({ unit: 'binary', maxLength: 12 });
const key = text.map((end) => `$${end}`);
const json = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 3 },
    text,
    fc.boolean(),
    fc.constant(null),
    fc.array(tie('value'), { maxLength: 3 }),
    fc.dictionary(key, tie('value'), { maxKeys: 3 }),
  ),
})).value;

const nodes = fc.letrec<{ node: Node }>((tie) => ({
  node: fc.record({
    id: text,
    kind: fc.oneof(
      { maxDepth: 2 },
      fc.record({
        $case: fc.constant('generate' as const),
        value: fc.record({
          model: text,
          system: text,
          prompt: text,
          maxTokens: fc.option(fc.nat(), { nil: undefined }),
          jsonSchema: text,
          stop: fc.array(text, { maxLength: 3 }),
        }),
      }),
      fc.record({
        $case: fc.constant('parallel' as const),
        value: fc.record({ nodes: fc.array(tie('node'), { maxLength: 3 }) }),
      }),
      fc.record({
        $case: fc.constant('switch' as const),
        value: fc.record({
          cases: fc.array(fc.record({ condition: text, nodes: fc.array(tie('node'), { maxLength: 2 }) }), {
            maxLength: 2,
          }),
          otherwise: fc.array(tie('node'), { maxLength: 2 }),
        }),
      }),
    ),
    fallback: fc.option(
      fc.record({ with: fc.record({ $case: fc.constant('value' as const), value: json }) }),
      {
        nil: undefined,
      },
    ),
  }) as fc.Arbitrary<Node>,
})).node;

const request: fc.Arbitrary<ExecuteRequest> = fc.record({
  source: fc.record({
    $case: fc.constant('inline' as const),
    value: fc.record({
      name: text,
      description: text,
      inputs: fc.array(fc.record({ name: text, type: fc.nat(6), description: text, default: json }), {
        maxLength: 2,
      }),
      nodes: fc.array(nodes, { maxLength: 3 }),
      outputs: fc.array(fc.record({ name: text, value: text }), { maxLength: 2 }),
    }),
  }),
  inputs: fc.dictionary(key, json, { maxKeys: 3 }),
}) as unknown as fc.Arbitrary<ExecuteRequest>;

const SEED = 20_261_122;

describe('a walk through a message', () => {
  test(`finds every text in it, however deep (seed ${SEED})`, () => {
    fc.assert(
      fc.property(request, (message) => {
        const encoded = Buffer.from(ExecuteRequest.encode(message).finish());
        expect(textsIn(executePlan, encoded).toSorted()).toEqual(
          textsOf(ExecuteRequest.decode(encoded))
            .filter((found) => found !== '')
            .toSorted(),
        );
      }),
      { seed: SEED, numRuns: 300 },
    );
  });

  test(`finds every text that ts-proto reads out of damaged bytes, or refuses them (seed ${SEED})`, () => {
    let refused = 0;
    fc.assert(
      fc.property(
        request,
        fc.array(fc.tuple(fc.nat(), fc.nat(255), fc.nat(2)), { minLength: 1, maxLength: 4 }),
        (message, damages) => {
          const bytes = [...ExecuteRequest.encode(message).finish()];
          for (const [at, byte, kind] of damages)
            bytes.splice(at % (bytes.length + 1), kind === 0 ? 1 : kind - 1, byte);
          const encoded = Buffer.from(bytes);
          if (!walker.walk(executePlan, encoded, 0, encoded.length)) {
            refused += 1;
            return;
          }
          const found = new Set(textsIn(executePlan, encoded));
          for (const read of textsOf(decodeOrNothing(encoded))) expect(found).toContain(read);
        },
      ),
      { seed: SEED, numRuns: 700 },
    );
    expect(refused).toBeGreaterThan(100);
  });

  test('says of each text how sensitive it and all around it are', () => {
    const encoded = Buffer.from(
      GenerateRequest.encode(
        GenerateRequest.fromPartial({ model: 'm', input: { $case: 'prompt', value: 'p' } }),
      ).finish(),
    );
    walker.walk(generatePlan, encoded, 0, encoded.length);
    const bits = walker.leaves.map(({ step }) => ('bits' in step ? [step.name, step.bits] : []));
    expect(bits).toEqual([
      ['model', 1 << Sensitivity.SENSITIVITY_METADATA],
      ['prompt', 1 << Sensitivity.SENSITIVITY_PROMPT],
    ]);
  });

  test('knows fields by their path, and entries of maps by their place', () => {
    const encoded = Buffer.from(
      ExecuteRequest.encode(
        ExecuteRequest.fromPartial({ inputs: { first: 'x', second: ['y', { deep: 'z' }] } }),
      ).finish(),
    );
    walker.walk(executePlan, encoded, 0, encoded.length);
    const paths = walker.leaves.map((leaf) => `${walker.pathOf(leaf)}=${textOf(leaf, encoded)}`);
    expect(paths).toEqual([
      'inputs[0].key=first',
      'inputs[0].value.string_value=x',
      'inputs[1].key=second',
      'inputs[1].value.list_value.values[0].string_value=y',
      'inputs[1].value.list_value.values[1].struct_value.fields[0].key=deep',
      'inputs[1].value.list_value.values[1].struct_value.fields[0].value.string_value=z',
    ]);
  });

  test('tells keys, pieces and counts of a stream', () => {
    const encoded = Buffer.from(
      StreamExecuteResponse.encode(
        StreamExecuteResponse.fromPartial({
          event: { $case: 'nodeDelta', value: { path: 'ask', text: 'x', outputTokens: 300, attempt: 2 } },
        }),
      ).finish(),
    );
    walker.walk(eventPlan, encoded, 0, encoded.length);
    expect(
      walker.leaves.map(({ step, low }) => [step.kind, step.kind === 'text' ? step.role : low, step.name]),
    ).toEqual([
      ['text', 'key', 'path'],
      ['text', 'delta', 'text'],
      ['usage', 300, 'output_tokens'],
      ['key', 2, 'attempt'],
    ]);
  });

  test('goes into Any where its type is known, and gives the rest as bytes', () => {
    const known = {
      typeUrl: 'type.googleapis.com/google.rpc.ErrorInfo',
      value: ErrorInfo.encode({ reason: 'R', domain: 'd', metadata: { k: 'v' } }).finish(),
    };
    const unknown = { typeUrl: 'type.googleapis.com/no.Such', value: Buffer.from('opaque') };
    const details = [known, unknown].map(({ typeUrl, value }) =>
      Any.fromPartial({ typeUrl, value: Buffer.from(value) }),
    );
    const encoded = Buffer.from(Status.encode({ code: 3, message: 'm', details }).finish());
    expect(textsIn(statusPlan, encoded)).toEqual([
      'm',
      known.typeUrl,
      'R',
      'd',
      'k',
      'v',
      unknown.typeUrl,
      'opaque',
    ]);
    expect(walker.pathOf(walker.leaves[5] as TextLeaf)).toBe('details[0].value.metadata[0].value');
  });

  test.each<[string, (writer: BinaryWriter) => BinaryWriter]>([
    ['a text with the wire type of a number', (writer) => writer.tag(3, 0).int32(5)],
    ['a field that is longer than its message', (writer) => writer.tag(3, 2).uint32(5)],
    ['a message that ends inside a tag', (writer) => writer.raw(Buffer.from([0x80]))],
    ['two values in one Any', (writer) => writer.tag(15, 3)],
  ])('refuses %s', (_, write) => {
    const encoded = Buffer.from(write(new BinaryWriter()).finish());
    expect(walker.walk(generatePlan, encoded, 0, encoded.length)).toBe(false);
    expect(walker.fault).not.toBe('');
  });

  test('refuses more texts than it has room for', () => {
    const writer = new BinaryWriter();
    for (let i = 0; i < 270_000; i++) writer.tag(8, 2).string('x');
    const encoded = Buffer.from(writer.finish());
    expect(walker.walk(generatePlan, encoded, 0, encoded.length)).toBe(false);
    expect(walker.fault).toContain('262144');
  });
});

describe('writing a message anew', () => {
  const other = (old: string): string => `<${old}>`;

  test(`changes the texts that are given and nothing else (seed ${SEED})`, () => {
    fc.assert(
      fc.property(request, fc.nat(3), (message, every) => {
        const encoded = Buffer.from(ExecuteRequest.encode(message).finish());
        walker.walk(executePlan, encoded, 0, encoded.length);
        const chosen = walker.leaves.filter((_, i) => i % (every + 1) === 0);
        const edits = chosen.map((leaf) => ({ leaf, value: other(textOf(leaf, encoded)) }));
        const expected = walker.leaves.map((leaf) =>
          chosen.includes(leaf) ? other(textOf(leaf, encoded)) : textOf(leaf, encoded),
        );
        const rewritten = walker.rewrite(encoded, edits, 0);
        expect(textsIn(executePlan, rewritten)).toEqual(expected);
        // And back again: every byte between the texts is what it was.
        const back = walker.leaves
          .filter((_, i) => i % (every + 1) === 0)
          .map((leaf) => ({ leaf, value: textOf(leaf, rewritten).slice(1, -1) }));
        expect(walker.rewrite(rewritten, back, 0)).toEqual(encoded);
      }),
      { seed: SEED, numRuns: 300 },
    );
  });

  test('keeps unknown fields where they stand, grows lengths over a byte, and leaves room before it', () => {
    const chat = new BinaryWriter()
      .tag(1, 2)
      .fork()
      .tag(99, 0)
      .int32(7)
      .tag(2, 2)
      .string('short')
      .tag(98, 2)
      .string('kept')
      .join();
    const encoded = Buffer.from(
      new BinaryWriter().tag(2, 2).bytes(chat.finish()).tag(77, 5).fixed32(1).finish(),
    );
    walker.walk(generatePlan, encoded, 0, encoded.length);
    const [leaf] = walker.leaves;
    const long = 'é'.repeat(150);
    const rewritten = walker.rewrite(encoded, [{ leaf: leaf as TextLeaf, value: long }], 5);
    const chatNow = new BinaryWriter()
      .tag(1, 2)
      .fork()
      .tag(99, 0)
      .int32(7)
      .tag(2, 2)
      .string(long)
      .tag(98, 2)
      .string('kept')
      .join();
    expect(rewritten.subarray(5)).toEqual(
      Buffer.from(new BinaryWriter().tag(2, 2).bytes(chatNow.finish()).tag(77, 5).fixed32(1).finish()),
    );
  });

  test('puts a text in place of a number in google.protobuf.Value', () => {
    const encoded = Buffer.from(
      ExecuteRequest.encode(ExecuteRequest.fromPartial({ inputs: { a: 4111111111111111 } })).finish(),
    );
    walker.walk(executePlan, encoded, 0, encoded.length);
    const leaf = walker.leaves.find(({ step }) => step.kind === 'number') as TextLeaf;
    expect(textOf(leaf, encoded)).toBe('4111111111111111');
    const step = leaf.step as Extract<TextLeaf['step'], { kind: 'number' }>;
    const rewritten = walker.rewrite(
      encoded,
      [{ leaf, value: '[CARD_1]', asText: step.textNumber as number }],
      0,
    );
    expect(ExecuteRequest.decode(rewritten).inputs).toEqual({ a: '[CARD_1]' });
  });
});

function decodeOrNothing(encoded: Buffer): ExecuteRequest | null {
  try {
    return ExecuteRequest.decode(encoded);
  } catch {
    return null;
  }
}
