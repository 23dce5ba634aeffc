import { type FieldEdit, spliceFields } from './splice-fields.ts';
import type { MessageNode, TextLeaf } from './text-leaf.ts';
import type { PlanStep, TextPlan, TextPlans } from './text-plan.ts';
import { DEPTH_MAX, END_GROUP, LENGTH_DELIMITED, START_GROUP, WireReader } from './wire-reader.ts';

const FOUND_MAX = 262_144;
const ANY_TYPE_URL = 1;
const ANY_VALUE = 2;

/**
 * Finds all text in an encoded message, and writes the message anew with other text. It steps through the bytes that there
 * are: what is not text, and what the contract does not know, stays as it is, byte for byte. As strict as FieldReader:
 * known fields must have their wire type, and embedded messages must end where their length says.
 *
 * One walker serves one thread, message by message; what it found is there until it walks again. Empty texts are left out, but
 * for deltas.
 */
export class TextWalker {
  readonly leaves: TextLeaf[] = [];
  /** Every message before those inside it. */
  readonly nodes: MessageNode[] = [];
  readonly #plans: TextPlans;
  readonly #wire = new WireReader();
  #depth = 0;

  constructor(plans: TextPlans) {
    this.#plans = plans;
  }

  /** Why the last walk failed. */
  get fault(): string {
    return this.#wire.fault;
  }

  /** @returns false when the message can't be read, or holds more than 262,144 texts and messages */
  walk(plan: TextPlan, buffer: Buffer, start: number, end: number): boolean {
    this.leaves.length = 0;
    this.nodes.length = 0;
    this.#depth = 0;
    this.#wire.begin(buffer, start);
    const root: MessageNode = {
      plan,
      step: null,
      parent: null,
      tagAt: start,
      lengthAt: -1,
      start,
      end,
      grownBytes: 0,
    };
    this.nodes.push(root);
    const isWhole = this.#message(root, end, 0);
    this.#wire.release();
    return isWhole;
  }

  /**
   * The message that was walked last, with these fields changed.
   * @param room bytes left free before it
   */
  rewrite(buffer: Buffer, edits: readonly FieldEdit[], room: number): Buffer {
    return spliceFields(buffer, this.nodes, edits, room);
  }

  /** Where a leaf stands, for people: `chat.messages[2].content`. A map's entries go by their place, not by their key. */
  pathOf(leaf: TextLeaf): string {
    const parts = [this.#nameOf(leaf.step, leaf.node, leaf.tagAt)];
    for (let node = leaf.node; node.step !== null && node.parent !== null; node = node.parent)
      parts.unshift(this.#nameOf(node.step, node.parent, node.tagAt));
    return parts.join('.');
  }

  #nameOf(step: PlanStep, holder: MessageNode, tagAt: number): string {
    if (!step.isRepeated) return step.name;
    const before =
      step.kind === 'message' || step.kind === 'any'
        ? this.nodes.filter((each) => each.step === step && each.parent === holder && each.tagAt < tagAt)
        : this.leaves.filter((each) => each.step === step && each.node === holder && each.tagAt < tagAt);
    return `${step.name}[${before.length}]`;
  }

  /** Reads fields up to `end`, or up to the end tag of group `group` where that is not 0. */
  #message(node: MessageNode, end: number, group: number): boolean {
    const wire = this.#wire;
    const { steps } = node.plan;
    if (++this.#depth > DEPTH_MAX) return wire.fail(`messages nested more than ${DEPTH_MAX} deep`);
    while (wire.position < end) {
      const tagAt = wire.position;
      const tag = wire.readTag(end);
      if (tag < 0) return false;
      const wireType = tag % 8;
      const number = (tag - wireType) / 8;
      if (wireType === END_GROUP && number === group) {
        node.end = tagAt;
        this.#depth--;
        return true;
      }
      const step = steps.get(number);
      if (step === undefined) {
        if (!wire.skip(number, wireType, end, this.#depth)) return false;
      } else if (wireType === step.wireType) {
        if (!this.#field(step, node, tagAt, end)) return false;
      } else if (step.kind === 'list' && wireType === LENGTH_DELIMITED) {
        if (!wire.skipPacked(step, end)) return false;
      } else
        return wire.fail(`${step.name} has wire type ${wireType} where the contract has ${step.wireType}`);
    }
    this.#depth--;
    return group === 0 || wire.fail(`group ${group} has no end`);
  }

  #field(step: PlanStep, node: MessageNode, tagAt: number, end: number): boolean {
    const wire = this.#wire;
    switch (step.kind) {
      case 'message':
        return this.#nested(step, node, tagAt, end);
      case 'any':
        return this.#any(step, node, tagAt, end);
      case 'text':
      case 'bytes': {
        const length = wire.readLength(end);
        if (length < 0) return false;
        const start = wire.position;
        wire.position += length;
        const isDelta = step.kind === 'text' && step.role === 'delta';
        return (
          (length === 0 && !isDelta) ||
          this.#found({ step, node, tagAt, start, end: wire.position, low: 0, high: 0 })
        );
      }
      case 'number':
      case 'usage':
      case 'key': {
        const start = wire.position;
        if (!wire.readScalar(step.wireType, end)) return false;
        const { low, high, position } = wire;
        return this.#found({ step, node, tagAt, start, end: position, low, high });
      }
      case 'list':
      case 'other':
        return wire.skip(step.number, step.wireType, end, this.#depth);
    }
  }

  #nested(step: PlanStep & { kind: 'message' }, parent: MessageNode, tagAt: number, end: number): boolean {
    if (step.wireType === START_GROUP) {
      const node = {
        plan: step.child,
        step,
        parent,
        tagAt,
        lengthAt: -1,
        start: this.#wire.position,
        end,
        grownBytes: 0,
      };
      return this.#enter(node) && this.#message(node, end, step.number);
    }
    const node = this.#delimited(step, parent, tagAt, end);
    if (node === null) return false;
    return this.#enter(node) && this.#message(node, node.end, 0);
  }

  /** The message behind a length. Null: the length is malformed. */
  #delimited(
    step: PlanStep & { kind: 'message' | 'any' },
    parent: MessageNode,
    tagAt: number,
    end: number,
  ): MessageNode | null {
    const lengthAt = this.#wire.position;
    const length = this.#wire.readLength(end);
    if (length < 0) return null;
    const start = this.#wire.position;
    return { plan: step.child, step, parent, tagAt, lengthAt, start, end: start + length, grownBytes: 0 };
  }

  /** What Any holds is gone into where its type is known, and is looked at as bytes where it is not. */
  #any(step: PlanStep & { kind: 'any' }, parent: MessageNode, tagAt: number, end: number): boolean {
    const wire = this.#wire;
    if (step.wireType === START_GROUP) return wire.fail(`${step.name} is a group`);
    const node = this.#delimited(step, parent, tagAt, end);
    if (node === null) return false;
    const firstLeaf = this.leaves.length;
    if (!this.#enter(node) || !this.#message(node, node.end, 0)) return false;
    const own = this.leaves.splice(firstLeaf);
    const urls = own.filter((leaf) => leaf.step.number === ANY_TYPE_URL);
    const values = own.filter((leaf) => leaf.step.number === ANY_VALUE);
    if (urls.length > 1 || values.length > 1)
      return wire.fail(`${step.name} holds more than one type or value`);
    this.leaves.push(...urls);
    const [url] = urls;
    const [value] = values;
    if (value === undefined) return true;
    const plan =
      url && this.#plans.named(typeNameIn(wire.buffer.toString('latin1', url.start, url.end)), step.bits);
    if (!plan) return this.#found(value);
    const held = { plan, step: value.step, parent: node, tagAt: value.tagAt };
    const inside = {
      ...held,
      lengthAt: value.start - lengthBytes(wire.buffer, value),
      start: value.start,
      end: value.end,
      grownBytes: 0,
    };
    const after = wire.position;
    wire.position = value.start;
    if (!this.#enter(inside) || !this.#message(inside, value.end, 0)) return false;
    wire.position = after;
    return true;
  }

  #enter(node: MessageNode): boolean {
    this.nodes.push(node);
    return this.#hasRoom();
  }

  #found(leaf: TextLeaf): boolean {
    this.leaves.push(leaf);
    return this.#hasRoom();
  }

  #hasRoom(): boolean {
    const isRoom = this.leaves.length + this.nodes.length <= FOUND_MAX;
    return isRoom || this.#wire.fail(`more than ${FOUND_MAX} texts and messages in one`);
  }
}

/** `type.googleapis.com/pkg.Message` */
function typeNameIn(typeUrl: string): string {
  return typeUrl.slice(typeUrl.lastIndexOf('/') + 1);
}

/** How many bytes the length before a value takes. */
function lengthBytes(buffer: Buffer, { start }: TextLeaf): number {
  let bytes = 1;
  while ((buffer[start - bytes - 1] as number) >= 0x80) bytes++;
  return bytes;
}
