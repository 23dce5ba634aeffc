import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { buildDescriptors } from '../test/build-descriptors.ts';
import { findUnclassified, loadContract, type Overlay, parseOverlay } from './index.ts';

const ownSet = readFileSync(new URL('./gen/descriptors.binpb', import.meta.url));
const standardOverlay = overlay(readFileSync(new URL('../overlays/standard.yaml', import.meta.url), 'utf8'));

function overlay(text: string): Overlay {
  const parsed = parseOverlay(text, 'o.yaml');
  if ('problems' in parsed) throw new Error(parsed.problems.join('\n'));
  return parsed.overlay;
}

function load(descriptorSet: Uint8Array, ...overlays: Overlay[]) {
  const loaded = loadContract({ descriptorSet, overlays });
  if ('problems' in loaded) throw new Error(loaded.problems.join('\n'));
  return loaded.contract;
}

function problems(proto: string, ...overlays: Overlay[]): string[] {
  const loaded = loadContract({ descriptorSet: buildDescriptors(proto), overlays });
  return 'problems' in loaded ? loaded.problems : [];
}

test('reads what the protos say of each method', () => {
  const { methods, digest, unclassifiedMethods } = load(ownSet, standardOverlay);
  expect(methods.get('/gatehouse.inference.v1.InferenceService/StreamGenerate')).toMatchObject({
    service: 'gatehouse.inference.v1.InferenceService',
    method: 'StreamGenerate',
    kind: 'server-streaming',
    permission: 'inference.generate',
    costUnit: 'tokens',
    deadlineMsDefault: 60_000,
    deadlineMsMax: 600_000,
    requestBytesMax: 1_048_576,
    responseBytesMax: 1_048_576,
    idempotent: false,
    requestFields: { readsModel: true },
  });
  expect(methods.get('/gatehouse.embeddings.v1.EmbeddingsService/StreamEmbed')).toMatchObject({
    kind: 'bidi',
    idempotent: true,
  });
  expect(methods.get('/grpc.health.v1.Health/Check')).toMatchObject({
    permission: 'health.check',
    idempotent: true,
  });
  expect(unclassifiedMethods).toEqual([]);
  expect(digest).toBe(createHash('sha256').update(ownSet).digest('hex'));
});

test('takes 4 MiB for a message size that the contract leaves at 0', () => {
  const admin = load(ownSet).methods.get('/gatehouse.admin.v1.AdminService/Explain');
  expect(admin).toMatchObject({ requestBytesMax: 4_194_304, responseBytesMax: 4_194_304 });
});

test('leaves out methods without a permission and keeps their names', () => {
  const contract = load(ownSet);
  expect(contract.methods.has('/grpc.health.v1.Health/Check')).toBe(false);
  expect(contract.unclassifiedMethods).toContain('/grpc.health.v1.Health/Check');
});

test('every method and text field of our own protos is classified', () => {
  expect(findUnclassified(load(ownSet, standardOverlay))).toEqual([]);
});

const FOREIGN = `syntax = "proto3";
package shop.v1;
import "google/protobuf/any.proto";
service Shop {
  rpc Find(Query) returns (Found);
  rpc Buy(Query) returns (Found);
}
message Query { string text = 1; bytes raw = 2; int32 limit = 3; Nested nested = 4; }
message Nested { string note = 1; Nested again = 2; map<string, int32> counts = 3; google.protobuf.Any any = 4; }
message Found { repeated string names = 1; Nested covered = 2; }
`;
const FOREIGN_OVERLAY = overlay(`
methods:
  shop.v1.Shop/Find: { permission: shop.find }
fields:
  shop.v1.Query.text: { sensitivity: PROMPT }
  shop.v1.Found.covered: { sensitivity: COMPLETION }
`);

test('finds every method and every text field that nothing classifies, through nested messages', () => {
  const found = findUnclassified(load(buildDescriptors(FOREIGN), FOREIGN_OVERLAY));
  expect(found.map(({ kind, name, method }) => `${kind} ${name} of ${method}`)).toEqual([
    'method shop.v1.Shop/Buy of shop.v1.Shop/Buy',
    'field shop.v1.Query.raw of shop.v1.Shop/Find',
    'field shop.v1.Nested.note of shop.v1.Shop/Find',
    'field shop.v1.Nested.counts of shop.v1.Shop/Find',
    'field google.protobuf.Any.type_url of shop.v1.Shop/Find',
    'field google.protobuf.Any.value of shop.v1.Shop/Find',
    'field shop.v1.Found.names of shop.v1.Shop/Find',
  ]);
});

test('a sensitivity on a message field covers all inside it', () => {
  const covering = overlay('fields: { shop.v1.Query.nested: { sensitivity: PROMPT } }');
  const found = findUnclassified(load(buildDescriptors(FOREIGN), FOREIGN_OVERLAY, covering));
  expect(found.map(({ name }) => name)).toEqual([
    'shop.v1.Shop/Buy',
    'shop.v1.Query.raw',
    'shop.v1.Found.names',
  ]);
});

test('an overlay goes before the protos, and a later overlay before an earlier one, key by key', () => {
  const path = 'gatehouse.inference.v1.InferenceService/Generate';
  const first = overlay(`methods: { ${path}: { permission: other.verb, deadlineMax: 90s } }`);
  const second = overlay(`methods: { ${path}: { permission: third.verb } }`);
  expect(load(ownSet, first, second).methods.get(`/${path}`)).toMatchObject({
    permission: 'third.verb',
    deadlineMsMax: 90_000,
    deadlineMsDefault: 60_000,
    costUnit: 'tokens',
  });
});

test('refuses an overlay entry that the descriptor set does not have, unless the overlay is partial', () => {
  const entries =
    'methods: { shop.v1.Shop/Fined: { permission: a.b } }\nfields: { shop.v1.Query.txt: { role: MODEL } }';
  expect(problems(FOREIGN, overlay(entries))).toEqual([
    'o.yaml: methods: the descriptor set has no /shop.v1.Shop/Fined; did you mean /shop.v1.Shop/Find?',
    'o.yaml: fields: the descriptor set has no shop.v1.Query.txt; did you mean shop.v1.Query.text?',
  ]);
  expect(problems(FOREIGN, overlay(`partial: true\n${entries}`))).toEqual([]);
});

test('refuses a default deadline above the largest, and a permission of another form', () => {
  const proto = `syntax = "proto3"; package a;
import "gatehouse/policy/v1/annotations.proto";
message M {}
service S { rpc R(M) returns (M) { option (gatehouse.policy.v1.method) = {
  permission: "Everything" deadline_default: {seconds: 9} deadline_max: {seconds: 3} }; } }`;
  expect(problems(proto)).toEqual([
    '/a.S/R: permission is "Everything"; expected a form such as inference.generate',
    '/a.S/R: deadlineMsDefault 9000 is above deadlineMsMax 3000',
  ]);
});

test('refuses a model that cannot have one value, and roles on fields of another type', () => {
  const proto = `syntax = "proto3"; package a;
import "gatehouse/policy/v1/annotations.proto";
message Inner { string model = 1 [(gatehouse.policy.v1.field).role = FIELD_ROLE_MODEL]; Inner again = 2; }
message M {
  repeated Inner inner = 1;
  bytes model = 2 [(gatehouse.policy.v1.field).role = FIELD_ROLE_MODEL];
  double used = 3 [(gatehouse.policy.v1.field).role = FIELD_ROLE_OUTPUT_TOKENS_USED];
  repeated int32 limits = 4 [(gatehouse.policy.v1.field).role = FIELD_ROLE_OUTPUT_TOKENS_LIMIT];
}
message N { Inner inner = 1; }
service S { rpc R(M) returns (N) { option (gatehouse.policy.v1.method).permission = "a.b"; } }`;
  expect(problems(proto)).toEqual([
    'a.Inner.model has role model inside a.M.inner, which may come many times; it must have one value',
    'a.M.model has role model and must be a string',
    'a.M.used has role outputTokensUsed and must be a whole number or an enum',
    'a.M.limits has role outputTokensLimit and is repeated; it must have one value',
    'a.Inner.model has role model inside a.Inner.again, which may come many times; it must have one value',
  ]);
});

test('does not take options of other extensions with our numbers for ours', () => {
  const proto = `syntax = "proto3"; package a;
import "google/protobuf/descriptor.proto";
extend google.protobuf.MethodOptions { Other method = 50901; }
message Other { string permission = 1; }
message M {}
service S { rpc R(M) returns (M) { option (a.method).permission = "a.b"; } }`;
  const contract = load(buildDescriptors(proto));
  expect(contract.unclassifiedMethods).toEqual(['/a.S/R']);
  expect(contract.methods.size).toBe(0);
});

test.each([
  ['bytes that are no descriptor set', Buffer.from('hello, world'), /not a descriptor set/],
  ['an empty set', Buffer.alloc(0), /no services/],
])('refuses %s', (_, bytes, expected) => {
  const loaded = loadContract({ descriptorSet: bytes });
  expect('problems' in loaded && loaded.problems.join()).toMatch(expected);
});
