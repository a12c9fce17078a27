"""Answers that are out before a request of 5 MiB is: what other people's clients make of them.

    python3 early_answers.py java|http2

Java's clients over HTTP/1.1; curl and Node over HTTP/2, with TLS and without. Each has to read the 401, 429, 404 and the
backend's 413, where a connection that is closed too early is a broken pipe.
"""

import contextlib
import pathlib
import subprocess
import sys
import tempfile
import threading

from world import Crossfade, Impatient, Server, certificate

HERE = pathlib.Path(__file__).parent / "early"
PATIENCE_S = 60
ROUTES = """
[auth.keys]
kind = "api_key"
keys = ["any sha256:0000000000000000000000000000000000000000000000000000000000000000 user=any"]
[rate_limit.none]
requests = "1/h"
by = "route"
[[route]]
path = "/413"
upstream = "app"
[[route]]
path = "/401"
upstream = "app"
auth = "keys"
[[route]]
path = "/429"
upstream = "app"
rate_limit = "none"
"""
STATUSES = ("401", "404", "413", "429")


def main():
    backend = Server(("127.0.0.1", 0), Impatient)
    threading.Thread(target=backend.serve_forever, daemon=True).start()
    lines = []
    if sys.argv[1] == "java":
        bare = java([f"http://127.0.0.1:{backend.server_port}/413"])
        broken = [line for line in bare if line.split("\t")[2] != "413"]
        print(f"of the backend itself {len(broken)} of {len(bare)} ways read nothing")
    for is_tls in (False, True) if sys.argv[1] == "http2" else (False,):
        with tempfile.TemporaryDirectory() as directory:
            server = certificate(directory) if is_tls else ""
            crossfade = Crossfade("127.0.0.1:%d" % backend.server_port, server, directory, ROUTES)
            base = f"{'https' if is_tls else 'http'}://{crossfade.address}"
            # The one request that is allowed.
            curl(f"{base}/429", is_tls)
            urls = [f"{base}/{status}" for status in STATUSES]
            try:
                lines += java(urls) if sys.argv[1] == "java" else http2(urls, is_tls)
            finally:
                crossfade.stop()
    faults = [line for line in lines if line.split("\t")[1][-3:] != line.split("\t")[2]]
    clients = sorted({line.split("\t")[0] for line in lines})
    print("\n".join(faults) or f"{', '.join(clients)}: every early answer is read")
    sys.exit(bool(faults) or not lines)


def java(urls):
    return run(["java", HERE / "Early.java", *urls]).splitlines()


def http2(urls, is_tls):
    lines = [f"curl --http2\t{url}\t{curl(url, is_tls)}" for url in urls]
    return lines + run(["node", HERE / "early.mjs", *urls]).splitlines()


def curl(url, is_tls):
    version = "--http2" if is_tls else "--http2-prior-knowledge"
    with tempfile.NamedTemporaryFile() as body:
        body.write(bytes(5 << 20))
        body.flush()
        command = ["curl", "-sS", "-k", version, "-o", "/dev/null", "-w", "%{http_code} %{http_version}", "--data-binary", f"@{body.name}", url]
        return run(command).removesuffix(" 2")


def run(command):
    with contextlib.suppress(subprocess.TimeoutExpired):
        return subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=PATIENCE_S).stdout
    return ""


main()
