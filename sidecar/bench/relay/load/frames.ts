/** Prebuilt HTTP/2 frames, so that the load costs little: what changes from call to call is the stream id alone. */

export const FRAME_HEAD_BYTES = 9;
export const FrameType = {
  DATA: 0,
  HEADERS: 1,
  RST_STREAM: 3,
  SETTINGS: 4,
  PING: 6,
  GOAWAY: 7,
  WINDOW_UPDATE: 8,
} as const;
export const Flag = { END_STREAM: 0x1, ACK: 0x1, END_HEADERS: 0x4 } as const;
export const PREFACE: Buffer = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1');
const FRAME_PAYLOAD_BYTES = 16_384;
/** A fresh connection's window in either direction (RFC 9113 §6.9.2). */
export const WINDOW_BYTES_INITIAL = 65_535;
/** What both ends of the load grant: wide enough that no proxy waits for it, renewed as it is used. */
export const STREAM_WINDOW_BYTES = 1024 * 1024;
export const CONNECTION_WINDOW_BYTES = 16 * 1024 * 1024;

export const Setting = { HEADER_TABLE_SIZE: 1, MAX_CONCURRENT_STREAMS: 3, INITIAL_WINDOW_SIZE: 4 } as const;

/** @param head type, flags and stream id of the frame */
export function frame(
  head: readonly [type: number, flags: number, streamId: number],
  payload: Buffer,
): Buffer {
  const [type, flags, streamId] = head;
  const bytes = Buffer.allocUnsafe(FRAME_HEAD_BYTES + payload.length);
  bytes.writeUIntBE(payload.length, 0, 3);
  bytes[3] = type;
  bytes[4] = flags;
  bytes.writeUInt32BE(streamId, 5);
  payload.copy(bytes, FRAME_HEAD_BYTES);
  return bytes;
}

export function settings(values: readonly (readonly [id: number, value: number])[]): Buffer {
  const payload = Buffer.alloc(values.length * 6);
  values.forEach(([id, value], at) => {
    payload.writeUInt16BE(id, at * 6);
    payload.writeUInt32BE(value, at * 6 + 2);
  });
  return frame([FrameType.SETTINGS, 0, 0], payload);
}

export function windowUpdate(streamId: number, increment: number): Buffer {
  const payload = Buffer.alloc(4);
  payload.writeUInt32BE(increment);
  return frame([FrameType.WINDOW_UPDATE, 0, streamId], payload);
}

export const SETTINGS_ACK: Buffer = frame([FrameType.SETTINGS, Flag.ACK, 0], Buffer.alloc(0));

/** A field with how it is written: the row of the static table that holds all of it or its name, else both as literals. */
export type FieldSpec =
  | { readonly row: number }
  | { readonly name: number | string; readonly value: string; readonly index: 'table' | 'never' };

/**
 * Two header blocks for one list of fields: `first` puts what may be indexed into the table, `again` refers to it, as
 * every gRPC library does from a connection's second call on. `plain` uses no table, for a peer that allows none.
 */
export function headerBlocks(
  fields: readonly FieldSpec[],
  tableHas: number,
): { first: Buffer; again: Buffer; plain: Buffer; added: number } {
  const indexed = fields.filter((each) => 'value' in each && each.index === 'table').length;
  let added = 0;
  const first: Buffer[] = [];
  const again: Buffer[] = [];
  const plain: Buffer[] = [];
  for (const each of fields) {
    if ('row' in each) {
      const byte = Buffer.from([0x80 | each.row]);
      for (const list of [first, again, plain]) list.push(byte);
    } else if (each.index === 'never') {
      for (const list of [first, again, plain]) list.push(literal(each, 0x10, 0x0f));
    } else {
      added += 1;
      first.push(literal(each, 0x40, 0x3f));
      plain.push(literal(each, 0x00, 0x0f));
      // The newest entry has index 62; those that other lists add later push these further back.
      again.push(integer(0x80, 0x7f, 62 + indexed - added + tableHas));
    }
  }
  return { first: Buffer.concat(first), again: Buffer.concat(again), plain: Buffer.concat(plain), added };
}

function literal(
  { name, value }: { name: number | string; value: string },
  mark: number,
  mask: number,
): Buffer {
  const head =
    typeof name === 'number' ? integer(mark, mask, name) : Buffer.concat([Buffer.from([mark]), text(name)]);
  return Buffer.concat([head, text(value)]);
}

function text(value: string): Buffer {
  return Buffer.concat([integer(0, 0x7f, value.length), Buffer.from(value, 'latin1')]);
}

function integer(mark: number, mask: number, value: number): Buffer {
  if (value < mask) return Buffer.from([mark | value]);
  const bytes = [mark | mask];
  let rest = value - mask;
  for (; rest >= 0x80; rest >>>= 7) bytes.push((rest & 0x7f) | 0x80);
  bytes.push(rest);
  return Buffer.from(bytes);
}

/** A gRPC message (uncompressed) of one protobuf bytes field, `payloadBytes` of it. */
export function grpcMessage(fieldNumber: number, payloadBytes: number): Buffer {
  const message =
    payloadBytes === 0
      ? Buffer.alloc(0)
      : Buffer.concat([
          integer(0, 0x7f, (fieldNumber << 3) | 2),
          varint(payloadBytes),
          Buffer.alloc(payloadBytes, 0x61),
        ]);
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 0x80; rest >>>= 7) bytes.push((rest & 0x7f) | 0x80);
  bytes.push(rest);
  return Buffer.from(bytes);
}

/** Cuts a body into DATA frames for a stream id that is still to be set. */
export function dataFrames(body: Buffer, endStream: boolean): Buffer[] {
  const frames: Buffer[] = [];
  for (let at = 0; at < body.length; at += FRAME_PAYLOAD_BYTES) {
    const piece = body.subarray(at, at + FRAME_PAYLOAD_BYTES);
    const last = at + piece.length === body.length;
    frames.push(frame([FrameType.DATA, last && endStream ? Flag.END_STREAM : 0, 0], piece));
  }
  return frames;
}
