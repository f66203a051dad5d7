//! Moments between two system calls, which no test from outside can hit for sure.

use super::*;

fn journal() -> (tempfile::TempDir, Journal, PathBuf) {
    let state = tempfile::tempdir().expect("a folder");
    let journal = Journal::open(state.path()).expect("it is ours");
    let page = state.path().join("journal/1-0.json");
    std::fs::write(&page, "{").expect("it is ours");
    (state, journal, page)
}

#[test]
fn a_page_that_vanishes_while_it_is_read_is_no_page() {
    let (_state, journal, page) = journal();
    let file = journal.open_page("1-0.json").expect("it is there");
    std::fs::remove_file(page).expect("it is ours");
    let error = journal.read("1-0.json", file).err().expect("it is gone");
    assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
    assert!(journal.find("1-0.json").is_none());
}

#[test]
fn a_page_that_vanishes_before_it_is_set_aside_is_set_aside() {
    let (_state, journal, page) = journal();
    std::fs::remove_file(page).expect("it is ours");
    journal.set_aside("1-0.json", &io::ErrorKind::InvalidData.into()).expect("nothing is there to be moved");
}
