#!/bin/sh
# Puts the C library on this machine, or takes it off:
#
#     packaging/c/install.sh [install | uninstall]
#
# PREFIX (/usr/local) is where to, LIBDIR (PREFIX/lib) where the libraries go, DESTDIR stands before both without
# being written into a file. BUILT names a folder with the libraries where they are built already; else cargo
# builds them.

set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
prefix=${PREFIX:-/usr/local}
libdir=${LIBDIR:-$prefix/lib}
to=${DESTDIR:-}
version=$(sed -n '/^\[workspace.package\]/,/^$/s/^version = "\(.*\)"/\1/p' "$root/Cargo.toml")
major=${version%%.*}

files="$prefix/include/hypertap.h $libdir/libhypertap.a $libdir/libhypertap.so.$version
$libdir/libhypertap.so.$major $libdir/libhypertap.so $libdir/pkgconfig/hypertap.pc"

case ${1:-install} in
install) ;;
uninstall)
    for file in $files; do
        rm -f "$to$file"
    done
    exit
    ;;
*)
    sed -n '2,/^$/s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac

if [ -z "${BUILT:-}" ]; then
    cargo build --release --manifest-path "$root/Cargo.toml" --package hypertap-capi
    BUILT=${CARGO_TARGET_DIR:-$root/target}/release
fi

mkdir -p "$to$prefix/include" "$to$libdir/pkgconfig"
install -m 644 "$root/crates/capi/include/hypertap.h" "$to$prefix/include/"
install -m 644 "$BUILT/libhypertap.a" "$to$libdir/"
install -m 755 "$BUILT/libhypertap.so" "$to$libdir/libhypertap.so.$version"
ln -sf "libhypertap.so.$version" "$to$libdir/libhypertap.so.$major"
ln -sf "libhypertap.so.$major" "$to$libdir/libhypertap.so"
sed "s|@PREFIX@|$prefix|; s|@LIBDIR@|$libdir|; s|@VERSION@|$version|" "$root/packaging/c/hypertap.pc.in" \
    >"$to$libdir/pkgconfig/hypertap.pc"

# What is installed for everybody is found once the loader's cache knows it.
if [ -z "$to" ] && [ "$(id -u)" = 0 ] && command -v ldconfig >/dev/null; then
    ldconfig
fi
