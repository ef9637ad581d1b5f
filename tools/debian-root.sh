#!/bin/sh
# Prints the directory of a Debian of another release: made once by debootstrap and kept, with the named packages.
# Usage, as root: debian-root.sh RELEASE PACKAGE...
set -eu
release=$1
shift
kept=${XDG_CACHE_HOME:-$HOME/.cache}/hcsidecar
root=$kept/$release
if [ "$(id -u)" -ne 0 ]; then
  echo "Only root can make a Debian of another release" >&2
  exit 1
fi
mkdir -p "$kept"
exec 9>"$root.lock"
flock 9
if [ ! -d "$root" ]; then
  echo "Making a Debian $release in $root" >&2
  rm -rf "$root.new"
  debootstrap --variant=minbase --include=ca-certificates "$release" "$root.new" >"$root.log" 2>&1 ||
    { tail -n 3 "$root.log" >&2; exit 1; }
  mv "$root.new" "$root"
fi
# The network is reached as it is here, and those are trusted there that are trusted here.
cp /etc/resolv.conf "$root/etc/resolv.conf"
cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt" 2>/dev/null || true
cp tools/debian-packages.sh "$root/root/debian-packages.sh"
env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 chroot "$root" /root/debian-packages.sh "$@" \
  >>"$root.log" 2>&1 || { tail -n 3 "$root.log" >&2; exit 1; }
echo "$root"
