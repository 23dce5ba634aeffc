import type { MessageNode, TextLeaf } from './text-walker.ts';
import { LENGTH_DELIMITED } from './wire-reader.ts';

/** What takes the place of a field: a value, under another field's number where one is given; null: nothing does. */
export interface FieldEdit {
  readonly leaf: TextLeaf;
  /** The value of a delimited field; of a number its bytes as they are encoded. */
  readonly value: string | Buffer | null;
  /** Writes a delimited field of this number in place of a number. */
  readonly asText?: number;
}

/** Bytes of the message that others take the place of. */
interface Cut {
  readonly from: number;
  readonly to: number;
  /** Written first, as varints; -1: not written. */
  readonly tag: number;
  readonly length: number;
  readonly value: string | Buffer;
  readonly valueBytes: number;
}

/**
 * Writes an encoded message with some fields changed: only they and the lengths of the messages around them differ.
 * @param nodes the messages in it, each before those inside it, the whole first
 * @param room bytes left free before it
 */
export function spliceFields(
  buffer: Buffer,
  nodes: readonly MessageNode[],
  edits: readonly FieldEdit[],
  room: number,
): Buffer {
  const cuts: Cut[] = [];
  const grownBy = new Map<MessageNode, number>();
  const grow = (node: MessageNode, bytes: number): void => {
    grownBy.set(node, (grownBy.get(node) ?? 0) + bytes);
  };
  for (const edit of edits) {
    const cut = cutOf(edit);
    cuts.push(cut);
    grow(edit.leaf.node, sizeOf(cut) - (cut.to - cut.from));
  }
  for (let i = nodes.length - 1; i >= 0 && grownBy.size > 0; i--) {
    const node = nodes[i] as MessageNode;
    const grown = grownBy.get(node);
    if (grown === undefined || node.parent === null) continue;
    if (node.lengthAt < 0 || grown === 0) {
      grow(node.parent, grown);
      continue;
    }
    const length = node.end - node.start + grown;
    const cut: Cut = { from: node.lengthAt, to: node.start, tag: -1, length, value: '', valueBytes: 0 };
    cuts.push(cut);
    grow(node.parent, grown + sizeOf(cut) - (cut.to - cut.from));
  }
  const root = nodes[0] as MessageNode;
  const out = Buffer.allocUnsafe(room + root.end - root.start + (grownBy.get(root) ?? 0));
  return paste(buffer, root, cuts, { out, room });
}

function paste(
  buffer: Buffer,
  { start, end }: MessageNode,
  cuts: Cut[],
  { out, room }: { readonly out: Buffer; readonly room: number },
): Buffer {
  if (cuts.length > 1) cuts.sort((one, other) => one.from - other.from);
  let at = start;
  let written = room;
  for (const cut of cuts) {
    written += buffer.copy(out, written, at, cut.from);
    if (cut.tag >= 0) written = writeVarint(out, written, cut.tag);
    if (cut.length >= 0) written = writeVarint(out, written, cut.length);
    if (typeof cut.value !== 'string') written += cut.value.copy(out, written);
    else
      written += out.write(
        cut.value,
        written,
        cut.valueBytes,
        cut.valueBytes === cut.value.length ? 'latin1' : 'utf8',
      );
    at = cut.to;
  }
  buffer.copy(out, written, at, end);
  return out;
}

function cutOf({ leaf, value, asText }: FieldEdit): Cut {
  const { step, tagAt, start, end } = leaf;
  if (value === null) return { from: tagAt, to: end, tag: -1, length: -1, value: '', valueBytes: 0 };
  const valueBytes = typeof value === 'string' ? Buffer.byteLength(value) : value.length;
  const isDelimited = asText !== undefined || step.wireType === LENGTH_DELIMITED;
  if (!isDelimited) return { from: start, to: end, tag: -1, length: -1, value, valueBytes };
  const tag = (asText ?? step.number) * 8 + LENGTH_DELIMITED;
  return { from: tagAt, to: end, tag, length: valueBytes, value, valueBytes };
}

function sizeOf({ tag, length, valueBytes }: Cut): number {
  return (tag < 0 ? 0 : varintSize(tag)) + (length < 0 ? 0 : varintSize(length)) + valueBytes;
}

function varintSize(value: number): number {
  let size = 1;
  for (let rest = value; rest >= 0x80; rest = Math.floor(rest / 0x80)) size++;
  return size;
}

function writeVarint(out: Buffer, at: number, value: number): number {
  let next = at;
  let rest = value;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) out[next++] = (rest % 0x80) | 0x80;
  out[next++] = rest;
  return next;
}
