#!/bin/sh
# Builds hcsidecar-VERSION-1.ARCHITECTURE.rpm for systems that have this Python, RHEL and its kin or Fedora: what the
# Debian package has, in the same places, but for netfilterqueue, of which there are no wheels to take.
# Usage: rpm-build.sh DIRECTORY PYTHON-SERIES
set -eu
umask 022
mkdir -p "$1"
target=$(cd "$1" && pwd)
series=$2
cd "$(dirname "$0")/.."
source=$(pwd)
python=/usr/bin/python3
prefix=/usr/lib/hcsidecar

version=$($python -c 'import tomllib; print(tomllib.load(open("pyproject.toml", "rb"))["project"]["version"])')
# A version that is not one yet sorts before it.
version=$(echo "$version" | sed -E 's/(a|b|rc|\.dev)([0-9]+)$/~\1\2/')
architecture=$(uname -m)
# The same sources give the same bytes: nothing in the package is younger than the last commit.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || stat -c %Y CHANGELOG.md)}
export SOURCE_DATE_EPOCH

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
root=$work/root
site=$root$prefix/lib/python$series/site-packages
doc=$root/usr/share/doc/hcsidecar
mkdir -p "$site" "$root$prefix/bin" "$root/usr/bin" "$root/usr/lib/systemd/system" "$doc" \
  "$root/usr/share/licenses/hcsidecar"

# -- the virtual environment, of a Python that need not be on this machine --------------------------------------------

mkdir "$work/source"
cp -r pyproject.toml README.md LICENSE hcsidecar l2mode "$work/source"
$python -m venv "$work/tools"
export PIP_DISABLE_PIP_VERSION_CHECK=1
"$work/tools/bin/pip" --quiet install uv
"$work/tools/bin/pip" --quiet wheel --no-deps --wheel-dir "$work/wheel" "$work/source"
# glibc 2.28 is that of RHEL 8. uv, unlike pip, asks which packages the other Python needs.
for wheel in "$work"/wheel/*.whl; do
  "$work/tools/bin/uv" --quiet --no-config pip install --python "$work/tools/bin/python" --no-cache --only-binary :all: \
    --python-version "$series" --python-platform "$architecture-manylinux_2_28" --target "$site" "$wheel[aws]"
done
rm -rf "$site/bin" "$site/.lock"
find "$site" \( -path '*.dist-info/RECORD' -o -path '*.dist-info/direct_url.json' -o -path '*.dist-info/REQUESTED' \
  -o -path '*.dist-info/uv_*' -o -path '*.dist-info/INSTALLER' \) -delete
find "$site" -name __pycache__ -prune -exec rm -rf {} +
find "$site" -type d -exec chmod 755 {} + -o -type f -exec chmod 644 {} +
printf 'home = /usr/bin\ninclude-system-site-packages = false\nversion = %s\n' "$series" >"$root$prefix/pyvenv.cfg"
ln -s "../../../bin/python$series" "$root$prefix/bin/python"
ln -s python "$root$prefix/bin/python3"
cat >"$root$prefix/bin/hcsidecar" <<EOF
#!$prefix/bin/python
import sys

from hcsidecar.__main__ import main

sys.exit(main())
EOF
chmod 755 "$root$prefix/bin/hcsidecar"
ln -s ../lib/hcsidecar/bin/hcsidecar "$root/usr/bin/hcsidecar"

# -- what is beside it ------------------------------------------------------------------------------------------------

# RHEL 9 has systemd 252, and one package is for all.
PYTHONPATH=$source $python -B -c 'from hcsidecar.core.service_unit import for_systemd
print(for_systemd(open("hcsidecar/hcsidecar.service").read(), 252), end="")
' >"$root/usr/lib/systemd/system/hcsidecar.service"
install -D -m 644 hcsidecar/hcsidecar-console.service "$root/usr/lib/systemd/system/hcsidecar-console.service"
install -D -m 644 hcsidecar/hcsidecar-console.conf "$root/usr/lib/systemd/system/hcsidecar.service.d/console.conf"
install -m 644 LICENSE "$root/usr/share/licenses/hcsidecar/LICENSE"
install -m 644 CHANGELOG.md config/farm.toml "$doc"
install -D -m 644 tools/completion/hcsidecar.bash "$root/usr/share/bash-completion/completions/hcsidecar"
install -D -m 644 tools/completion/_hcsidecar "$root/usr/share/zsh/site-functions/_hcsidecar"
install -D -m 644 tools/completion/hcsidecar.fish "$root/usr/share/fish/vendor_completions.d/hcsidecar.fish"

rpmbuild -bb --quiet --target "$architecture-linux" \
  --define "_topdir $work/rpm" --define "_rpmdir $work/made" --define "_dbpath $work/db" \
  --define "_tmppath $work" --define "_buildhost localhost" --define "_binary_payload w9.zstdio" \
  --define "use_source_date_epoch_as_buildtime 1" --define "clamp_mtime_to_source_date_epoch 1" \
  --define "hcsidecar_version $version" --define "hcsidecar_python $series" --define "hcsidecar_root $root" \
  tools/rpm/hcsidecar.spec
package=$(find "$work/made" -name '*.rpm')
cp "$package" "$target"
echo "built $target/${package##*/}"
