"""python-socketio 5, unchanged, against crossfade: over polling, over a WebSocket, and from the one to the other."""

import base64
import contextlib
import hashlib
import hmac
import json
import tempfile
import threading
import time

import socketio

from world import Crossfade, Legacy, Server

SECRET = "a secret that is longer than thirty-two bytes"
ROUTES = """
[[route]]
path = "/feed"
upstream = "app"
source = {{kind = "sse", join = "live"}}
[[route]]
path = "/items"
upstream = "app"
calls = ["POST"]
[[route]]
path = "/{{*path}}"
upstream = "app"
[auth.people]
kind = "jwt"
issuer = false
audience = false
secret = "{secret}"
[socketio]
ping_interval = "1s"
ping_timeout = "1s"
[[socketio.namespace]]
name = "/"
greet = {{event = "connected", body = {{status = "ok"}}}}
[[socketio.namespace.on]]
event = "join"
subscribe = "/{{0}}"
[[socketio.namespace.on]]
event = "add"
call = "POST /items"
[[socketio.namespace.on]]
event = "upload"
call = "POST /items"
body = "{{0}}"
[[socketio.namespace]]
name = "/admin"
auth = "people"
require = {{roles = ["admin"]}}
greet = {{event = "welcome", body = {{user = "{{user}}"}}}}
"""
WAYS = {"polling": ["polling"], "websocket": ["websocket"], "upgrade": None}


class Backend(Legacy):
    """An event stream, and a place that takes what is posted: it answers JSON with JSON, and bytes with the same bytes."""

    streams = []

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        self.wfile.write(b": welcome\n\n")
        self.streams.append(self.wfile)
        while self.wfile in self.streams:
            time.sleep(0.05)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        kind = self.headers["content-type"]
        answer = body if kind == "application/octet-stream" else json.dumps({"got": json.loads(body)}).encode()
        self.send_response(201)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)


def say(name, data):
    for stream in list(Backend.streams):
        try:
            stream.write(f"event: {name}\ndata: {json.dumps(data)}\n\n".encode())
        except OSError:
            Backend.streams.remove(stream)


def token(**claims):
    def part(value):
        return base64.urlsafe_b64encode(value).rstrip(b"=")

    words = [{"alg": "HS256"}, {"exp": time.time() + 600, **claims}]
    signed = b".".join(part(json.dumps(word).encode()) for word in words)
    return (signed + b"." + part(hmac.digest(SECRET.encode(), signed, hashlib.sha256))).decode()


class Seen(list):
    """What came, in order."""

    def wait(self, count):
        until = time.monotonic() + 10
        while len(self) < count:
            assert time.monotonic() < until, f"only {list(self)}"
            time.sleep(0.01)
        return self[count - 1]


@contextlib.contextmanager
def connected(address, way, namespaces=("/",), auth=None, **more):
    client = socketio.Client(**more)
    client.seen = Seen()
    for namespace in namespaces:
        for name in ("connected", "tick", "welcome", "disconnect"):
            # Any number of arguments: with recovery each event carries its position behind the data.
            note = lambda *args, name=name, at=namespace: client.seen.append((at, name, *args[:1]))
            client.on(name, note, namespace=namespace)
    client.connect(f"http://{address}", transports=WAYS[way], namespaces=list(namespaces), auth=auth)
    try:
        yield client
    finally:
        client.disconnect()


def events_and_calls(address, way):
    with connected(address, way) as client:
        assert client.seen.wait(1) == ("/", "connected", {"status": "ok"})
        assert client.call("join", "feed") == {"status": 200}
        streams = time.monotonic() + 10
        while not Backend.streams and time.monotonic() < streams:
            time.sleep(0.01)
        for number in range(1, 101):
            say("tick", number)
        client.seen.wait(101)
        assert client.seen[1:] == [("/", "tick", number) for number in range(1, 101)]
        assert client.transport() == ("polling" if way == "polling" else "websocket")
        assert client.call("add", {"title": "é\x1e€"}) == {"status": 201, "body": {"got": {"title": "é\x1e€"}}}
        assert client.call("nothing", 1)["error"]["code"] == "not_found"
        # Longer than an interval and a timeout: the client has answered pings.
        time.sleep(2.5)
        assert client.call("add", 1)["status"] == 201


def bytes_both_ways(address, way):
    with connected(address, way) as client:
        for size in (1, 2, 50_000):
            sent = bytes(range(255, -1, -1)) * (size // 256 + 1)
            answer = client.call("upload", sent[:size])
            assert answer == {"status": 201, "body": sent[:size]}, str(answer)[:200]
        nested = client.call("add", {"file": b"\x00\x01\x02"})
        assert nested == {"status": 201, "body": {"got": {"file": "AAEC"}}}, nested


def namespaces_by_token(address, way):
    admin = {"token": token(sub="alice", roles=["admin"])}
    with connected(address, way, ["/", "/admin"], auth=admin) as client:
        client.seen.wait(2)
        assert sorted(client.seen) == [("/", "connected", {"status": "ok"}), ("/admin", "welcome", {"user": "alice"})]
        assert set(client.namespaces) == {"/", "/admin"}
    for auth, data in (
        ({}, {"code": "unauthorized", "status": 401, "close": 4001}),
        ({"token": token(sub="bob", roles=[])}, {"code": "forbidden", "status": 403, "close": 4003}),
        ({"token": token(sub="alice", roles=["admin"], exp=1)}, {"code": "token_expired", "status": 401, "close": 4401}),
    ):
        assert refusal(address, way, "/admin", auth)["data"] == data
    assert refusal(address, way, "/nowhere", {}) == {"message": "Invalid namespace"}


def refusal(address, way, namespace, auth):
    client, errors = socketio.Client(reconnection=False), Seen()
    client.on("connect_error", lambda error: errors.append(error), namespace=namespace)
    with contextlib.suppress(socketio.exceptions.ConnectionError):
        client.connect(f"http://{address}", transports=WAYS[way], namespaces=[namespace], auth=auth)
    error = errors.wait(1)
    client.disconnect()
    return error


def end_by_the_server(address, way):
    """A packet that is none ends the socket, and the client may come back."""
    with connected(address, way, reconnection=False) as client:
        client.seen.wait(1)
        client.eio.send("2{}")
        assert client.seen.wait(2)[:2] == ("/", "disconnect")
        client.connect(f"http://{address}", transports=WAYS[way])
        assert client.seen.wait(3) == ("/", "connected", {"status": "ok"})


def main():
    backend = Server(("127.0.0.1", 0), Backend)
    threading.Thread(target=backend.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as directory:
        routes = ROUTES.format(secret=SECRET)
        crossfade = Crossfade(f"127.0.0.1:{backend.server_port}", directory=directory, routes=routes)
        try:
            for way in WAYS:
                for story in (events_and_calls, bytes_both_ways, namespaces_by_token, end_by_the_server):
                    story(crossfade.address, way)
                    print(f"python-socketio over {way}: {story.__name__.replace('_', ' ')}", flush=True)
        finally:
            Backend.streams.clear()
            crossfade.stop()
            backend.shutdown()


if __name__ == "__main__":
    main()
