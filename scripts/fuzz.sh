#!/usr/bin/env bash
# Runs every fuzz target of the project, one after the other, for the given time each (10s).
# Inputs of new coverage are hardly made smaller: with the usual minute for each nothing else would be tried.
set -euo pipefail
cd "$(dirname "$0")/.."
grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u | while read -r dir; do
  for target in $(go test -list '^Fuzz' "$dir" | grep '^Fuzz'); do
    echo "$dir $target"
    go test -run '^$' -fuzz "^$target\$" -fuzztime "${1:-10s}" -fuzzminimizetime 10x "$dir" </dev/null
  done
done
