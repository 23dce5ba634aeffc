"""A project that only installed the wheel: streams a generation over the network and through a sidecar, is refused, and
prints what came of it as JSON."""

import json
import sys
from typing import Any

import grpc
from gatehouse.client import Identity, connect, to_call_failure
from gatehouse.inference.v1.inference_pb2 import GenerateRequest
from gatehouse.inference.v1.inference_pb2_grpc import InferenceServiceStub

address, certificate, key, bundle, sidecar = sys.argv[1:]
identity = Identity(certificate_file=certificate, key_file=key, bundle_file=bundle)
network = {"address": address, "server_name": "localhost", "identity": identity}


def generate(way: dict[str, Any], model: str, **more: Any) -> dict[str, Any]:
    request = GenerateRequest(model=model, prompt="Once upon a time", max_tokens=5)
    tokens = 0
    with connect(**way) as mesh:
        try:
            for answer in mesh.stub(InferenceServiceStub, "inference").StreamGenerate(request, **more):
                tokens = max(tokens, answer.delta.output_tokens)
        except grpc.RpcError as error:
            failure = to_call_failure(error)
            return {"code": failure.code.name, "reason": failure.reason, "message": failure.message}
    return {"tokens": tokens}


MODEL = "smollm2-135m-instruct"
print(
    json.dumps(
        {
            "network": generate(network, MODEL),
            "sidecar": generate({"sidecar": sidecar}, MODEL),
            "unknownModel": generate(network, "no-such-model"),
            "stranger": generate({**network, "server_name": "elsewhere.example"}, MODEL, timeout=5),
        }
    )
)
