import type { MessageNode, TextLeaf } from './text-leaf.ts';
import { LENGTH_DELIMITED } from './wire-reader.ts';

/** What takes the place of a field: a value, under another field's number where one is given; null: nothing does. */
export interface FieldEdit {
  readonly leaf: TextLeaf;
  /** The value of a delimited field; of a number its bytes as they are encoded. */
  readonly value: string | Buffer | null;
  /** Writes a delimited field of this number in place of a number. */
  readonly asText?: number;
}

/** Up to here it is quicker to copy bytes one by one. */
const SHORT_BYTES = 32;

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
  const root = nodes[0] as MessageNode;
  for (const edit of edits) {
    const cut = cutOf(edit);
    cuts.push(cut);
    edit.leaf.node.grownBytes += sizeOf(cut) - (cut.to - cut.from);
  }
  for (let i = nodes.length - 1; i > 0; i--) {
    const node = nodes[i] as MessageNode;
    if (node.grownBytes === 0) continue;
    const parent = node.parent as MessageNode;
    parent.grownBytes += node.grownBytes;
    if (node.lengthAt >= 0) {
      const length = node.end - node.start + node.grownBytes;
      const cut: Cut = { from: node.lengthAt, to: node.start, tag: -1, length, value: '', valueBytes: 0 };
      cuts.push(cut);
      parent.grownBytes += sizeOf(cut) - (cut.to - cut.from);
    }
    node.grownBytes = 0;
  }
  const out = Buffer.allocUnsafe(room + root.end - root.start + root.grownBytes);
  root.grownBytes = 0;
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
    written = copy(buffer, { at, to: cut.from }, out, written);
    if (cut.tag >= 0) written = writeVarint(out, written, cut.tag);
    if (cut.length >= 0) written = writeVarint(out, written, cut.length);
    if (typeof cut.value !== 'string') written += cut.value.copy(out, written);
    else written = writeText(out, cut.value, cut.valueBytes, written);
    at = cut.to;
  }
  copy(buffer, { at, to: end }, out, written);
  return out;
}

function writeText(out: Buffer, text: string, bytes: number, at: number): number {
  if (bytes > SHORT_BYTES || bytes !== text.length) return at + out.write(text, at, bytes, 'utf8');
  for (let i = 0; i < bytes; i++) out[at + i] = text.charCodeAt(i);
  return at + bytes;
}

/** @returns where the copy ends */
function copy(
  from: Buffer,
  { at, to }: { readonly at: number; readonly to: number },
  out: Buffer,
  written: number,
): number {
  if (to - at > SHORT_BYTES) return written + from.copy(out, written, at, to);
  let next = written;
  for (let i = at; i < to; i++) out[next++] = from[i] as number;
  return next;
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
