/** What makes a request, a response or trailers malformed (RFC 9113 §8.1.1, §8.2, §8.3). */
import { type Field, FieldKind } from './field.ts';

const METHOD = 1;
const SCHEME = 2;
const PATH = 4;
const AUTHORITY = 8;

/** What a checked head says about the body. */
export class MessageHead {
  /** Why it is malformed, or '' when it is not. */
  fault = '';
  /** `:status`, 0 in a request. */
  status = 0;
  /** `content-length`, -1 when there is none. */
  contentLength = -1;
  /** The request's method is HEAD: its response has no body whatever its content-length says. */
  isHead = false;
}

const CONTENT_LENGTH = /^\d{1,15}$/;
const STATUS = /^[1-5]\d\d$/;

// Reused for every message: whoever asks reads it before the next one is checked.
const head = new MessageHead();

function fault(reason: string): MessageHead {
  head.fault = reason;
  return head;
}

function clear(): void {
  head.fault = '';
  head.status = 0;
  head.contentLength = -1;
  head.isHead = false;
}

export function checkRequest(fields: readonly Field[]): MessageHead {
  clear();
  let seen = 0;
  let regular = false;
  let method = '';
  let path = '';
  let authority = '';
  let host: string | null = null;
  for (let i = 0; i < fields.length; i++) {
    const field = fields[i] as Field;
    const kind = field.kind;
    if (kind >= FieldKind.METHOD && kind <= FieldKind.AUTHORITY) {
      const bit = 1 << (kind - FieldKind.METHOD);
      if (regular) return fault('pseudo-header field after a regular one');
      if ((seen & bit) !== 0) return fault('pseudo-header field twice');
      seen |= bit;
      if (kind === FieldKind.METHOD) method = field.value;
      else if (kind === FieldKind.PATH) path = field.value;
      else if (kind === FieldKind.AUTHORITY) authority = field.value;
      continue;
    }
    regular = true;
    if (kind === FieldKind.OTHER || kind > FieldKind.HOST) continue;
    if (kind === FieldKind.HOST) {
      if (host !== null) return fault('host twice');
      host = field.value;
    } else if (!regularField(field)) return head;
  }
  if (method === 'CONNECT') {
    if (seen !== (METHOD | AUTHORITY)) return fault('CONNECT with other pseudo-header fields');
  } else if ((seen & (METHOD | SCHEME | PATH)) !== (METHOD | SCHEME | PATH)) {
    return fault('pseudo-header field missing');
  } else if (!path.startsWith('/') && !(path === '*' && method === 'OPTIONS')) {
    return fault('path does not begin with /');
  }
  if (method === '') return fault('method empty');
  if (authority.includes('@')) return fault('userinfo in authority');
  if (host !== null && (seen & AUTHORITY) !== 0 && host.toLowerCase() !== authority.toLowerCase()) {
    return fault('host differs from authority');
  }
  head.isHead = method === 'HEAD';
  return head;
}

export function checkResponse(fields: readonly Field[]): MessageHead {
  clear();
  let regular = false;
  for (let i = 0; i < fields.length; i++) {
    const field = fields[i] as Field;
    const kind = field.kind;
    if (kind === FieldKind.STATUS) {
      if (regular || head.status !== 0) return fault('status twice or after a regular field');
      // Nearly all of them are 200, which needs no look at its digits.
      if (field.value === '200') head.status = 200;
      else if (!STATUS.test(field.value) || field.value === '101')
        return fault('status is not one of HTTP/2');
      else head.status = Number(field.value);
      continue;
    }
    regular = true;
    if (kind === FieldKind.OTHER || kind >= FieldKind.HOST) continue;
    if (!regularField(field)) return head;
  }
  return head.status === 0 ? fault('status missing') : head;
}

export function checkTrailers(fields: readonly Field[]): MessageHead {
  clear();
  for (let i = 0; i < fields.length; i++) {
    const field = fields[i] as Field;
    if (field.kind === FieldKind.OTHER || field.kind >= FieldKind.HOST) continue;
    if (!regularField(field)) return head;
  }
  return head;
}

/** Checks a field of any kind that is not legal everywhere; false when it made the message malformed. */
function regularField(field: Field): boolean {
  switch (field.kind) {
    case FieldKind.TE:
      if (field.value === 'trailers') return true;
      fault('te is not trailers');
      return false;
    case FieldKind.CONTENT_LENGTH:
      return contentLength(field.value);
    case FieldKind.FORBIDDEN:
      fault('connection-specific field');
      return false;
    case FieldKind.MALFORMED:
      fault('field holds excluded characters');
      return false;
    default:
      fault('pseudo-header field out of place');
      return false;
  }
}

function contentLength(value: string): boolean {
  const length = CONTENT_LENGTH.test(value) ? Number(value) : -1;
  if (length < 0 || (head.contentLength >= 0 && head.contentLength !== length)) {
    fault('content-length is not one number');
    return false;
  }
  head.contentLength = length;
  return true;
}
