/** The peer's SETTINGS (RFC 9113 §6.5). */
import { ErrorCode } from './error-code.ts';
import {
  FRAME_PAYLOAD_BYTES,
  FRAME_PAYLOAD_BYTES_LARGEST,
  readUint32,
  SettingId,
  WINDOW_BYTES_INITIAL,
  WINDOW_BYTES_LARGEST,
} from './frame-types.ts';

/** Streams a client opens before the server has said how many it takes (RFC 9113 §6.5.2 advises at least 100). */
const CONCURRENT_STREAMS_ASSUMED = 100;
const SETTING_BYTES = 6;

export class RemoteSettings {
  headerTableBytes = 4096;
  maxConcurrentStreams: number = CONCURRENT_STREAMS_ASSUMED;
  initialWindowBytes: number = WINDOW_BYTES_INITIAL;
  frameBytesMax: number = FRAME_PAYLOAD_BYTES;
  /** Advice, which senders may ignore (RFC 9113 §6.5.2). */
  headerListBytesMax: number = Number.POSITIVE_INFINITY;
  /** A SETTINGS frame has come. */
  received = false;

  /**
   * Takes the values of a SETTINGS payload `[start, end)`, whose length the caller has checked.
   * @returns NO_ERROR, or the code of the connection error that an illegal value is
   */
  apply(payload: Buffer, start: number, end: number, fromServer: boolean): number {
    if (!this.received) this.maxConcurrentStreams = Number.POSITIVE_INFINITY;
    this.received = true;
    for (let at = start; at < end; at += SETTING_BYTES) {
      const code = this.set(payload.readUInt16BE(at), readUint32(payload, at + 2), fromServer);
      if (code !== ErrorCode.NO_ERROR) return code;
    }
    return ErrorCode.NO_ERROR;
  }

  private set(id: number, value: number, fromServer: boolean): number {
    switch (id) {
      case SettingId.HEADER_TABLE_SIZE:
        this.headerTableBytes = value;
        return ErrorCode.NO_ERROR;
      case SettingId.ENABLE_PUSH:
        return value > (fromServer ? 0 : 1) ? ErrorCode.PROTOCOL_ERROR : ErrorCode.NO_ERROR;
      case SettingId.MAX_CONCURRENT_STREAMS:
        this.maxConcurrentStreams = value;
        return ErrorCode.NO_ERROR;
      case SettingId.INITIAL_WINDOW_SIZE:
        if (value > WINDOW_BYTES_LARGEST) return ErrorCode.FLOW_CONTROL_ERROR;
        this.initialWindowBytes = value;
        return ErrorCode.NO_ERROR;
      case SettingId.MAX_FRAME_SIZE:
        if (value < FRAME_PAYLOAD_BYTES || value > FRAME_PAYLOAD_BYTES_LARGEST)
          return ErrorCode.PROTOCOL_ERROR;
        this.frameBytesMax = value;
        return ErrorCode.NO_ERROR;
      case SettingId.MAX_HEADER_LIST_SIZE:
        this.headerListBytesMax = value;
        return ErrorCode.NO_ERROR;
      // Neither changes anything here; each is 0 or 1 (RFC 8441 §3, RFC 9218 §2.1).
      case SettingId.ENABLE_CONNECT_PROTOCOL:
      case SettingId.NO_RFC7540_PRIORITIES:
        return value > 1 ? ErrorCode.PROTOCOL_ERROR : ErrorCode.NO_ERROR;
      default:
        return ErrorCode.NO_ERROR;
    }
  }
}
