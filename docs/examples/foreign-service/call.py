"""Calls the greeter through its sidecar: call.py NAME, where NAME.pem and NAME.key are in /tmp/greeter."""

import sys
from pathlib import Path

import grpc

greeter_pb2, greeter_pb2_grpc = grpc.protos_and_services("greeter/v1/greeter.proto")

run = Path("/tmp/greeter")
name = sys.argv[1]
credentials = grpc.ssl_channel_credentials(
    root_certificates=(run / "ca.pem").read_bytes(),
    private_key=(run / f"{name}.key").read_bytes(),
    certificate_chain=(run / f"{name}.pem").read_bytes(),
)


def show(what, call):
    try:
        print(f"{what}: {call()}")
    except grpc.RpcError as error:
        print(f"{what}: {error.code().name}: {error.details()}")


with grpc.secure_channel("localhost:8443", credentials) as channel:
    greeter = greeter_pb2_grpc.GreeterStub(channel)
    request = greeter_pb2.HelloRequest(name=name, times=3)
    show("SayHello", lambda: greeter.SayHello(request).greeting)
    show("SayHelloOften", lambda: [reply.greeting for reply in greeter.SayHelloOften(request)])
    show("Forget", lambda: greeter.Forget(request).greeting)
