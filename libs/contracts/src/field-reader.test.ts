import { readFileSync } from 'node:fs';
import { type DescMessage, fromBinary } from '@bufbuild/protobuf';
import type { BinaryWriter } from '@bufbuild/protobuf/wire';
import { describe, expect, test } from 'vitest';
import { buildDescriptors } from '../test/build-descriptors.ts';
import { bytes, group, load, message, type Part, readerOf, text, varint } from '../test/read-fields.ts';
import { GenerateRequest } from './gen/gatehouse/inference/v1/inference.ts';
import type { FieldReader, FieldValues } from './index.ts';

const PROTO = `edition = "2023";
package t;
import "gatehouse/policy/v1/annotations.proto";
message Request {
  string model = 1 [features.field_presence = IMPLICIT, (gatehouse.policy.v1.field).role = FIELD_ROLE_MODEL];
  Nested nested = 2;
  oneof choice {
    Nested left = 3;
    Nested right = 4;
    Closed closed = 5;
    string text = 6;
    sint64 used = 7 [(gatehouse.policy.v1.field).role = FIELD_ROLE_INPUT_TOKENS_USED];
    Nested grouped = 8 [features.message_encoding = DELIMITED];
  }
  Open priority = 9 [(gatehouse.policy.v1.field).role = FIELD_ROLE_PRIORITY];
  repeated string tags = 10;
  repeated Loop loops = 12;
  repeated int32 packed = 13;
  repeated fixed32 fixed = 14;
  map<string, Loop> map = 15;
  fixed64 wide = 11 [(gatehouse.policy.v1.field).role = FIELD_ROLE_OUTPUT_TOKENS_USED];
}
message Loop { Loop loop = 1; string text = 2; }
message Nested {
  int32 limit = 1 [(gatehouse.policy.v1.field).role = FIELD_ROLE_OUTPUT_TOKENS_LIMIT];
  Deeper deeper = 2;
  string other = 3;
}
message Deeper { sfixed32 limit = 1 [features.field_presence = IMPLICIT, (gatehouse.policy.v1.field).role = FIELD_ROLE_OUTPUT_TOKENS_LIMIT]; }
enum Open { OPEN_UNSPECIFIED = 0; OPEN_ONE = 1; }
enum Closed { option features.enum_type = CLOSED; CLOSED_ZERO = 0; CLOSED_ONE = 1; }
message Two {
  string first = 1 [(gatehouse.policy.v1.field).role = FIELD_ROLE_MODEL];
  string second = 2 [(gatehouse.policy.v1.field).role = FIELD_ROLE_MODEL];
  int32 count = 3 [default = 7, (gatehouse.policy.v1.field).role = FIELD_ROLE_OUTPUT_TOKENS_LIMIT];
}
message Versioned {
  string model = 1 [features.field_presence = IMPLICIT, (gatehouse.policy.v1.field).role = FIELD_ROLE_MODEL];
  string version = 2 [features.field_presence = IMPLICIT, (gatehouse.policy.v1.field).role = FIELD_ROLE_MODEL_VERSION];
}
message Empty {}
service Svc {
  rpc One(Request) returns (Empty) { option (gatehouse.policy.v1.method).permission = "a.b"; }
  rpc Versions(Versioned) returns (Empty) { option (gatehouse.policy.v1.method).permission = "a.b"; }
  rpc Both(Two) returns (Empty) { option (gatehouse.policy.v1.method).permission = "a.b"; }
}`;

const contract = load(buildDescriptors(PROTO));
const own = load(readFileSync(new URL('./gen/descriptors.binpb', import.meta.url)));
const requestType = contract.registry.getMessage('t.Request') as DescMessage;
const reader = readerOf(contract, '/t.Svc/One');
const twoReader = readerOf(contract, '/t.Svc/Both');
const generateReader = readerOf(own, '/gatehouse.inference.v1.InferenceService/Generate');

const NOTHING: FieldValues = {
  model: undefined,
  modelVersion: undefined,
  priority: undefined,
  outputTokensLimit: undefined,
  outputTokensUsed: undefined,
  inputTokensUsed: undefined,
  inputTokensBound: 0,
};

function read(...parts: Part[]) {
  return valuesByRole(bytes(...parts));
}

/** The bound of the input, which goes by sensitivity, has tests of its own. */
function valuesByRole(encoded: Buffer) {
  const result = reader.read(encoded, 0, encoded.length);
  return 'malformed' in result ? result : { ...result, inputTokensBound: 0 };
}

describe('resolves fields as protobuf does', () => {
  test.each<[string, Part[], Partial<FieldValues>]>([
    ['the last of a singular field wins', [text(1, 'a'), text(1, 'b')], { model: 'b' }],
    ['an empty model without presence is none', [text(1, 'a'), text(1, '')], {}],
    ['text beyond ASCII', [text(1, 'modèle-😀')], { model: 'modèle-😀' }],
    [
      'embedded messages merge',
      [message(2, varint(1, 5)), message(2, text(3, 'x')), message(2, message(2))],
      { outputTokensLimit: 5 },
    ],
    [
      'the largest of several fields of a role',
      [message(2, varint(1, 5)), message(3, varint(1, 9))],
      { outputTokensLimit: 9 },
    ],
    ['another member of a oneof replaces the message', [message(3, varint(1, 9)), text(6, '')], {}],
    ['a member that comes back begins anew', [message(3, varint(1, 9)), message(4), message(3)], {}],
    ['the same member of a oneof merges', [message(3, varint(1, 9)), message(3)], { outputTokensLimit: 9 }],
    [
      'an unknown number of a closed enum changes no oneof',
      [message(3, varint(1, 9)), varint(5, 77)],
      { outputTokensLimit: 9 },
    ],
    ['a known number of a closed enum does', [message(3, varint(1, 9)), varint(5, 1)], {}],
    ['groups', [group(8, varint(1, 4))], { outputTokensLimit: 4 }],
    [
      'unknown fields of every wire type pass',
      [
        group(99, group(98), text(5, 'x')),
        (w) => w.tag(97, 1).fixed64(1),
        (w) => w.tag(96, 5).fixed32(1),
        text(1, 'm'),
      ],
      { model: 'm' },
    ],
    ['a number of ten bytes', [message(2, varint(1, -3))], { outputTokensLimit: -3 }],
    [
      'zigzag numbers of 64 bits',
      [(w) => w.tag(7, 0).sint64(-9_007_199_254_740_991n)],
      { inputTokensUsed: -9_007_199_254_740_991 },
    ],
    ['an explicit zero where the field has presence', [varint(9, 0)], { priority: 0 }],
    ['an unknown number of an open enum', [varint(9, 77)], { priority: 77 }],
  ])('%s', (_, parts, expected) => {
    expect(read(...parts)).toEqual({ ...NOTHING, ...expected });
  });
});

describe('refuses what cannot be read in one way', () => {
  test.each<[string, Part[], RegExp]>([
    [
      'a model that is not UTF-8',
      [(w) => w.tag(1, 2).bytes(Uint8Array.of(0xc3, 0x28))],
      /t\.Request\.model is not valid UTF-8/,
    ],
    ['an overlong form of UTF-8', [(w) => w.tag(1, 2).bytes(Uint8Array.of(0xc0, 0xaf))], /not valid UTF-8/],
    [
      'another wire type than the contract has',
      [varint(1, 3)],
      /t\.Request\.model has wire type 0 where the contract has 2/,
    ],
    ['a length past the end', [(w) => w.tag(1, 2).uint32(5)], /longer than its message/],
    [
      'a length past the end of the embedded message',
      [(w) => w.tag(2, 2).uint32(2).tag(3, 2).uint32(1), text(3, 'x')],
      /longer than its message/,
    ],
    [
      'an embedded message that ends inside a tag',
      [(w) => w.tag(12, 2).bytes(Uint8Array.of(0xf1))],
      /ends inside a number/,
    ],
    [
      'packed numbers that end inside one',
      [(w) => w.tag(13, 2).bytes(Uint8Array.of(0x01, 0x81))],
      /t\.Request\.packed ends inside a number/,
    ],
    [
      'packed fixed numbers that end inside one',
      [(w) => w.tag(14, 2).bytes(new Uint8Array(7))],
      /t\.Request\.fixed ends inside a number/,
    ],
    ['a map entry with another wire type', [message(15, varint(1, 1))], /t\.Request\.map has wire type 0/],
    [
      'messages nested too deep',
      [Array.from({ length: 101 }).reduce<Part>((inner) => message(1, inner), text(2, 'x'))].map((part) =>
        message(12, part),
      ),
      /nested more than 100/,
    ],
    ['a cut number', [(w) => w.raw(Uint8Array.of(0x48, 0x80))], /ends inside a number/],
    ['a cut fixed number', [(w) => w.tag(11, 1).fixed32(1)], /ends inside a number/],
    [
      'a number of eleven bytes',
      [(w) => w.tag(9, 0).raw(new Uint8Array(11).fill(0x80))],
      /more than ten bytes/,
    ],
    ['field number 0', [(w) => w.raw(Uint8Array.of(0x02, 0x00))], /field number out of range/],
    [
      'a tag beyond 32 bits',
      [(w) => w.raw(Uint8Array.of(0x8a, 0x80, 0x80, 0x80, 0x10, 0x00))],
      /field number out of range/,
    ],
    ['a wire type that does not exist', [(w) => w.raw(Uint8Array.of(0x96, 0x03))], /wire type 6/],
    ['an end tag without a group', [(w) => w.tag(50, 4)], /end tag of group 50/],
    ['a group that ends as another', [(w) => w.tag(50, 3).tag(51, 4)], /end tag of group 51/],
    ['a known group without end', [(w) => w.tag(8, 3)], /group 8 has no end/],
    ['an unknown group without end', [(w) => w.tag(50, 3)], /group 50 has no end/],
    [
      'groups nested too deep',
      [(w) => w.raw(bytes(...Array.from({ length: 101 }, () => (v: BinaryWriter) => v.tag(50, 3))))],
      /nested more than 100/,
    ],
  ])('%s', (_, parts, expected) => {
    const result = read(...parts);
    expect('malformed' in result && result.malformed).toMatch(expected);
  });

  test('two models that differ', () => {
    const encoded = bytes(text(1, 'a'), text(2, 'b'));
    expect(twoReader.read(encoded, 0, encoded.length)).toEqual({
      malformed: 'the message names two different models',
    });
  });
});

describe('the version of a model', () => {
  const versioned = readerOf(contract, '/t.Svc/Versions');
  const readVersioned = (...parts: Part[]) => {
    const encoded = bytes(...parts);
    return versioned.read(encoded, 0, encoded.length);
  };

  test('is read beside the name', () => {
    expect(versioned.reads('modelVersion')).toBe(true);
    expect(reader.reads('modelVersion')).toBe(false);
    expect(readVersioned(text(1, 'a'), text(2, '3'))).toEqual({ ...NOTHING, model: 'a', modelVersion: '3' });
    expect(readVersioned(text(1, 'a'))).toEqual({ ...NOTHING, model: 'a' });
  });

  test('may stand in the name as well, and must be the same there', () => {
    expect(readVersioned(text(1, 'a@3'), text(2, '3'))).toMatchObject({ model: 'a@3', modelVersion: '3' });
    expect(readVersioned(text(1, 'a@4'), text(2, '3'))).toEqual({
      malformed: 'the message names two different versions of its model',
    });
  });
});

test('takes the default that a proto declares for a field that is absent, and agrees with itself on one model twice', () => {
  const encoded = bytes(text(1, 'a'), text(2, 'a'));
  expect(twoReader.read(encoded, 0, encoded.length)).toEqual({
    ...NOTHING,
    model: 'a',
    outputTokensLimit: 7,
  });
});

test('keeps nothing from one message to the next, and reads only between start and end', () => {
  const first = bytes(text(1, 'first'), varint(9, 1));
  const both = Buffer.concat([first, bytes(text(1, 'second'))]);
  expect(reader.read(both, 0, first.length)).toMatchObject({ model: 'first', priority: 1 });
  expect(reader.read(both, first.length, both.length)).toEqual({ ...NOTHING, model: 'second' });
});

/** Marsaglia's xorshift32: the same messages on every run. */
function randomOf(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

function randomNested(random: (below: number) => number): Part[] {
  const choices: (() => Part)[] = [
    () => varint(1, random(1000) - 500),
    () => message(2, ...(random(2) === 0 ? [] : [(w: BinaryWriter) => w.tag(1, 5).sfixed32(random(9))])),
    () => text(3, 'other'),
    () => text(77, 'unknown'),
  ];
  return Array.from({ length: random(4) }, () => choices[random(choices.length)]?.() as Part);
}

function randomRequest(random: (below: number) => number): Part[] {
  const choices: (() => Part)[] = [
    () => text(1, ['', 'm', 'modèle', 'x'.repeat(200)][random(4)] as string),
    () => message(2 + random(3), ...randomNested(random)),
    () => varint(5, random(4)),
    () => text(6, 'text'),
    () => (w) => w.tag(7, 0).sint64(BigInt(random(1 << 30)) * -3n),
    () => group(8, ...randomNested(random)),
    () => varint(9, random(5)),
    () => text(10, 'tag'),
    () => message(12, message(1, text(2, 'x'))),
    () => (w) => w.tag(13, 2).bytes(Uint8Array.of(1, 0x81, 1)),
    () => varint(13, -1),
    () => (w) => w.tag(14, 2).bytes(new Uint8Array(8)),
    () => message(15, text(1, 'key'), message(2, text(2, 'x'))),
    () => (w) => w.tag(11, 1).fixed64(BigInt(random(1 << 30)) * 1024n),
    () => group(60, text(1, 'not a model'), group(61)),
    () => varint(62, -1),
  ];
  return Array.from({ length: random(12) }, () => choices[random(choices.length)]?.() as Part);
}

interface DecodedNested {
  limit?: number;
  deeper?: { limit: number };
}

/** The same values out of a whole decoded message. Own properties: fields with presence that are absent have none. */
function valuesOf(encoded: Buffer): FieldValues {
  const decoded = fromBinary(requestType, encoded) as unknown as {
    model: string;
    nested?: DecodedNested;
    choice: { case?: string; value?: unknown };
    priority?: number;
    wide?: bigint;
  };
  const own = <T extends object, K extends keyof T>(of: T | undefined, key: K): T[K] | undefined =>
    of !== undefined && Object.hasOwn(of, key) ? of[key] : undefined;
  const isNested = ['left', 'right', 'grouped'].includes(decoded.choice.case ?? '');
  const chosen = isNested ? (decoded.choice.value as DecodedNested) : undefined;
  const limits = [
    own(decoded.nested, 'limit'),
    decoded.nested?.deeper?.limit || undefined,
    own(chosen, 'limit'),
    chosen?.deeper?.limit || undefined,
  ];
  const known = limits.filter((limit) => limit !== undefined);
  const wide = own(decoded, 'wide');
  return {
    model: decoded.model || undefined,
    modelVersion: undefined,
    priority: own(decoded, 'priority'),
    outputTokensLimit: known.length > 0 ? Math.max(...known) : undefined,
    outputTokensUsed: wide === undefined ? undefined : Number(wide),
    inputTokensUsed: decoded.choice.case === 'used' ? Number(decoded.choice.value) : undefined,
    inputTokensBound: 0,
  };
}

test('agrees with a whole decode by protobuf-es on 5000 random messages', () => {
  const random = randomOf(20261122);
  for (let i = 0; i < 5000; i++) {
    const encoded = bytes(...randomRequest(random));
    expect({ encoded, ...valuesByRole(encoded) }).toEqual({
      encoded,
      ...valuesOf(encoded),
    });
  }
});

/** Overwrites up to three bytes and sometimes cuts the end. */
function damage(encoded: Buffer, random: (below: number) => number): Buffer {
  for (let flips = random(4); flips > 0 && encoded.length > 0; flips--)
    encoded[random(encoded.length)] = random(256);
  return random(8) === 0 ? encoded.subarray(0, random(encoded.length + 1)) : encoded;
}

/** Runs `decode` where both sides take the message, and says how often that was. */
function compareOnDamage(
  make: (random: (below: number) => number) => Buffer,
  from: FieldReader,
  decode: (damaged: Buffer) => Partial<FieldValues>,
): number {
  const random = randomOf(7);
  let compared = 0;
  for (let i = 0; i < 20_000; i++) {
    const damaged = damage(make(random), random);
    const ours = from.read(damaged, 0, damaged.length);
    if ('malformed' in ours) continue;
    let theirs: Partial<FieldValues>;
    try {
      theirs = decode(damaged);
    } catch {
      continue;
    }
    compared++;
    expect({ damaged, ...ours, inputTokensBound: 0 }).toMatchObject({ damaged, ...theirs });
  }
  return compared;
}

test('never reads damaged bytes in another way than ts-proto, which decodes them in our services', () => {
  const make = (random: (below: number) => number): Buffer => {
    const content = 'p'.repeat(random(20));
    return Buffer.from(
      GenerateRequest.encode({
        model: ['m', 'modèle', ''][random(3)] as string,
        input:
          random(2) === 0
            ? { $case: 'prompt', value: content }
            : { $case: 'chat', value: { messages: [{ role: 2, content }] } },
        maxTokens: random(300),
        stop: ['a'],
        jsonSchema: '',
        priority: 1,
      }).finish(),
    );
  };
  const compared = compareOnDamage(make, generateReader, (damaged) => {
    const theirs = GenerateRequest.decode(damaged);
    return { model: theirs.model || undefined, outputTokensLimit: theirs.maxTokens };
  });
  expect(compared).toBeGreaterThan(5000);
});

test('never reads damaged bytes in another way than protobuf-es, which checks no wire types', () => {
  const make = (random: (below: number) => number): Buffer => bytes(...randomRequest(random));
  expect(compareOnDamage(make, reader, valuesOf)).toBeGreaterThan(5000);
});
