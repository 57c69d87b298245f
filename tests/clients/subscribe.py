#!/usr/bin/env python3
"""Prints vigie's tickets and their updates as they come, acknowledging each: subscribe.py SOCKET|HOST:PORT NAME [COUNT]
Needs the `protobuf` package, and `vigie_pb2` made by protoc from src/wire/vigie.proto.
"""
import socket
import sys

import vigie_pb2 as vigie
from google.protobuf.internal.decoder import _DecodeVarint
from google.protobuf.internal.encoder import _VarintBytes


def connect(address):
    if "/" in address:
        peer = socket.socket(socket.AF_UNIX)
        peer.connect(address)
        return peer
    host, port = address.rsplit(":", 1)
    return socket.create_connection((host, int(port)))


def send(peer, **kind):
    body = vigie.ClientMessage(**kind).SerializeToString()
    peer.sendall(_VarintBytes(len(body)) + body)


def messages(peer):
    stream = peer.makefile("rb")
    while prefix := stream.read(1):
        while prefix[-1] & 0x80:
            prefix += stream.read(1)
        length, _ = _DecodeVarint(prefix, 0)
        yield vigie.ServerMessage.FromString(stream.read(length))


def main(address, name, count=float("inf")):
    peer, acked = connect(address), 0
    mine = vigie.Subscription(name=name)
    send(peer, hello=vigie.Hello(protocol=1, client="subscribe.py", subscription=mine, window=10))
    for message in messages(peer):
        kind = message.WhichOneof("kind")
        if kind == "delivery":
            if message.delivery.HasField("ticket"):
                ticket = message.delivery.ticket
                print(ticket.id.hex(), ticket.priority, ticket.post.text.replace("\n", " "), flush=True)
            else:
                print(message.delivery.update.ticket_id.hex(), message.delivery.update.WhichOneof("change"), flush=True)
            send(peer, ack=vigie.Ack(seqs=[message.delivery.seq]))
        elif kind == "acked":
            acked += len(message.acked.seqs)
            if acked >= count:
                return
        elif kind == "heartbeat":
            send(peer, heartbeat=vigie.Heartbeat())
        elif kind == "goodbye":
            sys.exit(f"goodbye: {message.goodbye.reason}")


if __name__ == "__main__":
    main(*sys.argv[1:3], *map(int, sys.argv[3:]))
