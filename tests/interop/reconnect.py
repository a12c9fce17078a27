#!/usr/bin/env python3
"""Everybody comes back at once: crossfade is killed under all of its WebSockets and started anew.

Each client comes back as a browser would that was told nothing: at once, and after `Retry-After` where it is told to wait. Counted
are the questions that the authority gets (one for each session at most), the streams that the backend gets (one), and the time
until the last client has its first event again. reconnect.py [--clients N] [--sessions N] [--handshakes RATE] [--seconds N]
"""
import argparse
import asyncio
import json
import os
import random
import re
import resource
import signal
import sys
import tempfile
import time

CONFIG = """
[server]
listen = "127.0.0.1:{public}"
limits = {{connections = 40000, handshakes = "{handshakes}"}}
[admin]
listen = "127.0.0.1:0"
[log]
level = "error"
access = false
[upstream.app]
servers = ["http://127.0.0.1:{backend}"]
[auth.session]
kind = "forward"
upstream = "app"
path = "/me"
cookies = ["session"]
user = "user"
[[route]]
path = "/events"
upstream = "app"
source = "sse"
share = "public"
auth = "session"
"""


class Backend:
    """An application with sessions, and a stream that is the same for everybody."""

    def __init__(self):
        self.questions: dict[str, int] = {}
        self.streams = 0

    async def run(self):
        """In a process of its own: 10,000 clients in this one would keep it from answering in time."""
        server = await asyncio.start_server(self.serve, "127.0.0.1", 0, backlog=4096)
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()

    async def serve(self, reader, writer):
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                if head.startswith(b"GET /me "):
                    session = head.split(b"session=")[1].split(b"\r\n")[0].decode()
                    self.questions[session] = self.questions.get(session, 0) + 1
                    # As long as a look into a database takes.
                    await asyncio.sleep(0.02)
                    body = b'{"user":"%s"}' % session.encode()
                    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
                elif head.startswith(b"GET /counted "):
                    counted = {"questions": self.questions, "streams": self.streams}
                    writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n" + json.dumps(counted).encode())
                    self.questions, self.streams = {}, 0
                    return
                else:
                    self.streams += 1
                    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")
                    while not writer.is_closing():
                        writer.write(b"data: tick\n\n")
                        await writer.drain()
                        await asyncio.sleep(0.2)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()


class Client:
    def __init__(self, number: int, sessions: int, port: int):
        self.cookie = f"session=s{number % sessions}"
        self.port = port
        self.attempts = 0
        self.waits = 0

    async def connect(self, origin_of_time: float) -> float:
        """Until it has its first event; seconds since the storm began."""
        while True:
            self.attempts += 1
            try:
                if await self.attempt():
                    return time.monotonic() - origin_of_time
            except (ConnectionError, asyncio.IncompleteReadError):
                await asyncio.sleep(random.uniform(0.2, 1))

    async def attempt(self) -> bool:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.writer.write(
            f"GET /events HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nOrigin: http://127.0.0.1:{self.port}\r\nCookie: {self.cookie}\r\n"
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        head = await self.reader.readuntil(b"\r\n\r\n")
        if head.startswith(b"HTTP/1.1 101"):
            await self.reader.readexactly(2)
            return True
        self.writer.close()
        assert head.startswith(b"HTTP/1.1 503"), head
        self.waits += 1
        wait = int(head.lower().split(b"retry-after: ")[1].split(b"\r\n")[0])
        await asyncio.sleep(wait + random.random())
        return False

    def drop(self):
        self.writer.transport.abort()


async def counted(port: int) -> dict:
    """What the backend was asked since it was asked this."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /counted HTTP/1.1\r\n\r\n")
    answer = await reader.read()
    writer.close()
    return json.loads(answer.split(b"\r\n\r\n", 1)[1])


async def start(file: str, public: int, backend: int, handshakes: str):
    """The process, and its public port, which is a free one where `public` is 0."""
    with open(file, "w") as config:
        config.write(CONFIG.format(public=public, backend=backend, handshakes=handshakes))
    binary = os.environ["CROSSFADE_BINARY"]
    process = await asyncio.create_subprocess_exec(binary, "run", "--config", file, stdout=asyncio.subprocess.PIPE)
    ready = re.match(rb"ready public=http://127.0.0.1:(\d+)", await process.stdout.readline())
    assert ready, "crossfade did not start"
    return process, int(ready[1])


async def storm(arguments) -> bool:
    backend = await asyncio.create_subprocess_exec(sys.executable, __file__, "--backend", stdout=asyncio.subprocess.PIPE)
    backend_port = int(await backend.stdout.readline())
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
        process, public = await start(file.name, 0, backend_port, arguments.handshakes)
        clients = [Client(number, arguments.sessions, public) for number in range(arguments.clients)]
        try:
            began = time.monotonic()
            await asyncio.gather(*(client.connect(began) for client in clients))
            print(f"{len(clients)} clients of {arguments.sessions} sessions connected for the first time in {time.monotonic() - began:.1f} s")
            process.send_signal(signal.SIGKILL)
            await process.wait()
            for client in clients:
                client.drop()
                client.attempts = client.waits = 0
            await counted(backend_port)
            process, _ = await start(file.name, public, backend_port, arguments.handshakes)
            began = time.monotonic()
            back = await asyncio.wait_for(asyncio.gather(*(client.connect(began) for client in clients)), arguments.seconds * 2)
            seen = await counted(backend_port)
        finally:
            for child in (process, backend):
                child.kill()
                await child.wait()
    back.sort()
    questions, streams = seen["questions"], seen["streams"]
    most = max(questions.values())
    print(
        f"all back after {back[-1]:.1f} s, half of them after {back[len(back) // 2]:.1f} s; told to wait {sum(c.waits for c in clients)} times; "
        f"{sum(questions.values())} questions for {len(questions)} sessions, {most} at most for one; {streams} stream"
    )
    return back[-1] <= arguments.seconds and most == 1 and streams == 1


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--clients", type=int, default=1000)
    parser.add_argument("--sessions", type=int, default=200)
    parser.add_argument("--handshakes", default="1000/s burst 500")
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--backend", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if arguments.backend:
        return asyncio.run(Backend().run())
    sys.exit(0 if asyncio.run(storm(arguments)) else 1)


main()
