#!/usr/bin/env bash
# Tests the pages in Chromium. Where there is none it is installed, which needs Debian's apt-get and root.
set -euo pipefail
cd "$(dirname "$0")/.."
if ! command -v chromium chromium-browser google-chrome chrome >/dev/null; then
	if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
		echo "no Chromium here: install the package chromium, then run this again" >&2
		exit 1
	fi
	apt-get update -q
	DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends chromium fonts-dejavu-core
fi
OMP_NUM_THREADS=1 go test -p 1 -count=1 -run 'TestPage' -v ./serve ./review
