#!/usr/bin/env bash
# Runs the Autobahn fuzzing client against the echo example, which reads and writes with the session's own parts.
#   autobahn.sh            builds and starts the example, then judges: 0 failed
#   autobahn.sh --tunnel   the same through crossfade, as a WebSocket of the backend's own that is passed through
#   autobahn.sh --record   also writes the result to autobahn-result.md, of a tunnel to autobahn-tunnel-result.md
#   autobahn.sh HOST:PORT  judges an echo server that runs already
# All cases run but 12.* and 13.*: they test permessage-deflate, which crossfade does not negotiate, so they do not apply.
set -euo pipefail
cd "$(dirname "$0")/../.."

here=tests/interop
work=target/autobahn
tools=.tools/autobahn
subject='`examples/echo.rs`'
tunnel=
record=
address=
for argument in "$@"; do
    case "$argument" in
        --tunnel) tunnel=yes work=target/autobahn-tunnel subject='`examples/echo.rs` through a tunnel of crossfade' ;;
        --record) record=yes ;;
        *) address=$argument ;;
    esac
done
[ -z "$record" ] || record=$here/autobahn${tunnel:+-tunnel}-result.md

python=$(bash $here/python27.sh) || { echo 'autobahn: no Python 2.7 with pip' >&2; exit 1; }
mkdir -p "$work" .tools

# Into a folder of its own: the Python 2.7 stays as it is.
if ! cmp -s $here/autobahn-requirements.txt $tools/installed.txt; then
    rm -rf $tools
    "$python" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
        --target $tools --requirement $here/autobahn-requirements.txt 2>"$work/install.log" ||
        { tail -n 20 "$work/install.log" >&2; exit 1; }
    cp $here/autobahn-requirements.txt $tools/installed.txt
fi

# Starts a program and waits for the address in its first line of the form `WORD ADDRESS …`.
start() {
    local word=$1 name
    shift
    name=$(basename "$1")
    # The shell truncates the file in the background: the loop could read the address of an earlier run before that.
    : >"$work/$name.out"
    "$@" >"$work/$name.out" 2>"$work/$name.err" &
    started+=($!)
    until address=$(sed -n "s/^$word\\([^ ]*\\).*/\\1/p" "$work/$name.out") && [ -n "$address" ]; do
        kill -0 $! 2>/dev/null || { echo "autobahn: $name ended:" >&2; cat "$work/$name.err" >&2; exit 1; }
        sleep 0.1
    done
}
started=()
trap 'kill "${started[@]}" 2>/dev/null || true' EXIT

if [ -z "$address" ]; then
    # Optimised: the cases of group 9 move hundreds of megabytes.
    cargo build --locked --quiet --release --example echo ${tunnel:+--bin crossfade}
    start 'listening ' target/release/examples/echo
    if [ -n "$tunnel" ]; then
        cat >"$work/proxy.toml" <<END
server = {listen = "127.0.0.1:0"}
admin = {listen = "127.0.0.1:0"}
log = {level = "warn"}
upstream.echo.servers = ["http://$address"]
[[route]]
path = "/{*path}"
upstream = "echo"
END
        start 'ready public=http:\/\/' target/release/crossfade run --config "$work/proxy.toml"
    fi
fi

rm -rf "$work/report"
sed -e "s|ADDRESS|$address|" -e "s|OUTDIR|$work/report|" $here/autobahn.json >"$work/spec.json"
start='import site, sys; site.addsitedir(sys.argv.pop(1)); from autobahntestsuite.wstest import run; run()'
timeout 900 "$python" -c "$start" $tools -m fuzzingclient -s "$work/spec.json" >"$work/run.log" 2>&1 ||
    { tail -n 20 "$work/run.log" >&2; echo 'autobahn: the suite did not come to its end' >&2; exit 1; }

python3 $here/autobahn_judge.py "$subject" "$work/report" ${record:+"$record"}
