#!/usr/bin/env bash
# Runs the Autobahn fuzzing client against the echo example, which reads and writes with the session's own parts.
#   autobahn.sh            builds and starts the example, then judges: 0 failed
#   autobahn.sh --record   the same, and writes the result to autobahn-result.md
#   autobahn.sh HOST:PORT  judges an echo server that runs already
# All cases run but 12.* and 13.*: they test permessage-deflate, which crossfade does not negotiate, so they do not apply.
set -euo pipefail
cd "$(dirname "$0")/../.."

here=tests/interop
work=target/autobahn
tools=.tools/autobahn
record=
address=
case "${1:-}" in
    --record) record=$here/autobahn-result.md ;;
    *) address=${1:-} ;;
esac

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

if [ -z "$address" ]; then
    # Optimised: the cases of group 9 move hundreds of megabytes.
    cargo build --locked --quiet --release --example echo
    target/release/examples/echo >"$work/echo.out" 2>"$work/echo.err" &
    echo_pid=$!
    trap 'kill $echo_pid 2>/dev/null || true' EXIT
    until address=$(sed -n 's/^listening //p' "$work/echo.out") && [ -n "$address" ]; do
        kill -0 $echo_pid 2>/dev/null || { echo 'autobahn: the echo example ended:' >&2; cat "$work/echo.err" >&2; exit 1; }
        sleep 0.1
    done
fi

rm -rf "$work/report"
sed -e "s|ADDRESS|$address|" -e "s|OUTDIR|$work/report|" $here/autobahn.json >"$work/spec.json"
start='import site, sys; site.addsitedir(sys.argv.pop(1)); from autobahntestsuite.wstest import run; run()'
timeout 900 "$python" -c "$start" $tools -m fuzzingclient -s "$work/spec.json" >"$work/run.log" 2>&1 ||
    { tail -n 20 "$work/run.log" >&2; echo 'autobahn: the suite did not come to its end' >&2; exit 1; }

python3 $here/autobahn_judge.py "$work/report" ${record:+"$record"}
