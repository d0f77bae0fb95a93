#!/bin/sh
# Writes lock.txt anew: lets pip resolve the extras and the dev group in a scratch environment, takes out what does not
# fit torch's CPU build, and records what is left. Needs 6 GB under TMPDIR. Read the diff, then run `make check test`.
set -eu
cd "$(dirname "$0")/.."
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
python3.11 -m venv "$scratch/v"
pip=$scratch/v/bin/pip
"$pip" install --upgrade 'pip>=25.1' # the first that knows dependency groups
"$pip" install --requirement requirements/torch.txt ||
    "$pip" install --requirement requirements/torch.txt --extra-index-url https://download.pytorch.org/whl/cpu
"$pip" install --group dev --constraint requirements/torch.txt '.[embedded,loadtest,lint,kserve]'
"$pip" uninstall --yes torchaudio torchcodec torchvision
sed -n '/^#/p' requirements/lock.txt >"$scratch/lock.txt"
"$pip" list --format freeze --exclude pip --exclude torch --exclude warmgate | LC_ALL=C sort -f >>"$scratch/lock.txt"
cp "$scratch/lock.txt" requirements/lock.txt
git diff --stat -- requirements/lock.txt
