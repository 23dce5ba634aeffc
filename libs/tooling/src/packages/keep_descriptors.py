#!/usr/bin/env python3
"""A protoc plugin that generates one file: the descriptors it was given, as a FileDescriptorSet in base64."""
import base64
import sys

from google.protobuf.compiler import plugin_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorSet

request = plugin_pb2.CodeGeneratorRequest.FromString(sys.stdin.buffer.read())
encoded = base64.b64encode(FileDescriptorSet(file=request.proto_file).SerializeToString())
response = plugin_pb2.CodeGeneratorResponse(supported_features=1)
response.file.add(name="contracts.base64", content=encoded.decode())
sys.stdout.buffer.write(response.SerializeToString())
