#!/usr/bin/env bash
# Sends the same bytes through crossfade, nginx and HAProxy and prints what each of them did; judges crossfade.
#   differential.sh            builds and runs; a peer that is not installed is named and left out
#   differential.sh --record   the same with all three, and writes docs/compatibility.md
set -euo pipefail
cd "$(dirname "$0")/../.."

cargo build --locked --quiet
PYTHONDONTWRITEBYTECODE=1 python3 tests/interop/differential/run.py "${CARGO_TARGET_DIR:-target}/debug/crossfade" "$@"
