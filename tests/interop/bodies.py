"""Bodies of real clients and servers: Python's http.client, its https server with a certificate of openssl, and gRPC.

gRPC is left out where grpcio is not installed, and said so.
"""
import http.client
import json
import ssl
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from world import Crossfade, Impatient, Server, certificate

LARGE = 20 << 20
ROUTES = """
[upstream.own]
servers = ["https://localhost:{own}"]
tls = {{ca = {ca}}}
[upstream.grpc]
servers = ["http://127.0.0.1:{grpc}"]
http2 = true
[[route]]
path = "/plain"
upstream = "app"
[[route]]
path = "/own"
upstream = "own"
[[route]]
path = "/echo.Echo/Say"
upstream = "grpc"
"""


def serve(directory=None):
    server = Server(("127.0.0.1", 0), Impatient)
    if directory:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(f"{directory}/cert.pem", f"{directory}/key.pem")
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_port


def serve_echo():
    """A gRPC server that sends back what it gets, and its port."""
    import grpc

    def echo(requests, _):
        yield from requests

    server = grpc.server(ThreadPoolExecutor(4))
    handler = grpc.stream_stream_rpc_method_handler(echo)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("echo.Echo", {"Say": handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, port


def upload(address, path):
    client = http.client.HTTPConnection(address, timeout=30)
    client.request("POST", path, b"x" * LARGE)
    return client.getresponse().status


def converse(address):
    """A stream in both directions, which is quiet for longer than the limits would let it be."""
    import grpc

    def words():
        for word in (b"one", b"two", b"three"):
            yield word
            time.sleep(12)

    with grpc.insecure_channel(address) as channel:
        heard = list(channel.stream_stream("/echo.Echo/Say")(words()))
    assert heard == [b"one", b"two", b"three"], heard


def main():
    try:
        echo, grpc_port = serve_echo()
    except ImportError:
        echo, grpc_port = None, 9
    with tempfile.TemporaryDirectory() as directory:
        certificate(directory)
        ca = json.dumps(f"{directory}/cert.pem")
        routes = ROUTES.format(own=serve(directory), ca=ca, grpc=grpc_port)
        crossfade = Crossfade(f"127.0.0.1:{serve()}", directory=directory, routes=routes)
        try:
            for path, status in (("/none", 404), ("/plain", 413), ("/own", 413)):
                answered = upload(crossfade.address, path)
                assert answered == status, (path, answered)
            print("http.client has sent 20 MiB before it reads, and reads ours and the backend's answer")
            client = http.client.HTTPConnection(crossfade.address, timeout=30)
            client.request("GET", "/own")
            answer = client.getresponse()
            assert (answer.status, answer.read()) == (200, b"all of it")
            print("an https server of Python's with a certificate of openssl's, without close_notify: whole")
            if echo:
                converse(crossfade.address)
                print("a gRPC stream in both directions, quiet for 12 s: whole")
                echo.stop(None)
            else:
                print("not run: gRPC (grpcio is not installed)")
        finally:
            crossfade.stop()


main()
