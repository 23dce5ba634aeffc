import { createHash } from 'node:crypto';
import {
  createFileRegistry,
  type DescField,
  type DescMethod,
  type FileRegistry,
  fromBinary,
} from '@bufbuild/protobuf';
import { FileDescriptorSetSchema, MethodOptions_IdempotencyLevel } from '@bufbuild/protobuf/wkt';
import { CONTRACT_VERSION_PATTERN } from './contract-version.ts';
import { FieldReader } from './field-reader.ts';
import { compileSteps } from './field-steps.ts';
import {
  CostUnit as CostUnitNumber,
  type FieldPolicy,
  type MethodPolicy,
} from './gen/gatehouse/policy/v1/annotations.ts';
import type { Duration } from './gen/google/protobuf/duration.ts';
import { nearestName } from './nearest-name.ts';
import { type CostUnit, type MethodOverlay, type Overlay, PERMISSION_PATTERN } from './overlay.ts';
import { type PolicyOptions, policyOptionsOf } from './policy-options.ts';
import { type TextPlan, TextPlans, textRoleProblems } from './text-plan.ts';

/** How many messages go each way. */
export type CallKind = 'unary' | 'client-streaming' | 'server-streaming' | 'bidi';

/** What the mesh knows of a method it may serve. */
export interface ContractMethod {
  /** `/pkg.Service/Method`, as in HTTP/2's `:path`. */
  readonly path: string;
  /** `pkg.Service` */
  readonly service: string;
  readonly method: string;
  readonly kind: CallKind;
  /** `area.verb` */
  readonly permission: string;
  readonly costUnit: CostUnit;
  readonly deadlineMsDefault: number;
  readonly deadlineMsMax: number;
  readonly requestBytesMax: number;
  readonly responseBytesMax: number;
  /** Whether a call may be sent again although the first may have been carried out. */
  readonly idempotent: boolean;
  /** Null: no field of the request has a role that is read. */
  readonly requestFields: FieldReader | null;
  readonly responseFields: FieldReader | null;
  /** Where the text in its messages is. */
  readonly requestText: TextPlan;
  readonly responseText: TextPlan;
}

/** A descriptor set with its classification: all that the mesh knows of the services behind it. */
export interface Contract {
  /** By path. What is not in it does not exist for callers. */
  readonly methods: ReadonlyMap<string, ContractMethod>;
  /** Paths of methods that have no permission, and so are not in `methods`. For error texts. */
  readonly unclassifiedMethods: readonly string[];
  /** By full name, `pkg.Message.field`. */
  readonly fieldPolicies: ReadonlyMap<string, FieldPolicy>;
  /** SHA-256 of the descriptor set, in hex. */
  readonly digest: string;
  /** What it says its version is: `1.4.0`. Null: nothing, and no stub or document is held against it. */
  readonly version: string | null;
  readonly registry: FileRegistry;
  /** How to find the text in any message of the descriptor set. */
  readonly textPlans: TextPlans;
}

/** For methods whose contract says nothing. */
const MESSAGE_BYTES_MAX_DEFAULT = 4 * 1024 * 1024;
const DEADLINE_MS_DEFAULT = 30_000;
const DEADLINE_MS_MAX_DEFAULT = 600_000;

const KINDS: Readonly<Record<DescMethod['methodKind'], CallKind>> = {
  unary: 'unary',
  client_streaming: 'client-streaming',
  server_streaming: 'server-streaming',
  bidi_streaming: 'bidi',
};

/**
 * Reads a serialized google.protobuf.FileDescriptorSet that holds all its imports (`buf build
 * --as-file-descriptor-set`, `protoc --include_imports --descriptor_set_out`). What an overlay says goes before the options
 * of the protos, and a later overlay before an earlier one. Problems are sentences, all of them at once.
 */
export function loadContract(source: {
  readonly descriptorSet: Uint8Array;
  readonly overlays?: readonly Overlay[];
}): { contract: Contract } | { problems: string[] } {
  let registry: FileRegistry;
  try {
    registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, source.descriptorSet));
  } catch (error) {
    return {
      problems: [
        `not a descriptor set with all its imports: ${error instanceof Error ? error.message : String(error)}`,
      ],
    };
  }
  const overlays = source.overlays ?? [];
  const methods = methodsOf(registry);
  const fields = fieldsOf(registry);
  if (methods.size === 0) return { problems: ['the descriptor set has no services'] };

  const problems = new Set([
    ...unknownNames(overlays, 'methods', methods),
    ...unknownNames(overlays, 'fields', fields),
  ]);
  const fieldPolicies = mergeFieldPolicies(registry, fields, overlays);
  const policyOf = (field: DescField): FieldPolicy | undefined => fieldPolicies.get(fieldName(field));
  const textPlans = new TextPlans(registry, policyOf);
  for (const problem of textRoleProblems(fields.values(), policyOf)) problems.add(problem);
  const classified = new Map<string, ContractMethod>();
  const unclassifiedMethods: string[] = [];
  const options = policyOptionsOf(registry);
  const version = statedVersion(options, overlays, problems);
  for (const [path, descriptor] of methods) {
    const facts = methodFacts(options.method(descriptor), methodOverlay(overlays, path));
    const reader = (message: DescMethod['input']): FieldReader | null => {
      const compiled = compileSteps(message, policyOf, problems);
      return compiled && new FieldReader(compiled.steps, compiled.slots);
    };
    if (facts.permission === '') {
      unclassifiedMethods.push(path);
      continue;
    }
    for (const problem of methodProblems(facts)) problems.add(`${path}: ${problem}`);
    const { idempotency } = descriptor;
    classified.set(path, {
      path,
      service: descriptor.parent.typeName,
      method: descriptor.name,
      kind: KINDS[descriptor.methodKind],
      ...facts,
      idempotent: facts.idempotent ?? idempotency !== MethodOptions_IdempotencyLevel.IDEMPOTENCY_UNKNOWN,
      requestFields: reader(descriptor.input),
      responseFields: reader(descriptor.output),
      requestText: textPlans.of(descriptor.input),
      responseText: textPlans.of(descriptor.output),
    });
  }
  if (problems.size > 0) return { problems: [...problems] };
  const digest = createHash('sha256').update(source.descriptorSet).digest('hex');
  return {
    contract: {
      methods: classified,
      unclassifiedMethods,
      fieldPolicies,
      digest,
      version,
      registry,
      textPlans,
    },
  };
}

/** An overlay goes before the protos; files of one set can't state different versions. */
function statedVersion(
  { contractVersions }: PolicyOptions,
  overlays: readonly Overlay[],
  problems: Set<string>,
): string | null {
  const overlaid = overlays.findLast(({ contractVersion }) => contractVersion !== undefined)?.contractVersion;
  if (overlaid !== undefined) return overlaid;
  for (const { file, version } of contractVersions)
    if (!CONTRACT_VERSION_PATTERN.test(version))
      problems.add(`${file}: contract_version is "${version}"; expected a form such as 1.4.0`);
  const [first, ...others] = contractVersions;
  for (const { file, version } of others)
    if (version !== first?.version)
      problems.add(
        `${file} states contract ${version} and ${first?.file ?? ''} ${first?.version ?? ''}; expected one, or an overlay that says which`,
      );
  return first?.version ?? null;
}

function methodsOf(registry: FileRegistry): Map<string, DescMethod> {
  const methods = new Map<string, DescMethod>();
  for (const type of registry) {
    if (type.kind !== 'service') continue;
    for (const method of type.methods) methods.set(`/${type.typeName}/${method.name}`, method);
  }
  return methods;
}

function fieldsOf(registry: FileRegistry): Map<string, DescField> {
  const fields = new Map<string, DescField>();
  for (const type of registry) {
    if (type.kind !== 'message') continue;
    for (const field of type.fields) fields.set(fieldName(field), field);
  }
  return fields;
}

function fieldName(field: DescField): string {
  return `${field.parent.typeName}.${field.name}`;
}

function unknownNames(
  overlays: readonly Overlay[],
  section: 'methods' | 'fields',
  known: ReadonlyMap<string, unknown>,
): string[] {
  const strict = overlays.filter((overlay) => !overlay.partial);
  return strict.flatMap(({ fileName, [section]: entries }) => {
    const unknown = [...entries.keys()].filter((name) => !known.has(name));
    return unknown.map((name) => {
      const nearest = nearestName(name, known.keys());
      const hint = nearest === undefined ? '' : `; did you mean ${nearest}?`;
      return `${fileName}: ${section}: the descriptor set has no ${name}${hint}`;
    });
  });
}

function mergeFieldPolicies(
  registry: FileRegistry,
  fields: ReadonlyMap<string, DescField>,
  overlays: readonly Overlay[],
): Map<string, FieldPolicy> {
  const options = policyOptionsOf(registry);
  const policies = new Map<string, FieldPolicy>();
  for (const [name, field] of fields) {
    const policy = options.field(field);
    const overlaid = overlays.flatMap((overlay) => overlay.fields.get(name) ?? []);
    if (policy === undefined && overlaid.length === 0) continue;
    policies.set(
      name,
      overlaid.reduce<FieldPolicy>(
        (merged, next) => ({ ...merged, ...next }),
        policy ?? { role: 0, sensitivity: 0 },
      ),
    );
  }
  return policies;
}

function methodOverlay(overlays: readonly Overlay[], path: string): MethodOverlay {
  return overlays.reduce<MethodOverlay>(
    (merged, overlay) => ({ ...merged, ...overlay.methods.get(path) }),
    {},
  );
}

type MethodFacts = Required<Omit<MethodOverlay, 'idempotent'>> & Pick<MethodOverlay, 'idempotent'>;

function methodFacts(policy: MethodPolicy | undefined, overlay: MethodOverlay): MethodFacts {
  const deadlineMsMax = milliseconds(policy?.deadlineMax) ?? DEADLINE_MS_MAX_DEFAULT;
  return {
    permission: policy?.permission ?? '',
    costUnit: policy?.costUnit === CostUnitNumber.COST_UNIT_TOKENS ? 'tokens' : 'requests',
    deadlineMsDefault:
      milliseconds(policy?.deadlineDefault) ??
      Math.min(DEADLINE_MS_DEFAULT, overlay.deadlineMsMax ?? deadlineMsMax),
    deadlineMsMax,
    requestBytesMax: policy?.requestBytesMax || MESSAGE_BYTES_MAX_DEFAULT,
    responseBytesMax: policy?.responseBytesMax || MESSAGE_BYTES_MAX_DEFAULT,
    ...overlay,
  };
}

function milliseconds(duration: Duration | undefined): number | undefined {
  return duration === undefined
    ? undefined
    : Number(duration.seconds) * 1000 + Math.round(duration.nanos / 1e6);
}

function methodProblems(facts: MethodFacts): string[] {
  const problems: string[] = [];
  if (!PERMISSION_PATTERN.test(facts.permission)) {
    problems.push(`permission is "${facts.permission}"; expected a form such as inference.generate`);
  }
  for (const key of ['deadlineMsDefault', 'deadlineMsMax'] as const) {
    if (!(facts[key] >= 1)) problems.push(`${key} is ${facts[key]}; expected at least 1`);
  }
  if (facts.deadlineMsDefault > facts.deadlineMsMax) {
    problems.push(
      `deadlineMsDefault ${facts.deadlineMsDefault} is above deadlineMsMax ${facts.deadlineMsMax}`,
    );
  }
  return problems;
}
