import { readFileSync } from 'node:fs';
import { createFileRegistry, type FileRegistry, fromBinary } from '@bufbuild/protobuf';
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { expect, test } from 'vitest';
import { buildDescriptors } from '../test/build-descriptors.ts';
import { contractFit, loadContract, parseOverlay } from './index.ts';
import { policyOptionsOf } from './policy-options.ts';

test.each([
  ['1.2.0', '1.2.0', 'fits'],
  ['1.2.9', '1.2.0', 'fits'],
  ['1.0.0', '1.10.0', 'fits'],
  ['1.10.0', '1.9.3', 'newer'],
  ['2.0.0', '1.9.3', 'other'],
  ['1.9.3', '2.0.0', 'other'],
  ['0.3.0', '0.3.7', 'fits'],
  ['0.3.0', '0.4.0', 'other'],
  ['0.4.0', '0.3.0', 'other'],
])('what was written for %s, where %s is served: %s', (written, served, fit) => {
  expect(contractFit(written, served)).toBe(fit);
});

const SHOP = (...options: string[]): string => `syntax = "proto3"; package shop.v1;
import "gatehouse/policy/v1/annotations.proto";
${options.join('\n')}
message M {}
service Shop { rpc Find(M) returns (M) { option (gatehouse.policy.v1.method).permission = "shop.find"; } }`;
const STATED = 'option (gatehouse.policy.v1.contract_version) = "3.1.4";';

function load(proto: string, overlayText = '') {
  const parsed = parseOverlay(overlayText || '{}', 'o.yaml');
  if ('problems' in parsed) return parsed.problems;
  const loaded = loadContract({ descriptorSet: buildDescriptors(proto), overlays: [parsed.overlay] });
  return 'problems' in loaded ? loaded.problems : loaded.contract.version;
}

test('a contract has the version that a file of it states, or that an overlay states, or none', () => {
  expect(load(SHOP(STATED))).toBe('3.1.4');
  expect(load(SHOP())).toBeNull();
  expect(load(SHOP(), 'contractVersion: 2.0.0')).toBe('2.0.0');
  expect(load(SHOP(STATED), 'contractVersion: 4.0.0')).toBe('4.0.0');
});

test('refuses a version of another form, in a file as in an overlay', () => {
  expect(load(SHOP(STATED.replace('3.1.4', '3.1')))).toEqual([
    'test.proto: contract_version is "3.1"; expected a form such as 1.4.0',
  ]);
  expect(load(SHOP(), 'contractVersion: 1.4')).toEqual([
    'o.yaml:1:1: contractVersion: got 1.4, expected a version such as 1.4.0',
  ]);
});

const RELEASED = new URL('../../../protos/released.binpb', import.meta.url);
const CURRENT = new URL('./gen/descriptors.binpb', import.meta.url);
/** Of releases from before contracts had versions. */
const UNSTATED = '1.0.0';

function read(file: URL): { readonly names: ReadonlySet<string>; readonly version: string } {
  const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, readFileSync(file)));
  const [stated] = policyOptionsOf(registry).contractVersions;
  return { names: namesIn(registry), version: stated?.version ?? UNSTATED };
}

/** Every method, message, field and enum value of our own protos. */
function namesIn(registry: FileRegistry): Set<string> {
  const names = new Set<string>();
  for (const type of registry) {
    if (!type.typeName.startsWith('gatehouse.')) continue;
    if (type.kind === 'message') for (const field of type.fields) names.add(`${type.typeName}.${field.name}`);
    if (type.kind === 'enum') for (const value of type.values) names.add(`${type.typeName}.${value.name}`);
    if (type.kind === 'service') for (const { name } of type.methods) names.add(`${type.typeName}/${name}`);
    names.add(type.typeName);
  }
  return names;
}

test('our protos state a newer version than the released ones, where something has come or gone since', () => {
  const [released, current] = [read(RELEASED), read(CURRENT)];
  const added = [...current.names].filter((name) => !released.names.has(name));
  const removed = [...released.names].filter((name) => !current.names.has(name));
  const expected = removed.length > 0 ? ['other'] : added.length > 0 ? ['newer', 'other'] : ['fits'];
  const fit = contractFit(current.version, released.version);
  expect(
    expected,
    `${released.version} → ${current.version}: + ${added.join()}, - ${removed.join()}`,
  ).toContain(fit);
});
