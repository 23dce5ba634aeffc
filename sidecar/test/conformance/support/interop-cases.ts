/** gRPC's standard interoperability cases for grpc-js, by the names that all implementations share. */
import assert from 'node:assert/strict';
import { connectivityState, Metadata, status } from '@grpc/grpc-js';
import { ECHO_INITIAL, ECHO_TRAILING } from './grpc-js-server.ts';
import {
  collect,
  type Ended,
  type TestClient,
  testClient,
  unary,
  unimplementedClient,
} from './interop-client.ts';

const GZIP = 2;
/** WriteFlags.NoCompress of grpc-js, which it does not export. */
const NO_COMPRESS = 2;
const LARGE_REQUEST_BYTES = 271_828;
const LARGE_RESPONSE_BYTES = 314_159;
const STREAMED_REQUEST_BYTES = [27_182, 8, 1_828, 45_904];
const STREAMED_RESPONSE_BYTES = [31_415, 9, 2_653, 58_979];

type Case = (address: string) => Promise<void>;

const payload = (bytes: number): { body: Buffer } => ({ body: Buffer.alloc(bytes) });
const sizesOf = (ended: Ended<{ readonly payload: { readonly body: Buffer } | null }>): number[] =>
  ended.answers.map((answer) => answer.payload?.body.length ?? 0);

/** A case with a client of its own, closed at its end. */
function withClient(run: (client: TestClient) => Promise<void>, options = {}): Case {
  return async (address) => {
    const client = testClient(address, options);
    try {
      await run(client);
      assert.equal(client.getChannel().getConnectivityState(false), connectivityState.READY);
    } finally {
      client.close();
    }
  };
}

export const INTEROP_CASES: Readonly<Record<string, Case>> = {
  empty_unary: withClient(async (client) => {
    assert.partialDeepStrictEqual(await unary(client.emptyCall.bind(client), {}), {
      code: status.OK,
      answers: [{}],
    });
  }),

  large_unary: withClient(async (client) => {
    const ended = await unary(client.unaryCall.bind(client), {
      responseSize: LARGE_RESPONSE_BYTES,
      payload: payload(LARGE_REQUEST_BYTES),
    });
    assert.equal(ended.code, status.OK);
    assert.equal(ended.answers[0]?.payload?.body.equals(Buffer.alloc(LARGE_RESPONSE_BYTES)), true);
  }),

  client_streaming: withClient(async (client) => {
    const total = await new Promise<number>((resolve, reject) => {
      const call = client.streamingInputCall((error, answer) =>
        error ? reject(error) : resolve(answer?.aggregatedPayloadSize ?? -1),
      );
      for (const bytes of STREAMED_REQUEST_BYTES) call.write({ payload: payload(bytes) });
      call.end();
    });
    assert.equal(total, 74_922);
  }),

  server_streaming: withClient(async (client) => {
    const responseParameters = STREAMED_RESPONSE_BYTES.map((size) => ({ size }));
    const ended = await collect(client.streamingOutputCall({ responseParameters }));
    assert.equal(ended.code, status.OK);
    assert.deepEqual(sizesOf(ended), STREAMED_RESPONSE_BYTES);
  }),

  ping_pong: withClient(async (client) => {
    const call = client.fullDuplexCall(new Metadata(), {});
    const send = (turn: number): void => {
      if (turn === STREAMED_REQUEST_BYTES.length) call.end();
      else
        call.write({
          responseParameters: [{ size: STREAMED_RESPONSE_BYTES[turn] as number }],
          payload: payload(STREAMED_REQUEST_BYTES[turn] as number),
        });
    };
    const ended = collect(call, (_answer, count) => send(count));
    send(0);
    assert.equal((await ended).code, status.OK);
    assert.deepEqual(sizesOf(await ended), STREAMED_RESPONSE_BYTES);
  }),

  empty_stream: withClient(async (client) => {
    const call = client.fullDuplexCall(new Metadata(), {});
    call.end();
    assert.partialDeepStrictEqual(await collect(call), { code: status.OK, answers: [] });
  }),

  cancel_after_begin: withClient(async (client) => {
    await ready(client);
    const code = await new Promise<status>((resolve) => {
      const call = client.streamingInputCall((error) => resolve(error?.code ?? status.OK));
      setImmediate(() => call.cancel());
    });
    assert.equal(code, status.CANCELLED);
  }),

  cancel_after_first_response: withClient(async (client) => {
    const call = client.fullDuplexCall(new Metadata(), {});
    const ended = collect(call, () => call.cancel());
    call.write({ responseParameters: [{ size: 31_415 }], payload: payload(27_182) });
    assert.equal((await ended).code, status.CANCELLED);
    assert.deepEqual(sizesOf(await ended), [31_415]);
  }),

  timeout_on_sleeping_server: withClient(async (client) => {
    // Long enough to reach the server, which never answers; the standard's 1 ms need not even leave the client.
    for (const timeoutMs of [1, 100]) {
      const deadline = performance.timeOrigin + performance.now() + timeoutMs;
      const call = client.fullDuplexCall(new Metadata(), { deadline });
      const ended = collect(call);
      call.write({ payload: payload(27_182) });
      assert.equal((await ended).code, status.DEADLINE_EXCEEDED);
    }
  }),

  custom_metadata: withClient(async (client) => {
    const metadata = new Metadata();
    metadata.set(ECHO_INITIAL, 'test_initial_metadata_value');
    metadata.set(ECHO_TRAILING, Buffer.from([0xab, 0xab, 0xab]));
    const single = await unary(
      client.unaryCall.bind(client),
      { responseSize: LARGE_RESPONSE_BYTES, payload: payload(LARGE_REQUEST_BYTES) },
      metadata,
    );
    const call = client.fullDuplexCall(metadata, {});
    const streamed = collect(call);
    call.write({
      responseParameters: [{ size: LARGE_RESPONSE_BYTES }],
      payload: payload(LARGE_REQUEST_BYTES),
    });
    call.end();
    for (const ended of [single, await streamed]) {
      assert.equal(ended.code, status.OK);
      assert.deepEqual(ended.initial.get(ECHO_INITIAL), ['test_initial_metadata_value']);
      assert.deepEqual(ended.trailing.get(ECHO_TRAILING), [Buffer.from([0xab, 0xab, 0xab])]);
    }
  }),

  status_code_and_message: withClient(async (client) => {
    const responseStatus = { code: status.UNKNOWN, message: 'test status message' };
    const single = await unary(client.unaryCall.bind(client), { responseStatus });
    const call = client.fullDuplexCall(new Metadata(), {});
    const streamed = collect(call);
    call.write({ responseStatus });
    call.end();
    for (const ended of [single, await streamed]) assert.partialDeepStrictEqual(ended, responseStatus);
  }),

  special_status_message: withClient(async (client) => {
    const message = '\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n';
    const responseStatus = { code: status.UNKNOWN, message };
    assert.partialDeepStrictEqual(
      await unary(client.unaryCall.bind(client), { responseStatus }),
      responseStatus,
    );
  }),

  unimplemented_method: withClient(async (client) => {
    const ended = await unary(client.unimplementedCall.bind(client), {});
    assert.equal(ended.code, status.UNIMPLEMENTED);
    assert.ok(ended.message.includes('/grpc.testing.TestService/UnimplementedCall'));
  }),

  unimplemented_service: async (address) => {
    const client = unimplementedClient(address);
    try {
      const ended = await unary(client.unimplementedCall.bind(client), {});
      assert.equal(ended.code, status.UNIMPLEMENTED);
      assert.ok(ended.message.includes('/grpc.testing.UnimplementedService/UnimplementedCall'));
    } finally {
      client.close();
    }
  },
};

const compressing = { 'grpc.default_compression_algorithm': GZIP };

/** Those with compressed messages, for a server that sees and chooses a message's flag. */
export const COMPRESSION_CASES: Readonly<Record<string, Case>> = {
  client_compressed_unary: async (address) => {
    const call = (expectCompressed: boolean) => async (client: TestClient) => {
      const request = { responseSize: LARGE_RESPONSE_BYTES, payload: payload(LARGE_REQUEST_BYTES) };
      const ended = await unary(client.unaryCall.bind(client), {
        ...request,
        expectCompressed: { value: expectCompressed },
      });
      assert.equal(ended.code, status.OK);
      assert.deepEqual(sizesOf(ended), [LARGE_RESPONSE_BYTES]);
    };
    await withClient(probe)(address);
    await withClient(call(true), compressing)(address);
    await withClient(call(false))(address);
  },

  server_compressed_unary: withClient(async (client) => {
    for (const value of [true, false]) {
      const ended = await unary(client.unaryCall.bind(client), {
        responseCompressed: { value },
        responseSize: LARGE_RESPONSE_BYTES,
        payload: payload(LARGE_REQUEST_BYTES),
      });
      assert.equal(ended.code, status.OK);
      assert.deepEqual(sizesOf(ended), [LARGE_RESPONSE_BYTES]);
    }
  }),

  client_compressed_streaming: async (address) => {
    await withClient(probe)(address);
    await withClient(async (client) => {
      const total = await new Promise<number>((resolve, reject) => {
        const call = client.streamingInputCall((error, answer) =>
          error ? reject(error) : resolve(answer?.aggregatedPayloadSize ?? -1),
        );
        call.write({ payload: payload(27_182), expectCompressed: { value: true } });
        call.write({ payload: payload(45_904), expectCompressed: { value: false } }, NO_COMPRESS);
        call.end();
      });
      assert.equal(total, 73_086);
    }, compressing)(address);
  },

  server_compressed_streaming: withClient(async (client) => {
    const responseParameters = [
      { size: 31_415, compressed: { value: true } },
      { size: 92_653, compressed: { value: false } },
    ];
    const ended = await collect(client.streamingOutputCall({ responseParameters }));
    assert.equal(ended.code, status.OK);
    assert.deepEqual(sizesOf(ended), [31_415, 92_653]);
  }),
};

/** A server that has these cases refuses a message that it is told to expect compressed and that is not. */
async function probe(client: TestClient): Promise<void> {
  const ended = await unary(client.unaryCall.bind(client), { expectCompressed: { value: true } });
  assert.equal(ended.code, status.INVALID_ARGUMENT);
}

function ready(client: TestClient): Promise<void> {
  const deadline = performance.timeOrigin + performance.now() + 5_000;
  return new Promise((resolve, reject) => {
    client.waitForReady(deadline, (error) => (error ? reject(error) : resolve()));
  });
}
