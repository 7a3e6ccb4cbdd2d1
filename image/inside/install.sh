#!/bin/sh
# Runs in the build: install.sh <environment> <lock>. Exactly the lock, from its hashes, byte-compiled, then slimmed.
set -eu
[ -d /wheels ] && offline="--offline --no-index --find-links /wheels" || offline=""
python3.11 -m venv --without-pip "$1"
# The files of an image never change, so that no one need ask whether a .pyc is as new as its source.
export PYC_INVALIDATION_MODE=UNCHECKED_HASH UV_COMPILE_BYTECODE_TIMEOUT=1800 UV_CONCURRENT_INSTALLS=2 UV_LINK_MODE=copy
# shellcheck disable=SC2086
/tools/bin/uv pip install --quiet --no-cache --python "$1/bin/python" $offline --require-hashes --no-deps \
    --compile-bytecode -r "$2"
python3.11 /tools/inside/slim.py "$1"
