"""What the steps in Python share: a legacy backend, crossfade before it, and a client that must be served whatever others do."""

import contextlib
import http.client
import http.server
import os
import pathlib
import re
import subprocess
import tempfile
import threading
import time

BINARY = os.environ.get("CROSSFADE_BINARY", "target/debug/crossfade")
BIG = b"x" * (8 << 20)

CONFIG = """
[server]
listen = "127.0.0.1:0"
{server}
[admin]
listen = "127.0.0.1:0"

[log]
level = "warn"
access = false

[upstream.app]
servers = ["{backend}"]
"""

EVERYTHING = """
[[route]]
path = "/{*path}"
upstream = "app"
"""


class Legacy(http.server.BaseHTTPRequestHandler):
    """`/big` is more than any buffer holds; everything else is a word."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self):
        self.answer(BIG if self.path == "/big" else b"hello\n")

    def do_POST(self):
        left = int(self.headers.get("content-length", 0))
        while left > 0 and (piece := self.rfile.read(min(left, 65536))):
            left -= len(piece)
        self.answer(b"taken\n")

    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(body)

    def log_message(self, *_):
        pass


class Impatient(http.server.BaseHTTPRequestHandler):
    """Answers a POST without reading what is sent, and hangs up; where a GET's answer ends only the connection's end tells."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(200)
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(b"all of it")

    def do_POST(self):
        self.send_response(413)
        self.send_header("Content-Length", "4")
        self.end_headers()
        self.wfile.write(b"full")
        self.close_connection = True

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024

    def handle_error(self, *_):
        """A client that went away is no error here."""


class Crossfade:
    """In front of a backend (`app`): an address, or `unix:/path`."""

    def __init__(self, backend, server="", directory=".", routes=EVERYTHING):
        file = pathlib.Path(directory, "proxy.toml")
        backend = backend if backend.startswith("unix:") else f"http://{backend}"
        file.write_text(CONFIG.format(backend=backend, server=server) + routes)
        self.process = subprocess.Popen([BINARY, "run", "--config", str(file)], stdout=subprocess.PIPE, text=True)
        ready = self.process.stdout.readline()
        self.address = re.match(r"ready public=https?://([0-9.:]+)", ready)[1]

    def resident_kib(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1])

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def stop(self):
        # The first signal begins a drain, the second ends it.
        for _ in range(2):
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(2)
                return
        self.process.kill()
        self.process.wait()


@contextlib.contextmanager
def world(tls=False):
    """A crossfade before a backend; over TLS with a certificate of its own."""
    legacy = Server(("127.0.0.1", 0), Legacy)
    threading.Thread(target=legacy.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as directory:
        section = certificate(directory) if tls else ""
        crossfade = Crossfade("127.0.0.1:%d" % legacy.server_port, section, directory)
        try:
            yield crossfade
        finally:
            crossfade.stop()
            legacy.shutdown()


def certificate(directory):
    """A self-signed certificate for localhost, as the section that names it; its files are key.pem and cert.pem."""
    key, cert = f"{directory}/key.pem", f"{directory}/cert.pem"
    request = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost"
    command = ["openssl", *request.split(), "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", cert]
    subprocess.run(command, check=True, capture_output=True)
    return f'\n[server.tls]\ncert = "{cert}"\nkey = "{key}"\n'


class Bystander(threading.Thread):
    """Asks for a word four times a second, each time on a new connection, and keeps how long each answer took."""

    def __init__(self, address):
        super().__init__(daemon=True)
        self.address = address
        self.took_s, self.failures = [], []
        self.over = threading.Event()

    def run(self):
        while not self.over.wait(0.25):
            began = time.monotonic()
            try:
                connection = http.client.HTTPConnection(self.address, timeout=30)
                connection.request("GET", "/word")
                answer = connection.getresponse()
                if answer.status != 200 or answer.read() != b"hello\n":
                    self.failures.append(f"status {answer.status}")
                connection.close()
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
            self.took_s.append(time.monotonic() - began)
