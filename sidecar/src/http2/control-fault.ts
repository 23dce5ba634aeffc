import { ErrorCode } from './error-code.ts';
import { Flag, FrameType } from './frame-types.ts';

/** The connection error that a frame's size and stream id alone make it, or NO_ERROR. */
export function controlFault(type: number, flags: number, streamId: number, size: number): number {
  switch (type) {
    case FrameType.PRIORITY:
      if (streamId === 0) return ErrorCode.PROTOCOL_ERROR;
      return size === 5 ? ErrorCode.NO_ERROR : ErrorCode.FRAME_SIZE_ERROR;
    case FrameType.RST_STREAM:
      if (size !== 4) return ErrorCode.FRAME_SIZE_ERROR;
      return streamId === 0 ? ErrorCode.PROTOCOL_ERROR : ErrorCode.NO_ERROR;
    case FrameType.SETTINGS:
      if (streamId !== 0) return ErrorCode.PROTOCOL_ERROR;
      if ((flags & Flag.ACK) !== 0 ? size !== 0 : size % 6 !== 0) return ErrorCode.FRAME_SIZE_ERROR;
      return ErrorCode.NO_ERROR;
    case FrameType.PUSH_PROMISE:
      return ErrorCode.PROTOCOL_ERROR;
    case FrameType.PING:
      if (streamId !== 0) return ErrorCode.PROTOCOL_ERROR;
      return size === 8 ? ErrorCode.NO_ERROR : ErrorCode.FRAME_SIZE_ERROR;
    case FrameType.GOAWAY:
      if (streamId !== 0) return ErrorCode.PROTOCOL_ERROR;
      return size >= 8 ? ErrorCode.NO_ERROR : ErrorCode.FRAME_SIZE_ERROR;
    case FrameType.WINDOW_UPDATE:
      return size === 4 ? ErrorCode.NO_ERROR : ErrorCode.FRAME_SIZE_ERROR;
    default:
      return ErrorCode.NO_ERROR;
  }
}
