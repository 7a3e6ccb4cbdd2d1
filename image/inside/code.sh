#!/bin/sh
# Runs in the build: code.sh <environment> <sources> <out>. Our own wheel, laid out as it will stand in the environment.
set -eu
cp "$2/dagster.yaml" "$2/recsys_assets/"
export PYC_INVALIDATION_MODE=UNCHECKED_HASH
/tools/bin/uv pip install --quiet --no-cache --offline --python "$1/bin/python" --no-deps --no-build-isolation \
    --compile-bytecode --target "$3/lib/python3.11/site-packages" "$2"
site="$3/lib/python3.11/site-packages"
mkdir -p "$3/bin"
mv "$site/bin/recsys-assets" "$3/bin/"
rmdir "$site/bin"
rm -f "$site/.lock"
