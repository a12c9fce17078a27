"""An HTTP/2 client that sends one request by prior knowledge, its fields as literals, and tells the status that came."""

import asyncio
import struct

from client import LONG, connected
from wire import Head

HEADERS, RST_STREAM, SETTINGS, GOAWAY = 1, 3, 4, 7
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, SETTINGS, 0, 0, 0, 0, 0])
STATIC = {8: 200, 9: 204, 10: 206, 11: 304, 12: 400, 13: 404, 14: 500}  # RFC 7541, appendix A
DIGITS = {f"{n:05b}": str(n) for n in range(3)} | {f"{0x19 + n:06b}": str(n + 3) for n in range(7)}  # appendix B


async def ask(port, request):
    """The status, or how the stream or the connection was ended, of a request that is written as HTTP/1.1."""
    reader, writer = await connected(port)
    writer.write(PREFACE + frame(HEADERS, 5, 1, block(Head(request))))
    try:
        while True:
            head = await asyncio.wait_for(reader.readexactly(9), LONG)
            size, kind, flags = int.from_bytes(head[:3], "big"), head[3], head[4]
            payload = await asyncio.wait_for(reader.readexactly(size), LONG)
            if kind == HEADERS:
                return status(payload)
            if kind == SETTINGS and not flags & 1:
                writer.write(frame(SETTINGS, 1, 0, b""))
            if kind == RST_STREAM:
                return "stream reset"
            if kind == GOAWAY and struct.unpack(">I", payload[4:8])[0]:
                return "connection ended"
    except asyncio.TimeoutError:
        return "waits"
    except (asyncio.IncompleteReadError, ConnectionError):
        return "connection ended"
    finally:
        writer.close()


def frame(kind, flags, stream, payload):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def block(head):
    method, target, _ = head.line.split(b" ")
    fields = [(b":method", method), (b":scheme", b"http"), (b":path", target)]
    for name, value in head.fields:
        name = ":authority" if name.lower() == "host" else name.lower()
        fields.append((name.encode(), value.encode("latin-1")))
    fields.sort(key=lambda field: field[0][:1] != b":")
    return b"".join(b"\x00" + text(name) + text(value) for name, value in fields)


def text(data):
    """A string literal without Huffman; those of a corpus are below 127 bytes."""
    return bytes([len(data)]) + data


def status(block):
    """`:status` comes first, behind what changes the table's size."""
    at = 0
    while 0x20 <= block[at] < 0x40:
        at += 1
    if block[at] & 0x80:
        return STATIC[block[at] & 0x7F]
    size, value = block[at + 1] & 0x7F, block[at + 2 :]
    if not block[at + 1] & 0x80:
        return int(value[:size])
    bits, digits = "".join(f"{byte:08b}" for byte in value[:size]), ""
    while len(digits) < 3:
        width = 5 if bits[:5] in DIGITS else 6
        digits, bits = digits + DIGITS[bits[:width]], bits[width:]
    return int(digits)
