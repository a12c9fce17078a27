"""Bodies of real clients and servers: Python's http.client, its https server with a certificate of openssl, and gRPC.

bodies.py BINARY; gRPC is left out where grpcio is not installed, and said so.
"""
import http.client
import http.server
import json
import pathlib
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

LARGE = 20 << 20


def port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class Impatient(http.server.BaseHTTPRequestHandler):
    """Says nothing of where a GET's answer ends but the connection's end; answers a POST without reading it."""

    def do_GET(self):
        self.send_response(200)
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


def serve(folder=None):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Impatient)
    if folder:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "own.crt", folder / "own.key")
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


def upload(address, path):
    client = http.client.HTTPConnection("127.0.0.1", address, timeout=30)
    client.request("POST", path, b"x" * LARGE)
    answer = client.getresponse()
    return answer.status, answer.read()


def converse(address):
    """A stream in both directions, which is quiet for longer than the limits would let it be."""
    import grpc

    def echo(requests, _):
        for request in requests:
            yield request

    from concurrent.futures import ThreadPoolExecutor

    server = grpc.server(ThreadPoolExecutor(4))
    handler = grpc.stream_stream_rpc_method_handler(echo)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("echo.Echo", {"Say": handler}),))
    bound = server.add_insecure_port(f"127.0.0.1:{address['backend']}")
    assert bound == address["backend"]
    server.start()

    def words():
        for word in (b"one", b"two", b"three"):
            yield word
            time.sleep(12)

    with grpc.insecure_channel(f"127.0.0.1:{address['public']}") as channel:
        heard = list(channel.stream_stream("/echo.Echo/Say")(words()))
    server.stop(None)
    assert heard == [b"one", b"two", b"three"], heard


def main(binary):
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        subprocess.run(
            "openssl req -x509 -newkey rsa:2048 -nodes -keyout own.key -out own.crt -days 2 -subj /CN=localhost".split(),
            cwd=folder, check=True, capture_output=True,
        )
        public, grpc_backend = port(), port()
        (folder / "proxy.toml").write_text(f"""
[server]
listen = "127.0.0.1:{public}"
[admin]
listen = "127.0.0.1:0"
[upstream.plain]
servers = ["http://127.0.0.1:{serve()}"]
[upstream.own]
servers = ["https://localhost:{serve(folder)}"]
tls = {{ca = {json.dumps(str(folder / "own.crt"))}}}
[upstream.grpc]
servers = ["http://127.0.0.1:{grpc_backend}"]
http2 = true
[[route]]
path = "/plain"
upstream = "plain"
[[route]]
path = "/own"
upstream = "own"
[[route]]
path = "/echo.Echo/Say"
upstream = "grpc"
""")
        sidecar = subprocess.Popen([binary, "run", "--config", folder / "proxy.toml"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        try:
            assert sidecar.stdout.readline().startswith(b"ready ")
            for path, status in (("/none", 404), ("/plain", 413), ("/own", 413)):
                answered, _ = upload(public, path)
                assert answered == status, (path, answered)
            print("http.client has sent 20 MiB before it reads, and reads ours and the backend's answer")
            client = http.client.HTTPConnection("127.0.0.1", public, timeout=30)
            client.request("GET", "/own")
            answer = client.getresponse()
            assert (answer.status, answer.read()) == (200, b"all of it")
            print("an https server of Python's with a certificate of openssl's, without close_notify: whole")
            try:
                converse({"public": public, "backend": grpc_backend})
                print("a gRPC stream in both directions, quiet for 12 s: whole")
            except ImportError:
                print("not run: gRPC (grpcio is not installed)")
        finally:
            sidecar.terminate()
            sidecar.wait()


main(sys.argv[1])
