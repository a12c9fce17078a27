"""What asks a server whether it is well, over HTTP/1.0: HAProxy's checks name no host. HAProxy itself has to find crossfade well.

keepalived asks with its own address as the host, by the code of its `genhash`; the daemon needs the kernel's IPVS, so that is
what asks here, where it is installed.
"""

import http.client
import http.server
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time

from world import Crossfade, Server

PATIENCE_S = 30
PATH = os.environ["PATH"] + ":/usr/sbin:/usr/local/sbin"

# `plain` is HAProxy's own default, `OPTIONS / HTTP/1.0`.
HAPROXY = """
global
    stats socket {directory}/stats mode 600
defaults
    mode http
    timeout connect 5s
    timeout client 5s
    timeout server 5s
    # Without it a check must be answered within `inter`, which a busy machine misses.
    timeout check 10s
    default-server check inter 200ms rise 1 fall 1
backend plain
    option httpchk
    server crossfade {address}
backend named
    option httpchk GET /health
    server crossfade {address}
backend unwell
    option httpchk GET /unwell
    server crossfade {address}
frontend public
    bind unix@{directory}/public
    default_backend named
"""

# Status, what the last check found, and the HTTP status that it saw.
WANTED = {"plain": ("UP", "L7OK", "200"), "named": ("UP", "L7OK", "200"), "unwell": ("DOWN", "L7STS", "503")}


class Application(http.server.BaseHTTPRequestHandler):
    """Well, but for one path; remembers who was asked for what, by which host."""

    protocol_version = "HTTP/1.1"
    asked = set()

    def do_GET(self):
        self.asked.add((self.command, self.path, self.headers["Host"]))
        self.send_response(503 if self.path == "/unwell" else 200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    do_OPTIONS = do_GET

    def log_message(self, *_):
        pass


def main():
    application = Server(("127.0.0.1", 0), Application)
    threading.Thread(target=application.serve_forever, daemon=True).start()
    backend = "127.0.0.1:%d" % application.server_port
    with tempfile.TemporaryDirectory() as directory:
        crossfade = Crossfade(backend, directory=directory)
        file = pathlib.Path(directory, "haproxy.cfg")
        file.write_text(HAPROXY.format(address=crossfade.address, directory=directory))
        haproxy = subprocess.Popen([shutil.which("haproxy", path=PATH), "-db", "-f", str(file)])
        try:
            found = states(f"{directory}/stats")
            status = through(f"{directory}/public")
        finally:
            haproxy.kill()
            haproxy.wait()
        keepalived = genhash(crossfade.address)
        crossfade.stop()
    faults = [
        f"haproxy says {found.get(name)} of {name}, and not {wanted}"
        for name, wanted in WANTED.items()
        if found.get(name) != wanted
    ]
    faults += [f"a request through haproxy is answered {status}"] if status != 200 else []
    # A request without a host goes upstream with the server's address.
    probes = {("OPTIONS", "/", backend), ("GET", "/health", backend)}
    faults += [f"{probe} is not in {sorted(Application.asked)}" for probe in probes - Application.asked]
    print("\n".join(faults) or "haproxy finds crossfade well by both of its checks")
    if keepalived is None:
        print("not run: keepalived's genhash (on Debian: the package keepalived)")
    elif keepalived or ("GET", "/genhash", crossfade.address) not in Application.asked:
        faults.append(f"genhash ends with {keepalived}; the backend was asked {sorted(Application.asked)}")
        print(faults[-1])
    else:
        print("keepalived's genhash reads the answer")
    sys.exit(bool(faults))


def states(stats):
    """Each backend's status, what its last check found, and the status that it saw; as wanted, or as last seen in time."""
    deadline, found = time.monotonic() + PATIENCE_S, {}
    while time.monotonic() < deadline:
        rows = [line.split(",") for line in command(stats, "show stat").splitlines()]
        if rows and rows[0][0] == "# pxname":
            columns = {name: index for index, name in enumerate(rows[0])}
            servers = [row for row in rows[1:] if len(row) > 1 and row[1] == "crossfade"]
            names = ("status", "check_status", "check_code")
            # A star marks a check that is under way beside the last one's result.
            found = {row[0]: tuple(row[columns[name]].removeprefix("* ") for name in names) for row in servers}
            if found == WANTED:
                break
        time.sleep(0.1)
    return found


def command(path, line):
    answer = b""
    try:
        with socket.socket(socket.AF_UNIX) as stats:
            stats.connect(path)
            stats.sendall(line.encode() + b"\n")
            while piece := stats.recv(65536):
                answer += piece
    except OSError:
        return ""
    return answer.decode()


def through(path):
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(PATIENCE_S)
        client.connect(path)
        client.sendall(b"GET /page HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n")
        answer = http.client.HTTPResponse(client)
        answer.begin()
        return answer.status


def genhash(address):
    """How it ends; nothing where it is not installed."""
    if not (program := shutil.which("genhash", path=PATH)):
        return None
    host, port = address.split(":")
    return subprocess.run([program, "-s", host, "-p", port, "-u", "/genhash"], stdout=subprocess.DEVNULL).returncode


main()
