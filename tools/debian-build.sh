#!/bin/sh
# Builds hcsidecar_VERSION+RELEASE_ARCHITECTURE.deb for the release of Debian that runs here: a virtual environment in /usr/lib/hcsidecar with
# all that hcsidecar needs, its command in /usr/bin, its unit, and the scripts of tools/debian.
# Usage: debian-build.sh DIRECTORY
set -eu
umask 022
mkdir -p "$1"
target=$(cd "$1" && pwd)
cd "$(dirname "$0")/.."
source=$(pwd)
python=/usr/bin/python3
prefix=/usr/lib/hcsidecar

version=$($python -c 'import tomllib; print(tomllib.load(open("pyproject.toml", "rb"))["project"]["version"])')
# A version that is not one yet sorts before it.
version=$(echo "$version" | sed -E 's/(a|b|rc|\.dev)([0-9]+)$/~\1\2/')
# Each release has a package of its own, and the one for the next release follows it.
version=$version+$(. /etc/os-release && echo "${ID%ian}${VERSION_ID:-$VERSION_CODENAME}")
architecture=$(dpkg --print-architecture)
series=$($python -c 'import sys; print(f"{sys.version_info[0]}.{sys.version_info[1]}")')
next=${series%.*}.$((${series#*.} + 1))
# The same sources give the same bytes: nothing in the package is younger than the last commit.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || stat -c %Y CHANGELOG.md)}
export SOURCE_DATE_EPOCH

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
root=$work/root
site=$root$prefix/lib/python$series/site-packages
doc=$root/usr/share/doc/hcsidecar
mkdir -p "$root/DEBIAN" "$root/usr/bin" "$root/usr/lib/systemd/system" "$doc" "$root/usr/share/lintian/overrides"

# -- the virtual environment ------------------------------------------------------------------------------------------

# A copy, so that building leaves nothing behind in the clone.
mkdir "$work/source"
cp -r pyproject.toml README.md LICENSE hcsidecar l2mode "$work/source"
$python -m venv "$work/tools"
$python -m venv --without-pip "$root$prefix"
# Neither paths of this build nor a number made from them may stand in what is compiled, and no wheel that an earlier
# build has left in a cache, for another Python perhaps.
CFLAGS='-O2 -g0 -D_FORTIFY_SOURCE=2 -fstack-protector-strong' LDFLAGS='-Wl,--build-id=none -Wl,-z,relro,-z,now' PIP_DISABLE_PIP_VERSION_CHECK=1 \
  "$work/tools/bin/pip" --quiet --python "$root$prefix/bin/python" \
  install --no-cache-dir --no-compile --no-warn-script-location "$work/source[l2,aws]"

cd "$root$prefix"
rm -rf include lib64 .gitignore
find bin -mindepth 1 ! -name hcsidecar ! -name 'python*' -delete
sed -i "1s|^#!.*|#!$prefix/bin/python|" bin/hcsidecar
sed -i '/^command = /d' pyvenv.cfg
# What pip notes of its own work: dpkg knows better, and some of it tells where this was built.
find . \( -path '*.dist-info/RECORD' -o -path '*.dist-info/direct_url.json' -o -path '*.dist-info/REQUESTED' \) -delete
find . -name __pycache__ -prune -exec rm -rf {} +
find . -name '*.so*' -type f -exec strip --strip-unneeded {} + -exec chmod 644 {} +
find "$site" -type f ! -name '*.so*' -exec chmod 644 {} +
ln -s ../lib/hcsidecar/bin/hcsidecar "$root/usr/bin/hcsidecar"
ln -sf ../../../bin/python3 bin/python3

# -- what Debian wants to have beside it ------------------------------------------------------------------------------

cd "$source"
systemctl --version | PYTHONPATH=$source $python -B -c 'import sys
from hcsidecar.core.service_unit import for_systemd, systemd_version
print(for_systemd(open("hcsidecar/hcsidecar.service").read(), systemd_version(sys.stdin.read())), end="")
' >"$root/usr/lib/systemd/system/hcsidecar.service"
install -D -m 644 hcsidecar/hcsidecar-console.service "$root/usr/lib/systemd/system/hcsidecar-console.service"
install -D -m 644 hcsidecar/hcsidecar-console.conf "$root/usr/lib/systemd/system/hcsidecar.service.d/console.conf"
{
  echo 'Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/'
  echo 'Comment: the Python packages in /usr/lib/hcsidecar have their licences beside them, in *.dist-info;'
  echo ' those of the libraries of the console'"'"'s pages are in hcsidecar/console/static/vendor/LICENSES.txt there.'
  printf '\nFiles: *\nCopyright: %s\nLicense: Expat\n' "$(sed -n 's/^Copyright (c) //p' LICENSE)"
  sed '1,/^Copyright/d; /^$/{1d; s/^$/./}; s/^/ /' LICENSE | sed '1{/^ \.$/d}'
} >"$doc/copyright"
{
  printf 'hcsidecar (%s) stable; urgency=medium\n\n  * See CHANGELOG.md.gz.\n\n' "$version"
  printf ' -- The hcsidecar authors <hcsidecar@localhost>  %s\n' "$(date -u -R -d "@$SOURCE_DATE_EPOCH")"
} | gzip -9n >"$doc/changelog.gz"
gzip -9n <CHANGELOG.md >"$doc/CHANGELOG.md.gz"
cp config/farm.toml "$doc/farm.toml"
install -D -m 644 tools/completion/hcsidecar.bash "$root/usr/share/bash-completion/completions/hcsidecar"
install -D -m 644 tools/completion/_hcsidecar "$root/usr/share/zsh/vendor-completions/_hcsidecar"
install -D -m 644 tools/completion/hcsidecar.fish "$root/usr/share/fish/vendor_completions.d/hcsidecar.fish"
cp tools/debian/lintian-overrides "$root/usr/share/lintian/overrides/hcsidecar"
for script in postinst prerm postrm; do
  install -m 755 "tools/debian/$script" "$root/DEBIAN/$script"
done

# The libraries that the compiled parts need.
mkdir -p "$work/source/debian"
printf 'Source: hcsidecar\n\nPackage: hcsidecar\nArchitecture: any\n' >"$work/source/debian/control"
libraries=$(cd "$work/source" && find "$site" -name '*.so*' -type f -exec dpkg-shlibdeps -O --ignore-missing-info \
  --warnings=0 {} + 2>/dev/null | sed -n 's/^shlibs:Depends=//p')
sed -e "s|@VERSION@|$version|" -e "s|@ARCHITECTURE@|$architecture|" -e "s|@LIBRARIES@|$libraries|" \
  -e "s|@PYTHON@|$series|" -e "s|@NEXT_PYTHON@|$next|" -e "s|@SIZE@|$(du -sk "$root" | cut -f1)|" \
  tools/debian/control >"$root/DEBIAN/control"
(cd "$root" && find usr -type f -exec md5sum {} + | LC_ALL=C sort -k2) >"$root/DEBIAN/md5sums"
chmod 644 "$root/DEBIAN/md5sums" "$root/DEBIAN/control"

package=$target/hcsidecar_${version}_$architecture.deb
dpkg-deb --root-owner-group --build "$root" "$package" >/dev/null
echo "built $package"
