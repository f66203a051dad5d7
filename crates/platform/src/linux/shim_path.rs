//! Whether a name that a program opens is that of the TUN device.
//!
//! By name, for the device may be missing, or closed to us; and by what is there, for it may have
//! another name. The program's own folders count: its working one, its root, and the one that it names
//! by a descriptor.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Component, Path, PathBuf};

use super::shim_caller::Asker;
use super::shim_look::Look;

/// How it is called, everywhere and on some systems of old.
const NAMES: [&str; 2] = ["/dev/net/tun", "/dev/misc/net/tun"];
/// Its numbers (Documentation/admin-guide/devices.txt).
const NUMBERS: (u32, u32) = (10, 200);
/// How many symbolic links are followed, as in the kernel.
const LINKS: usize = 40;

/// Whether the name at `name`, seen from the folder that is open as `folder`, is the TUN device's.
pub(super) fn is_tun(asker: &Asker<'_>, folder: i32, name: u64, look: &mut Look<Place>) -> bool {
    let Ok(name) = asker.name(name) else { return false };
    if name.as_os_str().is_empty() {
        return false;
    }
    let root = fs::read_link(asker.proc("root")).unwrap_or_default();
    let path = if name.is_absolute() {
        name
    } else {
        let base = if folder == libc::AT_FDCWD { "cwd".to_owned() } else { format!("fd/{folder}") };
        let Ok(base) = fs::read_link(asker.proc(&base)) else { return false };
        // What /proc names is seen from our root, and the name from the program's.
        let base = base.strip_prefix(&root).map(|inner| Path::new("/").join(inner)).unwrap_or(base);
        base.join(name)
    };
    is_called_so(&plain(&path)) || look.at(Place { root: asker.proc("root"), path })
}

/// A path below the root of a program.
#[derive(Debug)]
pub(super) struct Place {
    root: PathBuf,
    path: PathBuf,
}

/// Whether the device is there, or would be: links are followed as the kernel would for the program, from its own
/// root, and what is missing is taken by its name. Waits for the file system, as long as that likes.
pub(super) fn is_device_at(place: Place) -> bool {
    let Place { root, path } = place;
    let seen = |path: &Path| root.join(path.strip_prefix("/").unwrap_or(path));
    let mut left = parts(&path);
    let (mut at, mut links) = (PathBuf::from("/"), 0);
    while let Some(part) = left.pop_front() {
        if part == ".." {
            at.pop();
            continue;
        }
        at.push(part);
        let Ok(target) = fs::read_link(seen(&at)) else { continue };
        links += 1;
        if links > LINKS {
            return false;
        }
        if target.is_absolute() {
            at = PathBuf::from("/");
        } else {
            at.pop();
        }
        let rest = std::mem::replace(&mut left, parts(&target));
        left.extend(rest);
    }
    let is_there = fs::symlink_metadata(seen(&at))
        .is_ok_and(|file| file.file_type().is_char_device() && is_device(file.rdev()));
    is_there || is_called_so(&at)
}

/// The names of a path, with `..`.
fn parts(path: &Path) -> VecDeque<OsString> {
    let parts = path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    });
    parts.collect()
}

fn is_called_so(path: &Path) -> bool {
    NAMES.iter().any(|name| path == Path::new(name))
}

fn is_device(number: u64) -> bool {
    (libc::major(number), libc::minor(number)) == NUMBERS
}

/// A path without `.` and `..`, which are taken for what they are where no folder is a link.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::from("/");
    for part in path.components() {
        match part {
            Component::Normal(name) => plain.push(name),
            Component::ParentDir => {
                plain.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_path_is_told_however_it_is_written() {
        for path in ["/dev/net/tun", "//dev/./net//tun", "/dev/../dev/net/../net/tun", "/../dev/net/tun"] {
            assert!(is_called_so(&plain(Path::new(path))), "{path}");
        }
        for path in ["/dev/net", "/dev/net/tun/x", "/tmp/dev/net/tun", "/dev/null"] {
            assert!(!is_called_so(&plain(Path::new(path))), "{path}");
        }
    }

    #[test]
    fn a_link_to_the_name_is_the_device_even_where_there_is_none() {
        let folder = tempfile::tempdir().expect("a folder");
        let (first, second) = (folder.path().join("first"), folder.path().join("second"));
        symlink("second", &first).expect("a link");
        symlink("/dev/net/tun", &second).expect("a link");
        let leads_there = |path| is_device_at(Place { root: "/".into(), path });
        assert!(leads_there(first));
        let (round, other) = (folder.path().join("round"), folder.path().join("other"));
        symlink("round", &round).expect("a link");
        symlink("/dev/null", &other).expect("a link");
        assert!(!leads_there(round));
        assert!(!leads_there(other));
    }

    #[test]
    fn a_link_to_a_folder_is_followed_from_the_programs_root() {
        let root = tempfile::tempdir().expect("a folder");
        fs::create_dir_all(root.path().join("x/deep")).expect("a folder");
        for (link, target) in
            [("x/net", "/dev/net"), ("x/dev", "/dev"), ("x/up", "../x/deep/../dev"), ("x/else", "/etc")]
        {
            symlink(target, root.path().join(link)).expect("a link");
        }
        // The program's root has no such node, whatever ours has.
        let leads_there = |path: &str| is_device_at(Place { root: root.path().into(), path: path.into() });
        for path in ["/x/net/tun", "/x/dev/net/tun", "/x/up/net/tun", "/x/deep/../net/./tun"] {
            assert!(leads_there(path), "{path}");
        }
        // Of a link's `..`, as the kernel has it: the folder above the one that it leads to.
        for path in ["/x/else/net/tun", "/x/net/../net/other", "/x/deep/net/tun"] {
            assert!(!leads_there(path), "{path}");
        }
        assert!(leads_there("/x/else/../dev/net/tun"));
        assert!(!leads_there("/x/net/../../x/net/tun/.."));
    }
}
