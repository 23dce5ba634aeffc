"""A project that only installed the wheel: streams a generation and prints the tokens that came."""
import sys
from pathlib import Path

import grpc
from gatehouse.inference.v1 import inference_pb2, inference_pb2_grpc

address, certificate, key, bundle = sys.argv[1:]
credentials = grpc.ssl_channel_credentials(
    root_certificates=Path(bundle).read_bytes(),
    private_key=Path(key).read_bytes(),
    certificate_chain=Path(certificate).read_bytes(),
)
options = [("grpc.ssl_target_name_override", "localhost")]
with grpc.secure_channel(address, credentials, options) as channel:
    inference = inference_pb2_grpc.InferenceServiceStub(channel)
    request = inference_pb2.GenerateRequest(
        model="smollm2-135m-instruct", prompt="Once upon a time", max_tokens=5
    )
    tokens = 0
    for answer in inference.StreamGenerate(request, timeout=30):
        tokens = max(tokens, answer.delta.output_tokens)
print(tokens)
