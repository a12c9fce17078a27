"""Backends: one that records what it gets, and one that plays an application with long bodies."""

import asyncio
import base64
import hashlib
import re

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nabcdef"


class Recorder:
    """Answers whatever a forgiving server would take for a request, and keeps the bytes of each."""

    def __init__(self):
        self.whole, self.script = [], None

    async def start(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0, backlog=1024)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def serve(self, reader, writer):
        data = b""
        try:
            while piece := await reader.read(65536):
                data += piece
                while size := lenient_size(data):
                    request, data = data[:size], data[size:]
                    self.whole.append(request)
                    writer.write(self.script or answer(request))
                    if self.script:
                        return
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    def expect(self, script=None):
        """Forgets what came, and answers once for each connection with these bytes, which closes it; or as usual."""
        self.whole, self.script = [], script


def lenient_size(data):
    """Where the first request ends for a backend that takes what it gets; None where more is to come."""
    end = re.search(rb"\r?\n\r?\n", data)
    if not end:
        return None
    head = data[: end.start()].lower()
    at = end.end()
    if re.search(rb"\ntransfer-encoding[ \t]*:[^\n]*chunked", head):
        while True:
            line = re.match(rb"\s*([0-9a-f]+)[^\n]*\n", data[at:], re.I)
            if not line:
                return None
            at += line.end()
            size = int(line[1], 16)
            if size == 0:
                end = re.match(rb"([^\r\n]+\r?\n)*\r?\n", data[at:])
                return at + end.end() if end else None
            if len(data) < at + size:
                return None
            at += size
    length = re.search(rb"\ncontent-length[ \t]*:[ \t]*(\d+)", head)
    at += int(length[1]) if length else 0
    return at if len(data) >= at else None


def answer(request):
    key = re.search(rb"\r\nsec-websocket-key: (\S+)", request, re.I)
    if key and re.search(rb"\r\nupgrade: *websocket", request, re.I):
        guid = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(key[1] + guid).digest())
        return (
            b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
            b"sec-websocket-accept: " + accept + b"\r\n\r\n"
        )
    return OK


class Application:
    """`/echo` sends each piece back as it comes, `/early` answers by 413 and closes unread, all else reads and answers."""

    async def start(self, folder):
        self.socket = str(folder / "app.sock")
        self.servers = [
            await asyncio.start_server(self.serve, "127.0.0.1", 0, backlog=1024),
            await asyncio.start_unix_server(self.serve, self.socket),
        ]
        self.port = self.servers[0].sockets[0].getsockname()[1]
        return self

    async def serve(self, reader, writer):
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            path = head.split(b" ")[1]
            if path == b"/early":
                writer.write(b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 4\r\nconnection: close\r\n\r\nfull")
                return
            if path == b"/echo":
                writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
            length = re.search(rb"(?i)\ncontent-length: *(\d+)", head)
            if length:
                data = await reader.readexactly(int(length[1]))
                if path == b"/echo":
                    writer.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(data), data))
            elif b"transfer-encoding" in head.lower():
                data = b""
                while not data.endswith(b"0\r\n\r\n"):
                    piece = await reader.read(65536)
                    if not piece:
                        return
                    data += piece
                    if path == b"/echo":
                        writer.write(piece)
                        await writer.drain()
            if path != b"/echo":
                writer.write(OK)
            await reader.read()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
