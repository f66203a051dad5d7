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

# Removes the shared libraries of all versions with this ABI, but for one named so.
remove_all_but() {
    for file in "$to$libdir/libhypertap.so.$major."*; do
        [ "$file" = "$1" ] || rm -f "$file"
    done
}

# What is there for everybody is found, or missed, once the loader's cache knows it.
tell_loader() {
    if [ -z "$to" ] && [ "$(id -u)" = 0 ] && command -v ldconfig >/dev/null; then
        ldconfig
    fi
}

case ${1:-install} in
install) ;;
uninstall)
    remove_all_but ""
    rm -f "$to$libdir/libhypertap.so.$major" "$to$libdir/libhypertap.so" "$to$libdir/libhypertap.a"
    rm -f "$to$prefix/include/hypertap.h" "$to$libdir/pkgconfig/hypertap.pc"
    tell_loader
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

# It is for everybody, whatever else is made with this shell.
umask 022
mkdir -p "$to$prefix/include" "$to$libdir/pkgconfig"
install -m 644 "$root/crates/capi/include/hypertap.h" "$to$prefix/include/"
install -m 644 "$BUILT/libhypertap.a" "$to$libdir/"
install -m 755 "$BUILT/libhypertap.so" "$to$libdir/libhypertap.so.$version"
remove_all_but "$to$libdir/libhypertap.so.$version"
ln -sf "libhypertap.so.$version" "$to$libdir/libhypertap.so.$major"
ln -sf "libhypertap.so.$major" "$to$libdir/libhypertap.so"
pc=$to$libdir/pkgconfig/hypertap.pc
# One that is there keeps its mode.
rm -f "$pc"
sed "s|@PREFIX@|$prefix|; s|@LIBDIR@|$libdir|; s|@VERSION@|$version|" "$root/packaging/c/hypertap.pc.in" >"$pc"
tell_loader
