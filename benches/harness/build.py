"""Gets the peers from their package managers and builds what is ours."""
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
ROOT = HERE.parent
# Programs of the works themselves beside the servers.
TOOLS = {"h2load"}
POLICY = Path("/usr/sbin/policy-rc.d")
DEBIAN = {"nchan": "libnginx-mod-nchan", "nginx": "nginx", "haproxy": "haproxy", "h2load": "nghttp2-client"}
NODE = {"ws", "socketio"}


@dataclass
class Binaries:
    load: Path
    crossfade: Path


def install_peers(kinds: set[str]) -> dict[str, str]:
    """Those of `kinds` that could not be had, with the reason."""
    missing = {}
    wanted = {kind: package for kind, package in DEBIAN.items() if kind in kinds and not _installed(package)}
    if wanted:
        reason = _apt_install(list(wanted.values()))
        missing.update({kind: reason for kind, package in wanted.items() if not _installed(package)})
    if kinds & NODE:
        if not shutil.which("npm"):
            missing.update({kind: "Node is not installed" for kind in kinds & NODE})
        elif _node_is_stale() and _run(["npm", "ci", "--no-audit", "--no-fund"], cwd=HERE / "peers"):
            missing.update({kind: "npm ci failed" for kind in kinds & NODE})
    return missing


def binaries(crossfade: Path | None) -> Binaries:
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()
    _build("--manifest-path", str(HERE / "load/Cargo.toml"), "--target-dir", str(target / "load"))
    if crossfade is None:
        _build("--manifest-path", str(ROOT / "Cargo.toml"), "--bin", "crossfade", "--target-dir", str(target))
    return Binaries(target / "load/release/load", crossfade or target / "release/crossfade")


def _build(*arguments: str) -> None:
    if _run(["cargo", "build", "--release", "--locked", "--quiet", *arguments]):
        sys.exit("cargo build failed")


def _installed(package: str) -> bool:
    query = ["dpkg-query", "--show", "--showformat=${db:Status-Status}", package]
    return subprocess.run(query, capture_output=True, text=True).stdout == "installed"


def _apt_install(packages: list[str]) -> str:
    """Installs without starting the services of the packages; the reason where that cannot be done."""
    if not shutil.which("apt-get"):
        return "only Debian's apt-get is known here"
    if os.geteuid() != 0:
        return f"needs root: apt-get install {' '.join(packages)}"
    forbids = not POLICY.exists()
    if forbids:
        # A packaged nginx or haproxy would listen on public ports as soon as it is installed.
        POLICY.write_text("#!/bin/sh\nexit 101\n")
        POLICY.chmod(0o755)
    try:
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        _run(["apt-get", "update", "-qq"], env=environment)
        _run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages], env=environment)
    finally:
        if forbids:
            POLICY.unlink()
    return "apt-get install failed"


def _node_is_stale() -> bool:
    installed = HERE / "peers/node_modules/.package-lock.json"
    return not installed.exists() or installed.stat().st_mtime < (HERE / "peers/package-lock.json").stat().st_mtime


def _run(command: list[str], **options) -> int:
    return subprocess.run(command, stdout=sys.stderr, **options).returncode
