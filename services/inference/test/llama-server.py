"""Serves a GGUF model with llama.cpp's own OpenAI-compatible server; prints its address; ends with its stdin."""

import sys

import xllamacpp

params = xllamacpp.CommonParams()
params.model.path = sys.argv[1]
params.n_ctx = 512
params.n_parallel = 2
params.port = 0
params.warmup = False
params.cpuparams.n_threads = 1
params.cpuparams_batch.n_threads = 1
params.n_threads_http = 2
server = xllamacpp.Server(params)
print(server.listening_address, flush=True)
sys.stdin.read()
