"""The servers that are compared, each pinned to one core, and the load generator on the other."""
import base64
import hmac
import json
import shutil
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from . import build, limits, proxies

BACKLOG = 4096
ISSUER, SECRET = "https://login.example", "the secret of the benchmarks, and of nothing else"
KINDS = ("crossfade", "crossfade2", "crossfadeio", "nchan", "nginx", "haproxy", "ws", "socketio", "bare")

CROSSFADE = """
[server]
listen = "127.0.0.1:0"
workers = {workers}

[server.limits]
connections = 50000
topics = 20000
topics_per_principal = 20000

[admin]
listen = "127.0.0.1:0"

[log]
level = "warn"
access = false

[upstream.app]
servers = ["http://{backend}"]

[[route]]
path = "/events"
upstream = "app"
source = "sse"
share = "public"

[[route]]
path = "/events/gap"
upstream = "app"
source = "sse"
share = "public"
slow = "gap"

[auth.login]
kind = "jwt"
issuer = "{issuer}"
audience = false
secret = "{secret}"
from = ["query:token"]

[[route]]
path = "/events/login"
upstream = "app"
source = "sse"
share = "public"
auth = "login"

[[route]]
path = "/events/topic/{{number}}"
upstream = "app"
source = "sse"
share = "public"
filter = ["kind"]
replay = {{age = "1s"}}

[[route]]
path = "/list"
upstream = "app"
source = {{kind = "poll", every = "100ms"}}
share = "public"
"""

# A crossfade of its own, so that the others run without; and so that `--binary` may be one that does not know it.
SOCKETIO = """
[socketio]
recovery = false                               # as in the relay it is compared with

[[socketio.namespace]]
name = "/"
subscribe = ["/events"]
"""
SOCKETIO_PATHS = {
    "default": "/socket.io/?EIO=4&transport=websocket",
    "polling": "/socket.io/?EIO=4&transport=polling",
}

# The history is as long as crossfade's default replay window.
NCHAN = """
load_module {modules}/ngx_nchan_module.so;
worker_processes 1;
worker_rlimit_nofile {descriptors};
daemon off;
pid {directory}/nginx.pid;
error_log {directory}/nginx.log error;
# nginx drops waiting connections when less than a sixteenth is free.
events {{ worker_connections {connections}; multi_accept on; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
  keepalive_timeout 1h;
  client_body_buffer_size 64k;
  client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  nchan_shared_memory_size 512M;
  server {{
    listen 127.0.0.1:{port} backlog={backlog};
    location = /pub {{
      nchan_publisher; nchan_channel_id bench;
      nchan_message_buffer_length 1000; nchan_message_timeout 60s;
    }}
    location = /sub {{
      nchan_subscriber websocket; nchan_channel_id bench;
      nchan_subscriber_first_message newest; nchan_websocket_ping_interval 25s;
    }}
    location ~ ^/pub/(.+)$ {{
      nchan_publisher; nchan_channel_id $1;
      nchan_message_buffer_length 1000; nchan_message_timeout 60s;
    }}
    location ~ ^/subs/(.+)$ {{
      nchan_subscriber websocket; nchan_channel_id $1; nchan_channel_id_split_delimiter ",";
      nchan_subscriber_first_message newest; nchan_websocket_ping_interval 25s;
    }}
  }}
}}
"""

HAPROXY = """
global
  nbthread 1
  maxconn {connections}
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  timeout tunnel 1h
  backlog {backlog}
frontend public
  bind 127.0.0.1:{port}
  default_backend app
backend app
  server one {backend}
"""


@dataclass
class Server:
    """One that runs. `endpoints` are named targets of its WebSocket side."""

    process: subprocess.Popen
    address: str
    paths: dict[str, str]
    protocol: str
    publish: dict
    # Its certificate, where it is spoken to over TLS.
    ca: str | None = None

    def command(self, endpoint: str = "default", protocol: str | None = None, stream: str | None = None) -> dict:
        target = {"address": self.address, "path": self.paths[endpoint], "protocol": protocol or self.protocol, "ca": self.ca}
        return {"pid": self.process.pid, "target": target, "publish": {"stream": stream} if stream else self.publish}

    def topics(self, endpoint: str, protocol: str | None, topics: int, each: int, filter: str | None) -> dict:
        """The same, of many topics: events go to them in turn, and each connection subscribes to the next `each`."""
        command = self.command(endpoint, protocol)
        posted = "post" in self.publish
        path = "" if posted else "/events/topic/"
        command["target"]["subscriptions"] = {"topics": topics, "each": each, "path": path, "filter": filter}
        if posted:
            command["publish"] = {"posts": {"address": self.address, "path": "/pub/", "count": topics}}
        else:
            command["publish"] = {"streams": {"path": path, "count": topics}}
        return command

    def stop(self) -> None:
        # The first signal may begin a drain; the second ends it.
        for end, patience in ((self.process.terminate, 0.5), (self.process.terminate, 3), (self.process.kill, None)):
            end()
            try:
                self.process.wait(patience)
                return
            except subprocess.TimeoutExpired:
                continue


class Stage:
    """The load generator and a directory for what servers write."""

    def __init__(self, binaries: build.Binaries, kinds: set[str]):
        self.binaries = binaries
        self.kinds = kinds

    def __enter__(self) -> "Stage":
        self.directory = Path(tempfile.mkdtemp(prefix="crossfade-bench-"))
        self.load = _pinned(limits.LOAD_CORE, [str(self.binaries.load)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.backend = json.loads(self.load.stdout.readline())["backend"]
        return self

    def __exit__(self, *_) -> None:
        self.load.stdin.close()
        self.load.wait()
        shutil.rmtree(self.directory, ignore_errors=True)

    def measure(self, work: str, **arguments) -> dict:
        """One work of the load generator; {"error": …} where it could not be done."""
        self.load.stdin.write(json.dumps({"work": work, **arguments}) + "\n")
        self.load.stdin.flush()
        return json.loads(self.load.stdout.readline())

    def start(self, kind: str, setting: str = "realtime") -> Server:
        if setting == "realtime":
            return getattr(self, f"_start_{kind}")()
        return proxies.start(self, kind, tls=setting == "tls")

    def _start_crossfade2(self) -> Server:
        """With two workers, on both cores: it shares one with the clients."""
        return self._start_crossfade(workers=2, cores=f"{limits.LOAD_CORE},{limits.SERVER_CORE}")

    def _start_crossfadeio(self) -> Server:
        server = self._start_crossfade(more=SOCKETIO)
        server.paths, server.protocol = SOCKETIO_PATHS, "socketio"
        return server

    def _start_crossfade(self, workers: int = 1, cores: str = str(limits.SERVER_CORE), more: str = "") -> Server:
        text = CROSSFADE.format(backend=self.backend, issuer=ISSUER, secret=SECRET, workers=workers) + more
        file = self.write(f"proxy{workers}{'io' if more else ''}.toml", text)
        process = self.serve([str(self.binaries.crossfade), "run", "--config", file], cores)
        ready = process.stdout.readline()
        if not ready.startswith("ready public=http://"):
            raise RuntimeError(f"crossfade did not start; its line was {ready!r}")
        address = ready.split()[1].removeprefix("public=http://")
        paths = {
            "default": "/events",
            "gap": "/events/gap",
            "login": f"/events/login?token={_token()}",
            "many": "/_crossfade/ws",
            "topics": "/_crossfade/ws",
            "list": "/list",
        }
        return Server(process, address, paths, "raw", {"stream": "/events"})

    def _start_nchan(self) -> Server:
        port = free_port()
        modules = next(Path(path) for path in ("/usr/lib/nginx/modules", "/usr/share/nginx/modules") if Path(path).is_dir())
        text = NCHAN.format(
            modules=modules,
            directory=self.directory,
            port=port,
            backlog=BACKLOG,
            descriptors=limits.raise_descriptors(),
            connections=limits.raise_descriptors() * 5 // 4,
        )
        process = self.serve(["nginx", "-e", f"{self.directory}/nginx.log", "-c", self.write("nginx.conf", text)])
        address = await_listener(port, process)
        paths = {"default": "/sub", "topics": "/subs/"}
        return Server(process, address, paths, "raw", {"post": {"address": address, "path": "/pub"}})

    def _start_haproxy(self) -> Server:
        port = free_port()
        text = HAPROXY.format(
            port=port, backlog=BACKLOG, backend=self.backend, connections=limits.raise_descriptors() // 2 - 100
        )
        process = self.serve(["haproxy", "-db", "-f", self.write("haproxy.cfg", text)])
        return Server(process, await_listener(port, process), {"default": "/ws"}, "raw", {"stream": "/events/none"})

    def _start_ws(self) -> Server:
        return self._start_relay(["node", str(build.HERE / "peers/ws-relay.js")], "/events/ws", "raw", "/")

    def _start_socketio(self) -> Server:
        command = ["node", str(build.HERE / "peers/socketio-relay.js")]
        server = self._start_relay(command, "/events/socketio", "socketio", "/")
        server.paths = SOCKETIO_PATHS
        return server

    def _start_bare(self) -> Server:
        return self._start_relay([str(self.binaries.load), "bare"], "/events/bare", "raw", "/")

    def _start_relay(self, command: list[str], stream: str, protocol: str, path: str) -> Server:
        process = self.serve([*command, self.backend, stream])
        address = process.stdout.readline().removeprefix("ready ").strip()
        return Server(process, address, {"default": path}, protocol, {"stream": stream})

    def serve(self, command: list[str], cores: str = str(limits.SERVER_CORE)) -> subprocess.Popen:
        with open(self.directory / "stderr.log", "a") as errors:
            return _pinned(cores, command, stdout=subprocess.PIPE, stderr=errors)

    def write(self, name: str, text: str) -> str:
        file = self.directory / name
        file.write_text(text)
        return str(file)


def _pinned(cores: int | str, command: list[str], **options) -> subprocess.Popen:
    return subprocess.Popen(["taskset", "-c", str(cores), *command], text=True, **options)


def _token() -> str:
    """A token that the crossfade of these benchmarks believes (RFC 7519), good for a day."""
    coded = lambda raw: base64.urlsafe_b64encode(raw).rstrip(b"=")
    claims = {"iss": ISSUER, "sub": "ann", "exp": int(time.time()) + 86_400}
    signed = b".".join(coded(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, claims))
    return (signed + b"." + coded(hmac.digest(SECRET.encode(), signed, "sha256"))).decode()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def await_listener(port: int, process: subprocess.Popen) -> str:
    for _ in range(100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return f"127.0.0.1:{port}"
        if process.poll() is not None:
            break
        time.sleep(0.05)
    raise RuntimeError(f"{process.args[3]} did not start")
