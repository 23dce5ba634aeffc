import { isUtf8 } from 'node:buffer';
import { decodeStatusMessage, encodeStatusMessage, STATUS_DETAILS_KEY } from '@gatehouse/contracts';
import { type Field, FieldKind, field } from '../../http2/index.ts';
import type { Redactor } from '../redactor.ts';
import { type ProtectionRefusal, unreadable } from './protection-refusal.ts';
import type { TextProtection } from './text-protection.ts';

/**
 * What the sidecar has read and checked itself, or writes itself. An end-user token is for the app to check: changed, it
 * would be worth nothing.
 */
const NOT_TEXT: ReadonlySet<number> = new Set([
  FieldKind.METHOD,
  FieldKind.SCHEME,
  FieldKind.PATH,
  FieldKind.STATUS,
  FieldKind.TE,
  FieldKind.CONTENT_LENGTH,
  FieldKind.AUTHORIZATION,
  FieldKind.GRPC_STATUS,
  FieldKind.GRPC_TIMEOUT,
  FieldKind.TRACEPARENT,
]);
const BASE64 = /^[A-Za-z0-9+/_-]*={0,2}$/;
/** Fields in which nothing is found are remembered: most come with every call. */
const CLEAN_MAX = 512;
const CLEAN_BYTES_MAX = 512;

/** What was found to hold nothing, with these rules. */
export type CleanFields = Set<Field>;

/** Changes the fields of heads and trailers: metadata in both its forms, the status message and the status details. */
export class FieldProtection {
  readonly #texts: TextProtection;
  readonly #changeStatus: (encoded: Buffer) => Buffer | ProtectionRefusal | null;

  /** @param changeStatus changes google.rpc.Status; null: nothing has to change */
  constructor(texts: TextProtection, changeStatus: (encoded: Buffer) => Buffer | ProtectionRefusal | null) {
    this.#texts = texts;
    this.#changeStatus = changeStatus;
  }

  change(
    fields: readonly Field[],
    redactor: Redactor,
    clean: CleanFields,
  ): readonly Field[] | ProtectionRefusal {
    let changed: Field[] | null = null;
    for (const [place, each] of fields.entries()) {
      if (NOT_TEXT.has(each.kind) || clean.has(each)) {
        changed?.push(each);
        continue;
      }
      const hitsBefore = this.#texts.hits;
      const value = this.#name(each, redactor) ?? this.#value(each, redactor);
      if (typeof value === 'object' && value !== null) return value;
      if (value === each.value) {
        if (this.#texts.hits === hitsBefore) remember(each, clean);
        changed?.push(each);
        continue;
      }
      changed ??= fields.slice(0, place);
      if (value !== null) changed.push(field(each.name, value, { neverIndex: each.neverIndex }));
    }
    return changed ?? fields;
  }

  #name({ kind, name }: Field, redactor: Redactor): ProtectionRefusal | null {
    if (kind !== FieldKind.OTHER) return null;
    return this.#texts.check(name, redactor, () => 'the name of a metadata entry');
  }

  /** Null: the field goes no further. */
  #value({ kind, name, value }: Field, redactor: Redactor): string | ProtectionRefusal | null {
    if (kind === FieldKind.GRPC_MESSAGE) {
      const message = decodeStatusMessage(value);
      const changed = this.#texts.change(message, redactor, () => name);
      if (typeof changed !== 'string') return changed;
      return changed === message ? value : encodeStatusMessage(changed);
    }
    if (name === STATUS_DETAILS_KEY) return this.#statusDetails(value);
    return name.endsWith('-bin') ? this.#binary(name, value, redactor) : this.#ascii(name, value, redactor);
  }

  /** The status itself goes on where its details can't. */
  #statusDetails(value: string): string | ProtectionRefusal | null {
    if (!BASE64.test(value)) return null;
    const encoded = Buffer.from(value, 'base64');
    const changed = this.#changeStatus(encoded);
    if (Buffer.isBuffer(changed)) return toBase64(changed);
    if (changed === null) return value;
    return changed.kind !== 'protected' || changed.because === 'unwritable' ? null : changed;
  }

  /** Several values of one name may come joined by commas. */
  #binary(name: string, value: string, redactor: Redactor): string | ProtectionRefusal {
    const parts = value.split(',');
    for (const [place, part] of parts.entries()) {
      const encoded = part.trim();
      if (!BASE64.test(encoded)) return unreadable(this.#texts.direction, name, 'base64');
      const changed = this.#texts.changeBytes(Buffer.from(encoded, 'base64'), redactor, () => name);
      if (changed === null) continue;
      if (typeof changed !== 'string') return changed;
      parts[place] = toBase64(Buffer.from(changed));
    }
    return parts.join(',');
  }

  #ascii(name: string, value: string, redactor: Redactor): string | ProtectionRefusal {
    const bytes = Buffer.from(value, 'latin1');
    const text = isUtf8(bytes) ? bytes.toString('utf8') : value;
    const changed = this.#texts.change(text, redactor, () => name);
    if (typeof changed !== 'string') return changed;
    return changed === text
      ? value
      : Buffer.from(changed, isUtf8(bytes) ? 'utf8' : 'latin1').toString('latin1');
  }
}

function remember(clean: Field, all: CleanFields): void {
  if (clean.size > CLEAN_BYTES_MAX) return;
  if (all.size >= CLEAN_MAX) all.clear();
  all.add(clean);
}

/** Without padding, as gRPC asks senders for. */
function toBase64(bytes: Buffer): string {
  return bytes.toString('base64').replace(/=+$/, '');
}
