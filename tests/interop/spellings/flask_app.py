"""One handler behind a path that is to be protected, and how often it was reached."""

from flask import Flask
from werkzeug.serving import WSGIRequestHandler, make_server

app = Flask(__name__)
hits = 0


class Quiet(WSGIRequestHandler):
    def log(self, *_):
        pass


@app.get("/admin/secret")
def secret():
    global hits
    hits += 1
    return "secret"


@app.get("/hits")
def count():
    return str(hits)


if __name__ == "__main__":
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Quiet)
    print("ready", server.server_port, flush=True)
    server.serve_forever()
