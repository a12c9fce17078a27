#!/usr/bin/env bash
# The systemd units as systemd's own tools judge them: units.sh [BINARY]. `units.sh --can-run` says whether they are here.
set -euo pipefail
cd "$(dirname "$0")/../.."

if [ "${1:-}" = --can-run ]; then
    # `security` judges files since systemd 250.
    command -v systemd-analyze >/dev/null && systemd-analyze security --help | grep -q -- --offline
    exit
fi
binary=$(realpath "${1:-target/debug/crossfade}")
work=target/units
rm -rf "$work" && mkdir -p "$work"
# `verify` wants to find the programs that a unit starts.
sed "s|/usr/bin/crossfade|$binary|" systemd/crossfade.service >"$work/crossfade.service"
cp systemd/crossfade.socket "$work/"

# It prints what it would ignore, and exits 0 then.
said=$(systemd-analyze verify "$work/crossfade.service" "$work/crossfade.socket" 2>&1) || { echo "$said" >&2; exit 1; }
[ -z "$said" ] || { printf 'units: systemd-analyze verify says:\n%s\n' "$said" >&2; exit 1; }
# 0 is perfect, 10 is an unrestricted service.
systemd-analyze security --offline=true --no-pager --threshold=15 "$work/crossfade.service" >"$work/security.txt" ||
    { cat "$work/security.txt" >&2; echo 'units: the exposure is above 1.5' >&2; exit 1; }
tail -n 1 "$work/security.txt"

# What the unit promises the process: it must be able to leave in time, and be told where its state is.
grep -qx 'Type=notify' systemd/crossfade.service
grep -qx 'ExecReload=/usr/bin/crossfade config reload' systemd/crossfade.service
[ "$(sed -n 's/^TimeoutStopSec=\(.*\)s$/\1/p' systemd/crossfade.service)" -gt 25 ] ||
    { echo 'units: TimeoutStopSec is not above drain_timeout (25s)' >&2; exit 1; }
