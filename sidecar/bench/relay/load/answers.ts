import { dataFrames, type FieldSpec, Flag, FrameType, frame, grpcMessage, headerBlocks } from './frames.ts';

/** How the app answers a call. */
export type AnswerPlan = {
  readonly messages: number;
  readonly payloadBytes: number;
  /** Between two messages of a stream; 0 sends all at once. */
  readonly everyMs: number;
};

const RESPONSE_PAYLOAD_FIELD = 3;

/** Static rows and literals of a gRPC server's response (RFC 7541, Appendix A). */
const HEAD: readonly FieldSpec[] = [{ row: 8 }, { name: 31, value: 'application/grpc', index: 'table' }];
const TRAILERS: readonly FieldSpec[] = [
  { name: 'grpc-status', value: '0', index: 'table' },
  { name: 'grpc-message', value: '', index: 'table' },
];

/** An answer's frames, ready but for the stream id. */
export class AnswerFrames {
  readonly plan: AnswerPlan;
  readonly headFirst: Buffer;
  readonly headAgain: Buffer;
  readonly headPlain: Buffer;
  readonly trailersFirst: Buffer;
  readonly trailersAgain: Buffer;
  readonly trailersPlain: Buffer;
  /** One message's DATA frames. */
  readonly message: readonly Buffer[];
  /** Bytes of DATA in the whole answer. */
  readonly dataBytes: number;

  constructor(plan: AnswerPlan) {
    this.plan = plan;
    const trailers = headerBlocks(TRAILERS, 0);
    const head = headerBlocks(HEAD, trailers.added);
    const headFrame = (block: Buffer): Buffer => frame([FrameType.HEADERS, Flag.END_HEADERS, 0], block);
    const endFrame = (block: Buffer): Buffer =>
      frame([FrameType.HEADERS, Flag.END_HEADERS | Flag.END_STREAM, 0], block);
    // A table of size 0 has to be acknowledged by an update at the beginning of the first block (RFC 7541 §4.2).
    this.headPlain = headFrame(Buffer.concat([Buffer.from([0x20]), head.plain]));
    this.headFirst = headFrame(head.first);
    this.headAgain = headFrame(head.again);
    this.trailersFirst = endFrame(trailers.first);
    this.trailersAgain = endFrame(trailers.again);
    this.trailersPlain = endFrame(trailers.plain);
    const body = grpcMessage(RESPONSE_PAYLOAD_FIELD, plan.payloadBytes);
    this.message = dataFrames(body, false);
    this.dataBytes = body.length * plan.messages;
  }
}
