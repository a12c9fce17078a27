#!/usr/bin/env bash
# testssl.sh against crossfade over TLS: protocols, ciphers, forward secrecy, known vulnerabilities.
#   testssl.sh            builds, starts crossfade and judges: nothing below TLS 1.2, no weak cipher, no vulnerability
#   testssl.sh --record   the same, and writes the findings to testssl-result.md
# `testssl.sh --can-run` says by its exit code whether the tool is here.
set -euo pipefail
cd "$(dirname "$0")/../.."

tool=$(command -v testssl || command -v testssl.sh || true)
if [ "${1:-}" = --can-run ]; then
    [ -n "$tool" ] && command -v openssl >/dev/null
    exit
fi
here=tests/interop
work=$PWD/target/testssl
rm -rf "$work" && mkdir -p "$work"
cargo build --locked --quiet

# Two keys of two kinds for one name, so that suites of both are met.
for kind in ec rsa; do
    case $kind in
        ec) new=(-newkey ec -pkeyopt ec_paramgen_curve:P-256) ;;
        rsa) new=(-newkey rsa:2048) ;;
    esac
    openssl req -x509 "${new[@]}" -nodes -days 90 -keyout "$work/$kind.key" -out "$work/$kind.crt" \
        -subj /CN=localhost -addext subjectAltName=DNS:localhost 2>"$work/openssl.log"
done
cat >"$work/proxy.toml" <<TOML
[server]
listen = "127.0.0.1:0"
[server.tls]
cert = ["ec.crt", "rsa.crt"]
key = ["ec.key", "rsa.key"]
[admin]
listen = "127.0.0.1:0"
[upstream.app]
servers = ["http://127.0.0.1:9"]
[[route]]
path = "/{*path}"
upstream = "app"
TOML
target/debug/crossfade run --config "$work/proxy.toml" >"$work/crossfade.out" 2>"$work/crossfade.err" &
crossfade=$!
trap 'kill $crossfade 2>/dev/null || true' EXIT
until port=$(sed -n 's|^ready public=https://127.0.0.1:\([0-9]*\) .*|\1|p' "$work/crossfade.out") && [ -n "$port" ]; do
    kill -0 $crossfade 2>/dev/null || { cat "$work/crossfade.err" >&2; exit 1; }
    sleep 0.1
done

# Its exit code counts findings of any kind; they are judged below.
timeout 500 "$tool" --quiet --warnings off --color 0 --nodns none --ip 127.0.0.1 --jsonfile "$work/findings.json" \
    --protocols --std --fs --vulnerable "localhost:$port" >"$work/testssl.out" 2>&1 || true
python3 $here/testssl_judge.py "$work/findings.json" "$([ "${1:-}" = --record ] && echo $here/testssl-result.md)"
