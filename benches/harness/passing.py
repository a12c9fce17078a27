"""The works that compare crossfade with nginx and haproxy as a proxy for everything."""
import os
import shutil
import statistics
import subprocess
import time

from . import limits
from .servers import Stage
from .works import EVENT_BYTES, Findings, Subject, take_turns

SUBJECTS = [Subject(kind, kind, setting="passing") for kind in ("crossfade", "nginx", "haproxy")]
SIZES = [(body, clients) for body in ("1 KB", "64 KB") for clients in (64, 512)]
MAIN_SIZES = [("1 KB", 64), ("64 KB", 64)]
OURS = SUBJECTS[0].name
BRIDGE = "crossfade, bridging"


def passthrough(stage: Stage, quick: bool, _: int) -> Findings:
    rows = []
    for body, clients in MAIN_SIZES if quick else SIZES:
        rows += _ask(stage, SUBJECTS, body, clients, quick, f"{body} × {clients}")
    return Findings("passthrough", rows, "1 KB × 64", OURS)


def tls(stage: Stage, quick: bool, _: int) -> Findings:
    subjects = [Subject(subject.name, subject.kind, setting="tls") for subject in SUBJECTS]
    rows = []
    for body, clients in MAIN_SIZES if quick else SIZES:
        rows += _ask(stage, subjects, body, clients, quick, f"HTTP/1.1, {body} × {clients}")
    for body, clients in MAIN_SIZES if quick else SIZES:
        rows += take_turns(
            stage,
            _asked_for(body, subjects),
            f"HTTP/2, {body} × {clients}",
            2 if quick else 5,
            lambda server: _h2load(stage, server, body, clients),
        )
    return Findings("tls", rows, "HTTP/1.1, 1 KB × 64", OURS)


def sse(stage: Stage, quick: bool, _: int) -> Findings:
    clients, rate = 2000, 10
    subjects = [Subject(subject.name, subject.kind, "stream", "sse", setting="passing") for subject in SUBJECTS]
    rows = take_turns(
        stage,
        subjects,
        f"{clients:,} × {rate}/s",
        1 if quick else 3,
        lambda server: stage.measure(
            "streams", server=server, clients=clients, rate=rate, size=EVENT_BYTES, warm_s=1.0, seconds=3.0
        ),
    )
    return Findings("sse", rows, f"{clients:,} × {rate}/s", OURS)


def idletls(stage: Stage, quick: bool, descriptors: int) -> Findings:
    subjects = [
        Subject(BRIDGE, "crossfade", "bridge", setting="tls"),
        *(Subject(subject.name, subject.kind, "tunnel", setting="tls") for subject in SUBJECTS),
    ]
    rows = []
    for clients in [950] if quick else [950, 4750]:
        for subject in subjects:
            if clients * 2 + 200 < descriptors:
                rows += take_turns(
                    stage,
                    [subject],
                    f"{clients:,}",
                    1,
                    lambda server: stage.measure("idle", server=server, clients=clients, settle_s=2.0),
                )
    return Findings("idletls", rows, "4,750", OURS)


ALL = {work.__name__: work for work in (passthrough, tls, sse, idletls)}


def _ask(stage: Stage, subjects: list[Subject], body: str, clients: int, quick: bool, size: str) -> list:
    return take_turns(
        stage,
        _asked_for(body, subjects),
        size,
        2 if quick else 5,
        lambda server: stage.measure("ask", server=server, clients=clients, warm_s=0.3, seconds=1.0),
    )


def _asked_for(body: str, subjects: list[Subject]) -> list[Subject]:
    return [Subject(subject.name, subject.kind, body, setting=subject.setting) for subject in subjects]


def _h2load(stage: Stage, server: dict, body: str, under_way: int) -> dict:
    """So many requests under way at once, shared among an eighth as many connections."""
    if not shutil.which("h2load"):
        return {"error": "h2load (Debian: nghttp2-client) is not installed"}
    log = stage.directory / "h2load.log"
    log.unlink(missing_ok=True)
    asked = 24_000 if body == "1 KB" else 8_000
    connections, streams = under_way // 8, 8
    target = server["target"]
    port = target["address"].rsplit(":", 1)[1]
    command = ["h2load", f"--requests={asked}", f"--clients={connections}", f"--max-concurrent-streams={streams}"]
    command += ["--tls13-ciphers=TLS_AES_128_GCM_SHA256", f"--log-file={log}", f"https://localhost:{port}{target['path']}"]
    before, began = stage.measure("used", pid=server["pid"]), time.monotonic()
    children_before = _children_seconds()
    try:
        done = subprocess.run(
            ["taskset", "-c", str(limits.LOAD_CORE), *command], capture_output=True, text=True, timeout=60
        )
    except subprocess.TimeoutExpired:
        return {"error": "h2load did not come to its end"}
    seconds, after = time.monotonic() - began, stage.measure("used", pid=server["pid"])
    cpu, own = after["server_s"] - before["server_s"], after["load_s"] - before["load_s"]
    if f" {asked} succeeded, 0 failed" not in done.stdout:
        lines = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("requests:")]
        return {"error": (lines or ["h2load failed"])[0]}
    took = sorted(int(line.split("\t")[2]) / 1000 for line in log.read_text().splitlines())
    return {
        "requests_per_s": asked / seconds,
        "cpu_us_per_request": cpu / asked * 1e6,
        "p50_ms": statistics.median(took),
        "p99_ms": took[int(len(took) * 0.99)],
        "p999_ms": took[int(len(took) * 0.999)],
        "cpu_share": cpu / seconds,
        "load_cpu_share": (own + _children_seconds() - children_before) / seconds,
    }


def _children_seconds() -> float:
    """Processor time of all children that have ended."""
    times = os.times()
    return times.children_user + times.children_system
