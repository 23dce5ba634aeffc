"""The other implementation of HPACK: reads a job as JSON from stdin and writes its result as JSON to stdout.

A job is {"do": "decode" | "encode", "connections": [[block, …], …]}; a block is {"size": n or absent, …} where size is a
new limit of the table, in force from this block on. To decode: "hex"; the result has a list of [name, value] for each
block. To encode: "fields" as [name, value, sensitive] and "huffman"; the result has the hex of each block.
"""

import json
import sys

from hpack import Decoder, Encoder
from hpack.struct import HeaderTuple, NeverIndexedHeaderTuple


def decode(blocks):
    decoder = Decoder(max_header_list_size=1_000_000)
    for block in blocks:
        if "size" in block:
            decoder.max_allowed_table_size = block["size"]
        fields = decoder.decode(bytes.fromhex(block["hex"]), raw=True)
        yield [[name.decode("latin-1"), value.decode("latin-1")] for name, value in fields]


def encode(blocks):
    encoder = Encoder()
    for block in blocks:
        if "size" in block:
            encoder.header_table_size = block["size"]
        fields = [
            (NeverIndexedHeaderTuple if sensitive else HeaderTuple)(name.encode("latin-1"), value.encode("latin-1"))
            for name, value, sensitive in block["fields"]
        ]
        yield encoder.encode(fields, huffman=block["huffman"]).hex()


job = json.load(sys.stdin)
work = {"decode": decode, "encode": encode}[job["do"]]
json.dump([list(work(blocks)) for blocks in job["connections"]], sys.stdout)
