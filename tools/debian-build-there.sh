#!/bin/sh
# Builds the Debian package for another release of Debian than the one that runs here, inside of that release.
# Usage, as root: debian-build-there.sh RELEASE DIRECTORY PACKAGE-NEEDED-TO-BUILD...
set -eu
release=$1
mkdir -p "$2"
target=$(cd "$2" && pwd)
shift 2
cd "$(dirname "$0")/.."
root=$(tools/debian-root.sh "$release" "$@")
work=$(mktemp -d "$root/root/build.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
mkdir "$work/source"
cp -r pyproject.toml README.md LICENSE CHANGELOG.md config hcsidecar l2mode tools "$work/source"
epoch=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || stat -c %Y CHANGELOG.md)}
# pip wants the processes in /proc, which go away with it.
unshare --mount --pid --fork --kill-child sh -euc '
  mount --make-rprivate /
  mount -t proc proc "$1/proc"
  exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 HOME=/root SOURCE_DATE_EPOCH="$3" \
    PIP_CERT=/etc/ssl/certs/ca-certificates.crt chroot "$1" "$2/source/tools/debian-build.sh" "$2/dist"
' sh "$root" "${work#"$root"}" "$epoch" >"$work/said"
cp "$work"/dist/*.deb "$target"
for package in "$work"/dist/*.deb; do
  echo "built $target/${package##*/}"
done
