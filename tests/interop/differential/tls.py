"""A TLS server that closes without a word, as many do, with the certificate that `openssl req -x509` makes."""

import contextlib
import socket
import ssl
import subprocess
import threading

HEAD = b"HTTP/1.1 200 OK\r\nconnection: close\r\n"
ANSWERS = {
    "/end": HEAD + b"\r\nabcdef",
    "/length": HEAD + b"content-length: 6\r\n\r\nabcdef",
    "/length-cut": HEAD + b"content-length: 60\r\n\r\nabcdef",
    "/chunks-cut": HEAD + b"transfer-encoding: chunked\r\n\r\n6\r\nabcdef\r\n",
}


def certificate(folder):
    command = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=app.internal -addext subjectAltName=DNS:app.internal"
    files = folder / "own.crt", folder / "own.key"
    subprocess.run(["openssl", *command.split(), "-out", files[0], "-keyout", files[1]], check=True, capture_output=True)
    return files


class Server:
    """Serves each connection in a thread of its own; none outlives its answer."""

    def __init__(self, folder):
        self.ca, key = certificate(folder)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(self.ca, key)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            connection, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=[connection], daemon=True).start()

    def serve(self, connection):
        connection.settimeout(20)
        with contextlib.suppress(OSError, IndexError), self.context.wrap_socket(connection, server_side=True) as secure:
            request = b""
            while b"\r\n\r\n" not in request and (piece := secure.recv(65536)):
                request += piece
            # Closed without unwrap(): no close_notify goes out.
            secure.sendall(ANSWERS[request.split(b" ")[1].decode()])
