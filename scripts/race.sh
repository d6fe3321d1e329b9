#!/usr/bin/env bash
# Tests the packages without tensors under the race detector, which needs a C compiler. Those with tensors
# call libtorch, whose threads it does not see.
set -euo pipefail
cd "$(dirname "$0")/.."
if ! command -v "${CC:-cc}" >/dev/null; then
  echo "no C compiler here, so no race detector: install gcc (Debian, Ubuntu: sudo apt-get install gcc)" >&2
  exit 1
fi
tensors='must/torch( |$)'
packages=$(go list -f '{{.ImportPath}} {{join .Deps " "}} {{join .TestImports " "}} {{join .XTestImports " "}}' ./... | grep -vE "$tensors" | cut -d' ' -f1)
CGO_ENABLED=1 go test -race $packages
