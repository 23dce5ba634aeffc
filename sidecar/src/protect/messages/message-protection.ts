import {
  type FieldEdit,
  type MessageNode,
  numberText,
  type TextLeaf,
  type TextPlan,
  type TextWalker,
} from '@gatehouse/contracts';
import type { Field } from '../../http2/index.ts';
import type { PlaceholderBook } from '../placeholder-book.ts';
import type { Redactor } from '../redactor.ts';
import type { Hit } from '../text-window.ts';
import { DeltaTexts, frame, isPiece } from './delta-texts.ts';
import { FieldProtection } from './field-protection.ts';
import { inflateMessage } from './inflate-message.ts';
import { type ProtectionRefusal, type TrafficDirection, unreadable } from './protection-refusal.ts';
import type { RuleSet } from './rule-set.ts';
import { keysOf } from './text-key.ts';
import { TextProtection } from './text-protection.ts';

const FRAME_BYTES = 5;
const NOTHING: Buffer = Buffer.alloc(0);
/** Of texts that concatenate over a stream, in one message. */
const PIECES_MAX = 1024;

/** What one direction of a call is protected by and with. */
export interface ProtectionParts {
  readonly direction: TrafficDirection;
  readonly plan: TextPlan;
  /** Of google.rpc.Status; null where the contract does not have it. */
  readonly statusPlan: TextPlan | null;
  /** More than one message may come, and so a text in pieces. */
  readonly isStream: boolean;
  /** Of a message when it is inflated. */
  readonly bytesMax: number;
  readonly walker: TextWalker;
  /** Those that hold for the present message. */
  readonly rules: () => RuleSet;
  readonly book: PlaceholderBook;
  readonly onHits: (hits: readonly Hit[]) => void;
}

/**
 * One direction of one call: every text that a protection concerns is looked at, in messages, metadata and status, and
 * what is found is replaced, refused or counted. What is not changed goes on as the bytes that came.
 */
export class MessageProtection {
  readonly #parts: ProtectionParts;
  readonly #texts: TextProtection;
  /** Null where one message comes: all its texts are whole. */
  readonly #deltas: DeltaTexts | null;
  #encoding = 'identity';

  constructor(parts: ProtectionParts) {
    this.#parts = parts;
    this.#texts = new TextProtection(parts);
    this.#deltas = parts.isStream ? new DeltaTexts(parts.plan, parts.walker, this.#texts) : null;
  }

  /** A head, or trailers. */
  fields(fields: readonly Field[]): readonly Field[] | ProtectionRefusal {
    for (const { name, value } of fields) if (name === 'grpc-encoding') this.#encoding = value;
    const { everything, clean } = this.#parts.rules();
    if (everything === null) return fields;
    const protection = new FieldProtection(this.#texts, (encoded) => this.#status(encoded, everything));
    return protection.change(fields, everything, clean);
  }

  /** One whole message with its framing. */
  message(framed: Buffer): Buffer | ProtectionRefusal {
    const { direction, plan, bytesMax } = this.#parts;
    let buffer = framed;
    let start = FRAME_BYTES;
    if (framed[0] === 1) {
      const inflated = inflateMessage(framed.subarray(FRAME_BYTES), this.#encoding, bytesMax);
      if ('expected' in inflated) return unreadable(direction, inflated.field, inflated.expected);
      buffer = inflated;
      start = 0;
    }
    const out = this.#rewrite(plan, buffer, start, this.#deltas);
    if (out !== null && 'kind' in out) return out;
    return this.#inOrder(out ?? framed, { buffer, start, rewritten: out });
  }

  /** No message follows. */
  end(): Buffer | ProtectionRefusal {
    const last = this.#deltas?.end() ?? NOTHING;
    return 'refused' in last ? this.#texts.refusal(last, 'message') : last;
  }

  /** Before a message that is no piece of a text comes what is held back of texts that it is about. */
  #inOrder(
    out: Buffer,
    {
      buffer,
      start,
      rewritten,
    }: { readonly buffer: Buffer; readonly start: number; readonly rewritten: Buffer | null },
  ): Buffer | ProtectionRefusal {
    if (this.#deltas === null) return out;
    const { leaves, nodes } = this.#parts.walker;
    if (leaves.some(isPiece) || nodes.some(isDelta)) {
      if (rewritten !== null || !this.#deltas.isHolding) this.#deltas.passed(out);
      else this.#deltas.passed(copyOf(buffer, start));
      return out;
    }
    const before = this.#deltas.interrupted(keysOf(null, leaves, buffer));
    if ('refused' in before) return this.#texts.refusal(before, 'message');
    return before.length === 0 ? out : Buffer.concat([before, out]);
  }

  /** @returns the message with other texts, framed; null when it stays as it is */
  #rewrite(
    plan: TextPlan,
    buffer: Buffer,
    start: number,
    deltas: DeltaTexts | null,
  ): Buffer | ProtectionRefusal | null {
    const { walker, direction } = this.#parts;
    const rules = this.#parts.rules();
    if (!walker.walk(plan, buffer, start, buffer.length))
      return unreadable(direction, 'message', `protobuf of ${plan.typeName} (${walker.fault})`);
    const edits: FieldEdit[] = [];
    let pieces = 0;
    for (const leaf of walker.leaves) {
      const piece = deltas !== null && isPiece(leaf) ? pieces++ : -1;
      const redactor = 'bits' in leaf.step ? rules.forBits(leaf.step.bits) : null;
      if (redactor === null) continue;
      const edit =
        deltas === null || piece < 0
          ? this.#whole(leaf, redactor, buffer)
          : this.#piece({ leaf, piece, deltas }, redactor, buffer);
      if (edit === null) continue;
      if ('kind' in edit) return edit;
      edits.push(edit);
    }
    return edits.length === 0 ? null : frame(walker.rewrite(buffer, edits, FRAME_BYTES));
  }

  /** A piece of a text that concatenates over the stream. */
  #piece(
    { leaf, piece, deltas }: { readonly leaf: TextLeaf; readonly piece: number; readonly deltas: DeltaTexts },
    redactor: Redactor,
    buffer: Buffer,
  ): FieldEdit | ProtectionRefusal | null {
    const { walker, direction } = this.#parts;
    const where = (): string => walker.pathOf(leaf);
    if (piece >= PIECES_MAX) return this.#texts.refusal({ refused: '', because: 'too-many-texts' }, where());
    if (isOverridden(leaf, walker.leaves)) return unreadable(direction, where(), 'one value');
    const text = this.#texts.read(buffer, leaf.start, leaf.end);
    if (text === null) return unreadable(direction, where(), 'valid UTF-8');
    const next = deltas.push({ leaf, text, piece }, redactor, buffer);
    if (typeof next !== 'string') return this.#texts.refusal(next, where());
    return next === text ? null : { leaf, value: next };
  }

  /** A value that stands for itself. */
  #whole(leaf: TextLeaf, redactor: Redactor, buffer: Buffer): FieldEdit | ProtectionRefusal | null {
    const { step } = leaf;
    const where = (): string => this.#parts.walker.pathOf(leaf);
    if (step.kind === 'number') {
      const text = numberText(step.scalar, leaf);
      const changed = this.#texts.change(text, redactor, where);
      if (typeof changed !== 'string') return changed;
      if (changed === text) return null;
      return step.textNumber === null
        ? { leaf, value: null }
        : { leaf, value: changed, asText: step.textNumber };
    }
    const bytes = buffer.subarray(leaf.start, leaf.end);
    const changed =
      step.kind === 'bytes'
        ? this.#texts.changeBytes(bytes, redactor, where)
        : this.#texts.changeUtf8(bytes, redactor, where);
    return typeof changed === 'string' ? { leaf, value: changed } : changed;
  }

  #status(encoded: Buffer, redactor: Redactor): Buffer | ProtectionRefusal | null {
    const { statusPlan } = this.#parts;
    if (statusPlan === null)
      return this.#texts.check(encoded.toString('latin1'), redactor, () => 'status details');
    const out = this.#rewrite(statusPlan, encoded, 0, null);
    return out === null || 'kind' in out ? out : out.subarray(FRAME_BYTES);
  }
}

/** What came is valid during the call alone. */
function copyOf(buffer: Buffer, start: number): Buffer {
  const copy = Buffer.allocUnsafe(FRAME_BYTES + buffer.length - start);
  buffer.copy(copy, FRAME_BYTES, start);
  return frame(copy);
}

function isDelta(node: MessageNode): boolean {
  return node.plan.isDelta;
}

/** Decoders keep the last of a field that may come once: what stands before it would be taken for part of the text. */
function isOverridden(leaf: TextLeaf, leaves: readonly TextLeaf[]): boolean {
  if (leaf.step.isRepeated) return false;
  // What one would take the place of the other of stands in one message, so the nearest before it tells.
  for (let place = leaves.indexOf(leaf) - 1; place >= 0; place--) {
    const other = leaves[place] as TextLeaf;
    if (other.step === leaf.step) return !isApart(other.node, leaf.node);
  }
  return false;
}

/** Whether two messages are, or stand in, different elements of something repeated. */
function isApart(one: MessageNode, other: MessageNode): boolean {
  let [left, right]: [MessageNode | null, MessageNode | null] = [one, other];
  while (left !== null && right !== null && left !== right) {
    if (left.step?.isRepeated === true) return true;
    left = left.parent;
    right = right.parent;
  }
  return false;
}
