import { type Contract, nearestName } from '@gatehouse/contracts';
import { z } from 'zod';
import { parseIdentityPattern } from './identity-pattern.ts';

export const NAMES_MAX = 1000;
const LABELS_MAX = 32;

/** Checks between keys run although a key has a problem of its own, so that all problems show at once. */
export const ALWAYS = {
  when: ({ value }: { value: unknown }) => typeof value === 'object' && value !== null,
};

/** Names of an enum, with or without the prefix that protobuf asks for. */
export function enumSchema<Name extends string>(prefix: string, names: readonly Name[]) {
  const all = [...names, ...names.map((name) => `${prefix}${name}` as const)];
  return z.enum(all, `expected one of ${names.join(', ')}`);
}

/** Names by which refusals, spans and audit records speak of an entry. */
export const entryId = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/, 'expected letters, digits, `.`, `_` and `-`');

/** What every entry may say of itself to people. */
export const aboutEntry = {
  description: z.string().max(4096).optional(),
  owner: z.string().max(256, 'expected at most 256 characters').optional(),
  labels: z
    .record(
      z.string().regex(/^[a-z][a-z0-9_.-]{0,62}$/, 'expected lower case letters, digits, `_`, `.` and `-`'),
      z.string().max(256, 'expected at most 256 characters'),
    )
    .refine((labels) => Object.keys(labels).length <= LABELS_MAX, `expected at most ${LABELS_MAX} labels`)
    .optional(),
};

export const identitiesSchema = z
  .array(
    z.string().refine((text) => parseIdentityPattern(text) !== undefined, {
      error: 'expected a SPIFFE ID such as spiffe://gatehouse.local/ns/*/sa/inference, `**` only at the end',
    }),
  )
  .min(1, 'expected at least one identity')
  .max(NAMES_MAX);

export const modelsSchema = z
  .array(
    z
      .string()
      .regex(/^[^@]+(@[^@]+)?$/, 'expected a model name, or name@version')
      .max(256, 'expected at most 256 characters'),
  )
  .min(1, 'expected at least one model; without the key any model matches')
  .max(NAMES_MAX);

const METHOD_PATTERN = /^(\w+\.)*\w+\/(\w+|\*)$/;
const METHOD_FORM = 'expected pkg.Service/Method or pkg.Service/*';

export function methodSchema(contract: Contract | undefined) {
  if (contract === undefined) return z.string().regex(METHOD_PATTERN, METHOD_FORM);
  const names = [...contract.methods.keys()].map((path) => path.slice(1));
  const services = [...contract.methods.values()].map((method) => `${method.service}/*`);
  const known = new Set([...names, ...services]);
  return z.string().refine((name) => known.has(name), {
    error: ({ input }) => {
      if (!METHOD_PATTERN.test(String(input))) return METHOD_FORM;
      return contract.unclassifiedMethods.includes(`/${String(input)}`)
        ? 'expected a method with a permission; the contract gives this one none, so nobody may call it'
        : `expected a method of the contract${suggestion(input, known)}`;
    },
  });
}

export function permissionSchema(contract: Contract | undefined) {
  if (contract === undefined) return z.string().min(1);
  const known = new Set([...contract.methods.values()].map((method) => method.permission));
  return z.string().refine((name) => known.has(name), {
    error: ({ input }) => `expected a permission of the contract${suggestion(input, known)}`,
  });
}

/** How the nearest known name is offered; empty where none is near. */
export function suggestion(name: unknown, known: Iterable<string>): string {
  // Documents that are being checked may have anything for a name.
  const texts = [...known].filter((text) => typeof text === 'string');
  const nearest = nearestName(String(name), texts);
  return nearest === undefined ? '' : `; did you mean ${nearest}?`;
}

/** The methods that a rule, a limit or a protection names, by path. */
export function pathsOf(
  rule: { readonly methods?: readonly string[]; readonly permissions?: readonly string[] },
  contract: Contract,
): string[] {
  const index = indexOf(contract);
  const paths = new Set<string>();
  for (const name of rule.methods ?? []) for (const path of index.byName.get(name) ?? []) paths.add(path);
  for (const permission of rule.permissions ?? [])
    for (const path of index.byPermission.get(permission) ?? []) paths.add(path);
  return [...paths];
}

interface PathIndex {
  /** By `pkg.Service/Method` and `pkg.Service/*`. */
  readonly byName: ReadonlyMap<string, readonly string[]>;
  readonly byPermission: ReadonlyMap<string, readonly string[]>;
}

/** Thousands of rules ask for the methods of one contract. */
const PATHS = new WeakMap<Contract, PathIndex>();

function indexOf(contract: Contract): PathIndex {
  let index = PATHS.get(contract);
  if (index === undefined) {
    const methods = [...contract.methods.values()];
    const grouped = (keysOf: (method: (typeof methods)[number]) => readonly string[]) => {
      const groups = new Map<string, string[]>();
      for (const method of methods)
        for (const key of keysOf(method)) groups.set(key, [...(groups.get(key) ?? []), method.path]);
      return groups;
    };
    index = {
      byName: grouped(({ path, service }) => [path.slice(1), `${service}/*`]),
      byPermission: grouped(({ permission }) => [permission]),
    };
    PATHS.set(contract, index);
  }
  return index;
}

/** The list, or an empty one in place of what has a problem of its own. */
export function listOf<T>(list: readonly T[] | undefined): readonly T[] {
  return Array.isArray(list)
    ? (list as readonly T[]).filter((entry) => entry !== null && entry !== undefined)
    : [];
}
