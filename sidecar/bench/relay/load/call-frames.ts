import { type FieldSpec, Flag, FrameType, frame, grpcMessage, headerBlocks } from './frames.ts';

const REQUEST_PAYLOAD_FIELD = 6;

export type CallPlan = {
  /** `:path` */
  readonly path: string;
  readonly payloadBytes: number;
  /** Sent as `authorization: Bearer …`. */
  readonly token?: string | undefined;
};

/** A request's frames, ready but for the stream id. */
export type CallFrames = { readonly first: Buffer; readonly again: Buffer; readonly data: Buffer };

/** The fields that a gRPC library sends, written as it would: what repeats is indexed, a token never is. */
export function callFrames({ path, payloadBytes, token }: CallPlan): CallFrames {
  const fields: FieldSpec[] = [
    { row: 3 },
    { row: 7 },
    { name: 4, value: path, index: 'table' },
    { name: 1, value: 'localhost', index: 'table' },
    { name: 31, value: 'application/grpc', index: 'table' },
    { name: 58, value: 'gatehouse-bench/1', index: 'table' },
    { name: 'te', value: 'trailers', index: 'table' },
    { name: 'grpc-timeout', value: '10S', index: 'table' },
  ];
  if (token !== undefined) fields.push({ name: 23, value: `Bearer ${token}`, index: 'never' });
  const { first, again } = headerBlocks(fields, 0);
  return {
    first: frame([FrameType.HEADERS, Flag.END_HEADERS, 0], first),
    again: frame([FrameType.HEADERS, Flag.END_HEADERS, 0], again),
    data: frame([FrameType.DATA, Flag.END_STREAM, 0], grpcMessage(REQUEST_PAYLOAD_FIELD, payloadBytes)),
  };
}
