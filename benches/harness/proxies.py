"""The servers as proxies that pass everything through, alike as far as their settings go: one worker, no access log, connections
to the backend kept, the forwarded headers and a request id written for every request, over TLS the same certificate."""
from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

from . import limits, servers

if TYPE_CHECKING:
    from .servers import Server, Stage

PATHS = {"1 KB": "/bytes/1024", "64 KB": "/bytes/65536", "stream": "/events/passed", "tunnel": "/ws", "bridge": "/events/bridged"}

CROSSFADE = """
[server]
listen = "127.0.0.1:0"
workers = 1
{tls}
[server.limits]
connections = 50000

[admin]
listen = "127.0.0.1:0"

[log]
level = "warn"
access = false

[upstream.app]
servers = ["http://{backend}"]

[[route]]
path = "/events/bridged"
upstream = "app"
source = "sse"
share = "public"

[[route]]
path = "/{{*path}}"
upstream = "app"
"""

NGINX = """
worker_processes 1;
worker_rlimit_nofile {descriptors};
daemon off;
pid {directory}/proxy-nginx.pid;
error_log {directory}/nginx.log error;
events {{ worker_connections {descriptors}; multi_accept on; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
  keepalive_timeout 1h;
  proxy_max_temp_file_size 0;
  proxy_temp_path {directory}/proxy;
  client_body_temp_path {directory}/body;
  fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  map $http_upgrade $upgrade_or_none {{ default upgrade; '' ''; }}
  upstream app {{
    server {backend};
    keepalive 512;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
  }}
  server {{
    listen 127.0.0.1:{port} backlog={backlog}{tls};
    proxy_http_version 1.1;
    proxy_read_timeout 1h;
    proxy_set_header Host $http_host;
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection $upgrade_or_none;
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    proxy_set_header X-Forwarded-Host $http_host;
    proxy_set_header X-Forwarded-Proto $scheme;
    proxy_set_header X-Real-IP $remote_addr;
    proxy_set_header X-Request-Id $request_id;
    add_header X-Request-Id $request_id;
    location / {{ proxy_pass http://app; }}
    location /events {{ proxy_pass http://app; proxy_buffering off; }}
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
  http-reuse always
frontend public
  bind 127.0.0.1:{port}{tls}
  unique-id-format %[uuid()]
  unique-id-header X-Request-Id
  option forwardfor
  http-request set-header X-Forwarded-Host %[req.hdr(host)]
  http-request set-header X-Forwarded-Proto {scheme}
  http-request set-header X-Real-IP %[src]
  http-response set-header X-Request-Id %[unique-id]
  default_backend app
backend app
  server one {backend}
"""


def start(stage: Stage, kind: str, tls: bool) -> Server:
    return {"crossfade": _crossfade, "nginx": _nginx, "haproxy": _haproxy}[kind](stage, certificate(stage) if tls else None)


def certificate(stage: Stage) -> str:
    """Path of a PEM file with an ECDSA certificate for localhost and its key."""
    both, key = stage.directory / "server.pem", stage.directory / "server.key"
    if not both.exists():
        request = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -sha256 -nodes -days 2 -subj /CN=localhost"
        extensions = ["-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE"]
        made = ["openssl", *request.split(), *extensions, "-keyout", str(key), "-out", str(both)]
        subprocess.run(made, check=True, capture_output=True)
        with open(both, "a") as file:
            file.write(key.read_text())
    return str(both)


def _crossfade(stage: Stage, tls: str | None) -> Server:
    section = f'\n[server.tls]\ncert = "{tls}"\nkey = "{tls}"\n' if tls else ""
    file = stage.write("passing.toml", CROSSFADE.format(backend=stage.backend, tls=section))
    process = stage.serve([str(stage.binaries.crossfade), "run", "--config", file])
    ready = process.stdout.readline()
    found = re.match(r"ready public=https?://([0-9.:]+)", ready)
    if not found or ready.startswith("ready public=https") != bool(tls):
        process.kill()
        raise RuntimeError(f"crossfade did not start{' with TLS' if tls else ''}; its line was {ready!r}")
    return _server(process, found[1], tls)


def _nginx(stage: Stage, tls: str | None) -> Server:
    port = servers.free_port()
    listens = f" ssl http2; ssl_certificate {tls}; ssl_certificate_key {tls}; ssl_protocols TLSv1.2 TLSv1.3" if tls else ""
    text = NGINX.format(
        directory=stage.directory,
        descriptors=limits.raise_descriptors(),
        backend=stage.backend,
        port=port,
        backlog=servers.BACKLOG,
        tls=listens,
    )
    process = stage.serve(["nginx", "-e", f"{stage.directory}/nginx.log", "-c", stage.write("passing-nginx.conf", text)])
    return _server(process, servers.await_listener(port, process), tls)


def _haproxy(stage: Stage, tls: str | None) -> Server:
    port = servers.free_port()
    text = HAPROXY.format(
        connections=limits.raise_descriptors() // 2 - 100,
        backlog=servers.BACKLOG,
        port=port,
        backend=stage.backend,
        tls=f" ssl crt {tls} alpn h2,http/1.1" if tls else "",
        scheme="https" if tls else "http",
    )
    process = stage.serve(["haproxy", "-db", "-f", stage.write("passing-haproxy.cfg", text)])
    return _server(process, servers.await_listener(port, process), tls)


def _server(process: subprocess.Popen, address: str, tls: str | None) -> Server:
    return servers.Server(process, address, PATHS, "raw", {"stream": PATHS["stream"]}, tls)
