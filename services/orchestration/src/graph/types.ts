import { ValueType } from '@gatehouse/contracts/orchestration';

/** What is known of a value before it exists. `any` is known only when the graph runs. */
export type Type =
  | { readonly kind: 'string' | 'number' | 'boolean' | 'vector' | 'null' | 'any' }
  | { readonly kind: 'list'; readonly item: Type }
  /** Without `fields` nothing is known of its keys; when `open`, it may have more keys than these. */
  | { readonly kind: 'object'; readonly fields?: Readonly<Record<string, Type>>; readonly open?: boolean };

/** A value of JSON, which is what graphs pass along. A vector is a list of numbers. */
export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json };

export const ANY: Type = { kind: 'any' };
export const STRING: Type = { kind: 'string' };
export const NUMBER: Type = { kind: 'number' };
export const VECTOR: Type = { kind: 'vector' };

/** The type that a declared input stands for. */
export function declaredType(type: ValueType): Type {
  switch (type) {
    case ValueType.VALUE_TYPE_STRING:
      return STRING;
    case ValueType.VALUE_TYPE_NUMBER:
      return NUMBER;
    case ValueType.VALUE_TYPE_BOOLEAN:
      return { kind: 'boolean' };
    case ValueType.VALUE_TYPE_LIST:
      return { kind: 'list', item: ANY };
    case ValueType.VALUE_TYPE_OBJECT:
      return { kind: 'object' };
    case ValueType.VALUE_TYPE_VECTOR:
      return VECTOR;
    case ValueType.VALUE_TYPE_UNSPECIFIED:
    case ValueType.UNRECOGNIZED:
      return ANY;
  }
}

/** The type as an error names it: `a list of objects`, `a string`. */
export function describeType(type: Type): string {
  if (type.kind === 'list') {
    return type.item.kind === 'any' ? 'a list' : `a list of ${plural(type.item)}`;
  }
  if (type.kind === 'any') return 'a value of unknown type';
  return type.kind === 'null' ? 'null' : `${type.kind === 'object' ? 'an' : 'a'} ${type.kind}`;
}

function plural(type: Type): string {
  if (type.kind === 'list') return 'lists';
  return type.kind === 'null' ? 'nulls' : `${type.kind}s`;
}

/** Whether a value of type `from` can stand where `to` is expected. What is unknown is left to the run. */
export function isAssignable(from: Type, to: Type): boolean {
  if (from.kind === 'any' || to.kind === 'any') return true;
  if (to.kind === 'vector') {
    return from.kind === 'vector' || (from.kind === 'list' && isAssignable(from.item, NUMBER));
  }
  if (to.kind === 'list') {
    if (from.kind === 'vector') return isAssignable(NUMBER, to.item);
    return from.kind === 'list' && isAssignable(from.item, to.item);
  }
  if (to.kind === 'object') {
    if (from.kind !== 'object') return false;
    const { fields: has } = from;
    if (!has || !to.fields) return true;
    return Object.entries(to.fields).every(([key, field]) => {
      const given = Object.hasOwn(has, key) ? has[key] : undefined;
      return given === undefined ? from.open === true || field.kind === 'any' : isAssignable(given, field);
    });
  }
  return from.kind === to.kind;
}

/** The one type that covers both; `any` when they differ. */
export function joinTypes(one: Type, other: Type): Type {
  if (one.kind === 'list' && other.kind === 'list') {
    return { kind: 'list', item: joinTypes(one.item, other.item) };
  }
  if (one.kind === 'object' && other.kind === 'object') {
    if (!one.fields || !other.fields || !sameFields(one.fields, other.fields)) return { kind: 'object' };
    return { kind: 'object', fields: one.fields, open: one.open === true || other.open === true };
  }
  return one.kind === other.kind ? one : ANY;
}

function sameFields(one: Readonly<Record<string, Type>>, other: Readonly<Record<string, Type>>): boolean {
  const keys = Object.keys(one);
  return (
    keys.length === Object.keys(other).length &&
    keys.every((key) => {
      const a = one[key];
      const b = Object.hasOwn(other, key) ? other[key] : undefined;
      return a !== undefined && b !== undefined && isAssignable(a, b) && isAssignable(b, a);
    })
  );
}

/** The type of a value that is there. */
export function typeOfValue(value: Json): Type {
  if (value === null) return { kind: 'null' };
  if (isJsonList(value)) {
    if (value.length > 0 && value.every((item) => typeof item === 'number')) return VECTOR;
    return {
      kind: 'list',
      item: value.map(typeOfValue).reduce<Type | undefined>(joinOrFirst, undefined) ?? ANY,
    };
  }
  if (typeof value === 'object') {
    return {
      kind: 'object',
      fields: Object.fromEntries(Object.entries(value).map(([key, item]) => [key, typeOfValue(item)])),
    };
  }
  return typeof value === 'string' ? STRING : typeof value === 'number' ? NUMBER : { kind: 'boolean' };
}

function joinOrFirst(joined: Type | undefined, next: Type): Type {
  return joined === undefined ? next : joinTypes(joined, next);
}

/** Array.isArray for values of JSON, whose lists are read-only. */
export function isJsonList(value: Json): value is readonly Json[] {
  return Array.isArray(value);
}
