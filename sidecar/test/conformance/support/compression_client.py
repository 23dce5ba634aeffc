"""Makes gRPC's compression cases with grpcio: compression_client.py ADDRESS AUTHORITY CASE. Ends with 0 when the case passes.

Messages are encoded by hand, so that nothing but grpcio is needed.
"""

import sys

import grpc

SERVICE = "/grpc.testing.TestService/"
GZIP = grpc.Compression.Gzip
PLAIN = grpc.Compression.NoCompression


def varint(value):
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(encoded + bytes([value]))


def number(field, value):
    return varint(field << 3) + varint(value)


def nested(field, encoded):
    return varint(field << 3 | 2) + varint(len(encoded)) + encoded


def flag(field, value):
    return nested(field, number(1, int(value)))


def payload(field, size):
    return nested(field, nested(2, bytes(size)))


def simple_request(response_size=314_159, expect=None, wanted=None):
    encoded = number(2, response_size) + payload(3, 271_828)
    if wanted is not None:
        encoded += flag(6, wanted)
    return encoded + (b"" if expect is None else flag(8, expect))


def client_compressed_unary(channel):
    call = channel.unary_unary(SERVICE + "UnaryCall")
    # A server that has this case refuses what is not compressed although it should be.
    try:
        call(simple_request(expect=True), compression=PLAIN, timeout=20)
        raise AssertionError("an uncompressed message was taken for a compressed one")
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.INVALID_ARGUMENT, error
    for expect, compression in ((True, GZIP), (False, PLAIN)):
        answer = call(simple_request(expect=expect), compression=compression, timeout=20)
        assert len(answer) > 314_159, len(answer)


def server_compressed_unary(channel):
    call = channel.unary_unary(SERVICE + "UnaryCall")
    for wanted in (True, False):
        assert len(call(simple_request(wanted=wanted), timeout=20)) > 314_159


def client_compressed_streaming(channel):
    call = channel.stream_unary(SERVICE + "StreamingInputCall")
    for expect, compression in ((True, GZIP), (False, PLAIN)):
        requests = [payload(1, size) + flag(2, expect) for size in (27_182, 45_904)]
        assert call(iter(requests), compression=compression, timeout=20) == number(1, 73_086)


def server_compressed_streaming(channel):
    call = channel.unary_stream(SERVICE + "StreamingOutputCall")
    sizes = ((31_415, True), (92_653, False))
    parameters = b"".join(nested(2, number(1, size) + flag(3, wanted)) for size, wanted in sizes)
    answers = [len(answer) for answer in call(parameters, timeout=20)]
    assert len(answers) == len(sizes), answers
    for (size, _), got in zip(sizes, answers):
        assert size < got < size + 20, answers


def main(address, authority, case):
    options = [("grpc.default_authority", authority), ("grpc.max_receive_message_length", -1)]
    with grpc.insecure_channel(address, options=options) as channel:
        globals()[case](channel)


main(*sys.argv[1:])
