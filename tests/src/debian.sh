# debian.sh FOLDER PACKAGE...: unpacks Debian's packages, which are not installed, into FOLDER/root, once.
#
# They are kept in the user's cache, so that the next checkout needs no network; where that fails now and
# then, it is tried for some minutes.
set -eu
folder=$1
shift
mkdir -p "$folder"
cd "$folder"
# Several tests may want them at once, so the folder is locked, and the root there whole or not at all.
exec 9>lock
flock 9
[ ! -e root ] || exit 0

fetch() {
    for pause in 2 5 10 20 40 60 0; do
        if apt-get download "$1"; then
            return
        fi
        # The archive may have a newer version than the lists.
        apt-get update --quiet || true
        sleep "$pause"
    done
    return 1
}

cache=${XDG_CACHE_HOME:-$HOME/.cache}/hypertap-tests
mkdir -p "$cache"
rm -rf unpacking fetching
mkdir unpacking
for package; do
    if ! ls "$cache/${package}"_*.deb >/dev/null 2>&1; then
        mkdir -p fetching
        (cd fetching && fetch "$package")
        # In one step, for another checkout may do the same.
        mv fetching/*.deb "$cache"
    fi
    for deb in "$cache/${package}"_*.deb; do
        dpkg -x "$deb" unpacking
    done
done
mv unpacking root
