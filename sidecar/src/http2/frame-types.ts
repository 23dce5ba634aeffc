/** Frame types (RFC 9113 §6). */
export const FrameType = {
  DATA: 0x0,
  HEADERS: 0x1,
  PRIORITY: 0x2,
  RST_STREAM: 0x3,
  SETTINGS: 0x4,
  PUSH_PROMISE: 0x5,
  PING: 0x6,
  GOAWAY: 0x7,
  WINDOW_UPDATE: 0x8,
  CONTINUATION: 0x9,
} as const;

/** Frame flags; ACK and END_STREAM share a bit on different frame types. */
export const Flag = { ACK: 0x1, END_STREAM: 0x1, END_HEADERS: 0x4, PADDED: 0x8, PRIORITY: 0x20 } as const;

/** SETTINGS parameters (RFC 9113 §6.5.2). */
export const SettingId = {
  HEADER_TABLE_SIZE: 0x1,
  ENABLE_PUSH: 0x2,
  MAX_CONCURRENT_STREAMS: 0x3,
  INITIAL_WINDOW_SIZE: 0x4,
  MAX_FRAME_SIZE: 0x5,
  MAX_HEADER_LIST_SIZE: 0x6,
  ENABLE_CONNECT_PROTOCOL: 0x8,
  NO_RFC7540_PRIORITIES: 0x9,
} as const;

export const FRAME_HEAD_BYTES = 9;
/** The frame size every peer must take, and the only one this library announces (RFC 9113 §4.2). */
export const FRAME_PAYLOAD_BYTES = 16_384;
export const FRAME_PAYLOAD_BYTES_LARGEST = 16_777_215;
/** Flow-control window before any SETTINGS (RFC 9113 §6.9.2). */
export const WINDOW_BYTES_INITIAL = 65_535;
export const WINDOW_BYTES_LARGEST = 0x7fff_ffff;
export const STREAM_ID_LARGEST = 0x7fff_ffff;

/** What a client sends before its first frame (RFC 9113 §3.4). */
export const PREFACE: Buffer = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1');

/** Reads an unsigned 32-bit number, high byte first; the caller has checked the length. */
export function readUint32(bytes: Buffer, at: number): number {
  return bytes.readUInt32BE(at);
}
