# A generation from Python, over mTLS (while `npm start` runs). Once, in a virtual environment:
#   pip install grpcio grpcio-tools
#   python -m grpc_tools.protoc -I protos -I protos/third_party --python_out=stubs --grpc_python_out=stubs \
#     gatehouse/inference/v1/inference.proto gatehouse/policy/v1/annotations.proto buf/validate/validate.proto
# Then: PYTHONPATH=stubs python docs/examples/first-call/call.py
from pathlib import Path

import grpc
from gatehouse.inference.v1 import inference_pb2, inference_pb2_grpc

identities = Path(__file__).parents[3] / ".gatehouse" / "identities"
credentials = grpc.ssl_channel_credentials(
    root_certificates=(identities / "bundle.pem").read_bytes(),
    private_key=(identities / "developer" / "key.pem").read_bytes(),
    certificate_chain=(identities / "developer" / "certificate.pem").read_bytes(),
)

with grpc.secure_channel("localhost:8443", credentials) as channel:
    inference = inference_pb2_grpc.InferenceServiceStub(channel)
    request = inference_pb2.GenerateRequest(
        model="smollm2-135m-instruct", prompt="The capital of France is", max_tokens=16
    )
    for answer in inference.StreamGenerate(request, timeout=30):
        print(answer.delta.text, end="", flush=True)
    print()
