/**
 * Header fields as shared objects. A field that comes in again and again is decoded into one Field object
 * (see field-intern.ts), so that its name's meaning, its validity and its place in an encoder's table are found by
 * identity and no string is made.
 */
import { STATIC_TABLE } from './static-table.ts';

/** What a field's name means to HTTP/2 or to gRPC, as a small integer to switch on. */
export const FieldKind = {
  OTHER: 0,
  METHOD: 1,
  SCHEME: 2,
  PATH: 3,
  AUTHORITY: 4,
  STATUS: 5,
  /** A name with a colon in front that RFC 9113 §8.3 does not define. */
  UNKNOWN_PSEUDO: 6,
  /** Connection-specific names (RFC 9113 §8.2.2). */
  FORBIDDEN: 7,
  /** Name or value holds bytes that RFC 9113 §8.2.1 excludes. */
  MALFORMED: 8,
  TE: 9,
  CONTENT_LENGTH: 10,
  HOST: 11,
  CONTENT_TYPE: 12,
  AUTHORIZATION: 13,
  GRPC_STATUS: 14,
  GRPC_MESSAGE: 15,
  GRPC_TIMEOUT: 16,
  TRACEPARENT: 17,
  TRACESTATE: 18,
} as const;

/** How a name's values may enter an encoder's table (RFC 7541 §6.2). */
export const Indexing = { ALLOWED: 0, NOT: 1, NEVER: 2 } as const;

const KINDS: ReadonlyMap<string, number> = new Map<string, number>([
  [':method', FieldKind.METHOD],
  [':scheme', FieldKind.SCHEME],
  [':path', FieldKind.PATH],
  [':authority', FieldKind.AUTHORITY],
  [':status', FieldKind.STATUS],
  ['connection', FieldKind.FORBIDDEN],
  ['keep-alive', FieldKind.FORBIDDEN],
  ['proxy-connection', FieldKind.FORBIDDEN],
  ['transfer-encoding', FieldKind.FORBIDDEN],
  ['upgrade', FieldKind.FORBIDDEN],
  ['te', FieldKind.TE],
  ['content-length', FieldKind.CONTENT_LENGTH],
  ['host', FieldKind.HOST],
  ['content-type', FieldKind.CONTENT_TYPE],
  ['authorization', FieldKind.AUTHORIZATION],
  ['grpc-status', FieldKind.GRPC_STATUS],
  ['grpc-message', FieldKind.GRPC_MESSAGE],
  ['grpc-timeout', FieldKind.GRPC_TIMEOUT],
  ['traceparent', FieldKind.TRACEPARENT],
  ['tracestate', FieldKind.TRACESTATE],
]);

const NOT_INDEXED: readonly string[] = [
  'traceparent',
  'tracestate',
  'baggage',
  'grpc-timeout',
  'grpc-message',
  'grpc-status-details-bin',
  'grpc-trace-bin',
  'grpc-tags-bin',
  'content-length',
  'date',
  'x-request-id',
];
const NEVER_INDEXED: readonly string[] = ['authorization', 'proxy-authorization', 'cookie', 'set-cookie'];

// RFC 9110 §5.6.2 token, without the upper case that HTTP/2 excludes.
const NAME = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/;
// RFC 9113 §8.2.1 and RFC 9110 §5.5: no control characters but a tab inside, no blank at either end.
const VALUE = /^(?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?$/;

// What a pseudo-header field may hold beyond VALUE (RFC 9113 §8.3.1): RFC 9110 §9.1, RFC 3986 §3.1, no blanks in a
// target, and the characters of RFC 3986 §3.2 without userinfo, which `checkRequest` refuses with a reason of its own.
const PSEUDO_VALUES: ReadonlyMap<string, RegExp> = new Map([
  [':method', /^[!#$%&'*+\-.^_`|~0-9A-Za-z]*$/],
  [':scheme', /^[A-Za-z][A-Za-z0-9+\-.]*$/],
  [':path', /^[\x21-\x7e\x80-\xff]*$/],
  [':authority', /^[!$%&'()*+,\-.0-9:;=@A-Z[\]_a-z~]*$/],
]);

/** A field name with everything that depends on the name alone. */
export class FieldName {
  readonly text: string;
  readonly kind: number;
  readonly indexing: number;
  /** Index of the first row of the static table with this name, or 0. */
  readonly staticIndex: number;
  readonly hash: number;
  /** What its values must match. */
  readonly values: RegExp;

  constructor(text: string) {
    this.text = text;
    this.values = PSEUDO_VALUES.get(text) ?? VALUE;
    this.kind = kindOf(text);
    this.indexing = NEVER_INDEXED.includes(text)
      ? Indexing.NEVER
      : NOT_INDEXED.includes(text)
        ? Indexing.NOT
        : Indexing.ALLOWED;
    this.staticIndex = STATIC_TABLE.findIndex(([name]) => name === text) + 1;
    let hash = 0x811c9dc5;
    for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
    this.hash = hash;
  }
}

function kindOf(name: string): number {
  const known = KINDS.get(name);
  if (known !== undefined) return known;
  if (name.startsWith(':')) return FieldKind.UNKNOWN_PSEUDO;
  return NAME.test(name) ? FieldKind.OTHER : FieldKind.MALFORMED;
}

/** Names kept for reuse; names beyond it (a peer may invent any number) are made anew each time. */
const NAMES_MAX = 1024;
/** Longer names are not kept, so that a peer cannot fill memory with them. */
const NAME_BYTES_KEPT_MAX = 128;
const names = new Map<string, FieldName>();

export function fieldName(text: string): FieldName {
  const known = names.get(text);
  if (known !== undefined) return known;
  const made = new FieldName(text);
  if (names.size < NAMES_MAX && text.length <= NAME_BYTES_KEPT_MAX) names.set(text, made);
  return made;
}

/** One header field. Immutable to users; two fields with the same text may be different objects. */
export class Field {
  /** Lower case, latin1. */
  readonly name: string;
  /** latin1: one character is one byte on the wire. */
  readonly value: string;
  /** One of FieldKind. */
  readonly kind: number;
  /** Size in an HPACK table and in a header list (RFC 7541 §4.1): both lengths and 32. */
  readonly size: number;
  /** Sent as a never-indexed literal, and to be forwarded so (RFC 7541 §7.1.3). */
  readonly neverIndex: boolean;
  /** @internal */
  readonly fieldName: FieldName;
  /** @internal Index of the static row with this name and value, or 0. */
  readonly staticIndex: number;
  /** @internal An encoder has written this object before: it is worth a place in a table. */
  reused = false;
  /** @internal Id of the encoder's table that it was last put or found in, 0 before; and its number there. */
  tableId = 0;
  /** @internal */
  tableNumber = 0;

  /** @param wellFormed the value needs no check */
  constructor(name: FieldName, value: string, neverIndex: boolean, wellFormed = false) {
    this.name = name.text;
    this.value = value;
    this.kind = wellFormed || name.values.test(value) ? name.kind : FieldKind.MALFORMED;
    this.size = name.text.length + value.length + 32;
    this.neverIndex = neverIndex || name.indexing === Indexing.NEVER;
    this.fieldName = name;
    this.staticIndex = name.staticIndex === 0 || this.neverIndex ? 0 : staticRow(name, value);
  }
}

function staticRow(name: FieldName, value: string): number {
  for (let row = name.staticIndex; row <= STATIC_TABLE.length; row++) {
    const [rowName, rowValue] = STATIC_TABLE[row - 1] as readonly [string, string];
    if (rowName !== name.text) return 0;
    if (rowValue === value) return row;
  }
  return 0;
}

/**
 * Builds a field. Keep the object and reuse it when the value repeats: an encoder indexes it by identity.
 * @param name lower case token, or a pseudo-header name of RFC 9113 §8.3
 * @param value latin1 without control characters (tab allowed inside) and without blanks at the ends
 * @param opts neverIndex: never enters any HPACK table on the way (RFC 7541 §7.1.3); `authorization`,
 *   `proxy-authorization` and cookies are treated so without being told
 * @throws TypeError when name or value may not stand in an HTTP/2 header block
 */
export function field(name: string, value: string, opts?: { readonly neverIndex?: boolean }): Field {
  const made = new Field(fieldName(name), value, opts?.neverIndex === true);
  if (made.kind >= FieldKind.UNKNOWN_PSEUDO && made.kind <= FieldKind.MALFORMED) {
    throw new TypeError(`not a field that HTTP/2 can carry: ${JSON.stringify(name)}`);
  }
  return made;
}

/**
 * A maker of fields of one name whose values are known to be well-formed, for what is made anew with every call.
 * @param name lower case token that is not in the static table; its values never fail the check that `field` makes
 */
export function fieldMaker(name: string): (value: string) => Field {
  const made = fieldName(name);
  return (value) => new Field(made, value, false, true);
}

/** @internal Rows of the static table as fields, in order. */
export const STATIC_FIELDS: readonly Field[] = STATIC_TABLE.map(
  ([name, value]) => new Field(fieldName(name), value, false),
);
