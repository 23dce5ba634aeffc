import type { FieldEdit, PlanStep, TextLeaf, TextPlan, TextWalker } from '@gatehouse/contracts';
import type { Redactor } from '../redactor.ts';
import type { Hit, Redacted, TextWindow } from '../text-window.ts';
import { isAbout, keysOf, type TextKeys } from './text-key.ts';
import type { TextProtection, TextRefusal } from './text-protection.ts';

/** Texts of one direction of one call that are followed at the same time. */
const TEXTS_MAX = 1024;
const FRAME_BYTES = 5;
const NOTHING: Buffer = Buffer.alloc(0);

/** One text that concatenates over the messages of a stream. */
interface DeltaText {
  readonly id: PlanStep | string;
  readonly keys: TextKeys;
  readonly window: TextWindow;
  /** The last message that held a piece of it, as it went on, with its framing; null while nothing is held back. */
  carrier: Buffer | null;
  /** Which of the pieces in the carrier is one of this text. */
  carried: number;
  /** Went on already, before the text was known to go on: what the window lets go next has to begin with it. */
  owed: string;
  /** Let go and not sent: the first half of a character, or what has yet to be compared with what is owed. */
  pending: string;
  /** A message that names this text's keys has ended it. */
  isOver: boolean;
}

/**
 * The texts that interleave in one direction of a call, each with a window of its own. What a window holds back goes on
 * with the next piece of that text, before a message that is about the text and no piece of it, or at the end; it then
 * travels in a copy of the last message that held a piece. Counts of tokens in that copy are the largest seen, so that
 * they don't go backwards.
 */
export class DeltaTexts {
  readonly #texts = new Map<PlanStep | string, DeltaText>();
  readonly #plan: TextPlan;
  readonly #walker: TextWalker;
  readonly #protection: TextProtection;
  readonly #used = new Map<PlanStep, { readonly low: number; readonly high: number }>();
  /** Texts with a piece in the present message, and which of its pieces that is. */
  readonly #touched: { readonly text: DeltaText; readonly piece: number }[] = [];

  constructor(plan: TextPlan, walker: TextWalker, protection: TextProtection) {
    this.#plan = plan;
    this.#walker = walker;
    this.#protection = protection;
  }

  /**
   * A piece has come, the `piece`th of the message that the walker is at.
   * @returns what goes on in its place
   */
  push(
    { leaf, text, piece }: { readonly leaf: TextLeaf; readonly text: string; readonly piece: number },
    redactor: Redactor,
    buffer: Buffer,
  ): string | TextRefusal {
    const followed = this.#find(leaf, redactor, buffer);
    if (followed === null) return { refused: '', because: 'too-many-texts' };
    followed.isOver = false;
    this.#touched.push({ text: followed, piece });
    const released = followed.window.push(text);
    if ('refused' in released) return released;
    this.#protection.count(released.hits);
    return settle(followed, released);
  }

  /** The message with these pieces goes on. @param framed as it does; kept, and not to be written to any more */
  passed(framed: Buffer): void {
    for (const leaf of this.#walker.leaves) if (leaf.step.kind === 'usage') this.#count(leaf);
    for (const { text, piece } of this.#touched) {
      text.carrier = text.window.isHolding || text.pending !== '' ? framed : null;
      text.carried = piece;
    }
    this.#touched.length = 0;
  }

  /** Whether a text of the present message is held back in part, so that the message has to be kept. */
  get isHolding(): boolean {
    return this.#touched.some(({ text }) => text.window.isHolding || text.pending !== '');
  }

  /**
   * A message comes that is no piece of any text, and goes by these keys.
   * @returns messages that go on before it, framed, or why not
   */
  interrupted(keys: TextKeys): Buffer | TextRefusal {
    const carriers: Buffer[] = [];
    for (const text of this.#texts.values()) {
      if (!isAbout(keys, text.keys)) continue;
      if (keys.size > 0) text.isOver = true;
      const held = text.window.preview();
      if ('refused' in held) return held;
      const next = text.pending + held.text;
      if (next === text.owed) continue;
      if (!next.startsWith(text.owed)) return changedAfterwards(held.hits);
      this.#carry(text, next.slice(text.owed.length), carriers);
      text.owed = next;
    }
    return join(carriers);
  }

  /** The stream ends. @returns messages that go on before its end, framed, or why not */
  end(): Buffer | TextRefusal {
    const carriers: Buffer[] = [];
    for (const text of this.#texts.values()) {
      const last = text.window.end();
      if ('refused' in last) return last;
      this.#protection.count(last.hits);
      const next = text.pending + last.text;
      if (!next.startsWith(text.owed)) return changedAfterwards(last.hits);
      this.#carry(text, next.slice(text.owed.length), carriers);
    }
    this.#texts.clear();
    return join(carriers);
  }

  #find(leaf: TextLeaf, redactor: Redactor, buffer: Buffer): DeltaText | null {
    const keys = keysOf(leaf, this.#walker.leaves, buffer);
    const id = keys.size === 0 ? leaf.step : idOf(leaf, keys);
    const known = this.#texts.get(id);
    if (known !== undefined) return known;
    if (this.#texts.size >= TEXTS_MAX && !this.#forgetOne()) return null;
    const window = redactor.window(this.#protection.book);
    const text = { id, keys, window, carrier: null, carried: 0, owed: '', pending: '', isOver: false };
    this.#texts.set(id, text);
    return text;
  }

  #forgetOne(): boolean {
    for (const { id, isOver } of this.#texts.values()) if (isOver) return this.#texts.delete(id);
    return false;
  }

  #count({ step, low, high }: TextLeaf): void {
    const most = this.#used.get(step);
    const isMore =
      most === undefined ||
      high >>> 0 > most.high >>> 0 ||
      (high === most.high && low >>> 0 > most.low >>> 0);
    if (isMore) this.#used.set(step, { low, high });
  }

  /** A copy of the text's last message with this as its piece, and no piece of any other. */
  #carry(text: DeltaText, piece: string, carriers: Buffer[]): void {
    const { carrier, carried } = text;
    if (piece === '') return;
    if (carrier === null) throw new Error('text is held back without a message to carry it');
    const walker = this.#walker;
    if (!walker.walk(this.#plan, carrier, FRAME_BYTES, carrier.length))
      throw new Error('a message cannot be read that was written here');
    const edits: FieldEdit[] = [];
    let pieces = 0;
    for (const leaf of walker.leaves) {
      const { step } = leaf;
      if (step.kind === 'usage')
        edits.push({ leaf, value: encodeNumber(step, this.#used.get(step) ?? leaf) });
      else if (isPiece(leaf)) edits.push({ leaf, value: pieces++ === carried ? piece : '' });
    }
    carriers.push(frame(walker.rewrite(carrier, edits, FRAME_BYTES)));
  }
}

export function isPiece({ step }: TextLeaf): boolean {
  return step.kind === 'text' && step.role === 'delta';
}

function idOf({ node, step }: TextLeaf, keys: TextKeys): string {
  return JSON.stringify([node.plan.typeName, step.name, ...keys]);
}

/** Writes the five bytes of framing that were left free (gRPC over HTTP/2, "Length-Prefixed-Message"). */
export function frame(message: Buffer): Buffer {
  message[0] = 0;
  message.writeUInt32BE(message.length - FRAME_BYTES, 1);
  return message;
}

/** What goes on now of what the window has let go: without what went on already, and no half of a character. */
function settle(text: DeltaText, released: Redacted): string | TextRefusal {
  let next = text.pending + released.text;
  text.pending = '';
  if (text.owed !== '') {
    if (next.length < text.owed.length) {
      text.pending = next;
      return text.owed.startsWith(next) ? '' : changedAfterwards(released.hits);
    }
    if (!next.startsWith(text.owed)) return changedAfterwards(released.hits);
    next = next.slice(text.owed.length);
    text.owed = '';
  }
  const last = next === '' ? 0 : next.charCodeAt(next.length - 1);
  if (last < 0xd800 || last > 0xdbff) return next;
  text.pending = next.slice(-1);
  return next.slice(0, -1);
}

/** The end of a text went on when the text seemed over; it goes on, and what went turns out to begin a match. */
function changedAfterwards([hit]: readonly Hit[]): TextRefusal {
  return { refused: hit?.detector ?? '', because: 'unwritable' };
}

function join(messages: readonly Buffer[]): Buffer {
  const [first = NOTHING, ...others] = messages;
  return others.length === 0 ? first : Buffer.concat(messages);
}

function encodeNumber(
  { wireType }: PlanStep,
  { low, high }: { readonly low: number; readonly high: number },
): Buffer {
  if (wireType === 0) return encodeVarint(low, high);
  const bytes = Buffer.alloc(wireType === 1 ? 8 : 4);
  bytes.writeInt32LE(low);
  if (wireType === 1) bytes.writeInt32LE(high, 4);
  return bytes;
}

function encodeVarint(low: number, high: number): Buffer {
  let rest = (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0);
  const bytes: number[] = [];
  for (; rest >= 0x80n; rest >>= 7n) bytes.push(Number(rest & 0x7fn) | 0x80);
  return Buffer.from([...bytes, Number(rest)]);
}
