"""A gRPC service on a Unix socket, plaintext, without a line about identities, policy or tracing: serve.py ADDRESS"""

import signal
import sys
from concurrent import futures

import grpc

greeter_pb2, greeter_pb2_grpc = grpc.protos_and_services("greeter/v1/greeter.proto")


class Greeter(greeter_pb2_grpc.GreeterServicer):
    def SayHello(self, request, context):
        return greeter_pb2.HelloReply(greeting=f"Hello, {request.name}!")

    def SayHelloOften(self, request, context):
        for turn in range(1, request.times + 1):
            yield greeter_pb2.HelloReply(greeting=f"Hello {turn}, {request.name}!")


server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
greeter_pb2_grpc.add_GreeterServicer_to_server(Greeter(), server)
server.add_insecure_port(sys.argv[1])
server.start()
signal.signal(signal.SIGTERM, lambda *_: server.stop(grace=5))
server.wait_for_termination()
