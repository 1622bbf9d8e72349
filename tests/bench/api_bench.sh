#!/bin/bash
# The promise of the lists: with 1,000 VMs and 64 kept-alive mTLS connections, p99 under 10 ms and 2,000 GET/s or more.
#   api_bench.sh [BUILD_FOLDER]     builds a release with the bench in it, measures, fails when the promise is not kept
set -eu
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$(dirname "$here")")
build=${1:-$root/build/bench}
cd "$root"
cmake --preset release -B "$build" -DBASCULE_TESTS=ON >/dev/null
cmake --build "$build" --target api_bench
pki=$(mktemp -d /tmp/api-bench.XXXXXX)
trap 'rm -rf "$pki"' EXIT
python3 -B tests/contract/api_pki.py "$pki"
failed=0
measure() {  # PROMISED_RATE PROMISED_P99_MS arguments
  local rate=$1 p99=$2
  shift 2
  "$build/bin/api_bench" "$pki" --json "$@" | tee "$pki/out"
  if [ -n "${API_BENCH_JSON:-}" ]; then cat "$pki/out" >>"$API_BENCH_JSON"; fi
  python3 - "$pki/out" "$rate" "$p99" <<'PY' || failed=1
import json, sys
out, rate, p99 = json.load(open(sys.argv[1])), float(sys.argv[2]), float(sys.argv[3])
good = out["per_second"] >= rate * 0.995 and (p99 == 0 or out["p99_ms"] < p99)
if not good:
    print(f"  not kept: {rate:.0f}/s" + (f", p99 under {p99:.0f} ms" if p99 else ""))
sys.exit(not good)
PY
}
measure 2000 10 --path /v1/vms                                          # as fast as it goes, a page of 100
measure 2000 0 --path '/v1/vms?limit=1000'                              # as fast as it goes, all of them
measure 2000 10 --path /v1/vms --rate 2000 --changes 20                 # what users see at that load, in a busy cell
measure 2000 10 --path '/v1/vms?limit=1000' --rate 2000 --changes 20
measure 2000 10 --path /v1/vms/vm-1 --rate 2000 --changes 20
exit $failed
