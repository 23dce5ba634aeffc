"""Calls the echo service over mTLS with grpcio and prints what came of it as one JSON object.

Usage: interop_client.py ADDRESS FOLDER, where FOLDER has bundle.pem and caller.pem, caller.key, stranger.pem, stranger.key.
Messages are encoded by hand, so that nothing but grpcio is needed.
"""

import json
import os
import sys

import grpc

SERVICE = "/testing.echo.v1.EchoService/"


def varint(value):
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(encoded + bytes([value]))


def message(text="", count=0, delay_ms=0, answer_bytes=0, payload=b""):
    encoded = b""
    for number, value in ((1, text.encode()), (6, payload)):
        if value:
            encoded += varint(number << 3 | 2) + varint(len(value)) + value
    for number, value in ((2, count), (3, delay_ms), (5, answer_bytes)):
        if value:
            encoded += varint(number << 3) + varint(value)
    return encoded


def read_varint(encoded, at):
    value = shift = 0
    while True:
        byte = encoded[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def read_answer(encoded):
    """Text and size of the payload of an EchoResponse."""
    answer = {"text": "", "received": 0, "payload": 0}
    at = 0
    while at < len(encoded):
        key, at = read_varint(encoded, at)
        value, at = read_varint(encoded, at)
        if key & 7 == 2:
            field = encoded[at : at + value]
            at += value
            if key >> 3 == 1:
                answer["text"] = field.decode()
            elif key >> 3 == 3:
                answer["payload"] = len(field)
        elif key >> 3 == 2:
            answer["received"] = value
    return answer


def connect(address, folder, name, **options):
    def pem(file):
        with open(os.path.join(folder, file), "rb") as opened:
            return opened.read()

    credentials = grpc.ssl_channel_credentials(pem("bundle.pem"), pem(name + ".key"), pem(name + ".pem"))
    settings = [("grpc.ssl_target_name_override", "localhost"), ("grpc.max_receive_message_length", -1)]
    return grpc.secure_channel(address, credentials, options=settings, **options)


def failure(call):
    try:
        call()
    except grpc.RpcError as error:
        trailers = dict(error.trailing_metadata() or ())
        return {
            "code": error.code().name,
            "details": error.details(),
            "status": trailers.get("grpc-status-details-bin", b"").hex(),
        }
    return {"code": "OK"}


def main(address, folder):
    channel = connect(address, folder, "caller")
    unary = channel.unary_unary(SERVICE + "Unary")
    server_stream = channel.unary_stream(SERVICE + "ServerStream")
    client_stream = channel.stream_unary(SERVICE + "ClientStream")
    bidi = channel.stream_stream(SERVICE + "Bidi")
    texts = [message(text=text) for text in ("a", "b", "c")]

    def cancel():
        stream = server_stream(message(count=1000, delay_ms=10), timeout=20)
        next(stream)
        stream.cancel()
        return stream.code().name

    stranger = connect(address, folder, "stranger").unary_unary(SERVICE + "Unary")
    packed = connect(address, folder, "caller", compression=grpc.Compression.Gzip).unary_unary(SERVICE + "Unary")
    results = {
        "version": grpc.__version__,
        "unary": read_answer(unary(message(text="grüße"), timeout=20)),
        "large": read_answer(unary(message(payload=bytes(900_000), answer_bytes=2_000_000), timeout=20)),
        "compressed": read_answer(packed(message(text="x" * 10_000), timeout=20))["text"] == "x" * 10_000,
        "serverStream": [read_answer(each)["text"] for each in server_stream(message("s", count=5), timeout=20)],
        "clientStream": read_answer(client_stream(iter(texts), timeout=20))["text"],
        "bidi": [read_answer(each)["text"] for each in bidi(iter(texts), timeout=20)],
        "cancelled": cancel(),
        "denied": failure(lambda: stranger(message(), timeout=20)),
        "late": failure(lambda: unary(message(delay_ms=5000), timeout=0.3)),
        "unknown": failure(lambda: channel.unary_unary(SERVICE + "Nothing")(b"", timeout=20)),
        "many": sum(1 for _ in range(200) if unary(message(text="x"), timeout=20)),
    }
    print(json.dumps(results))


main(*sys.argv[1:])
