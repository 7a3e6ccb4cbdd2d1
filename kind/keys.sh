#!/usr/bin/env bash
# Makes both signing key pairs in a folder, with the image's own code, unless they are there: kind/keys.sh FOLDER IMAGE
set -euo pipefail
folder=$1 image=$2
mkdir -p "$folder"
[ -f "$folder/release_signing.key" ] && exit 0
docker run --rm --user "$(id -u):$(id -g)" --volume "$(realpath "$folder"):/keys" "$image" python -c '
from pathlib import Path
from recsys_assets.signing import BUNDLE_KEY, RELEASE_KEY, private_key
for name in (BUNDLE_KEY, RELEASE_KEY):
    private_key(Path("/keys"), name)
'
