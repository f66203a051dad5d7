//! Strings in and out.

use std::ffi::{CStr, c_char};

use crate::error::Failure;

/// A string that must be there.
///
/// # Safety
/// The string ends, and is not changed while it is read.
pub(crate) unsafe fn read<'a>(what: &str, text: *const c_char) -> Result<&'a str, Failure> {
    // SAFETY: the caller promises the same.
    unsafe { read_if_any(what, text)? }.ok_or_else(|| Failure::argument(format!("{what} is NULL")))
}

/// A string that may be missing.
///
/// # Safety
/// The string ends, and is not changed while it is read.
pub(crate) unsafe fn read_if_any<'a>(what: &str, text: *const c_char) -> Result<Option<&'a str>, Failure> {
    if text.is_null() {
        return Ok(None);
    }
    // SAFETY: it is not null, and the caller promises the rest.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_str().map(Some).map_err(|_| Failure::argument(format!("{what} is no UTF-8")))
}

/// Writes a string, cut between characters to what there is room for.
///
/// # Safety
/// There is room for `size` bytes, unless the pointer is null.
pub(crate) unsafe fn write(text: &str, to: *mut c_char, size: usize) {
    let Some(room) = size.checked_sub(1).filter(|_| !to.is_null()) else { return };
    let length = (0..=room.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    // SAFETY: the caller promises room for `size` bytes, and this writes `length` and one, at most as many.
    unsafe {
        std::ptr::copy_nonoverlapping(text.as_ptr(), to.cast::<u8>(), length);
        to.add(length).write(0);
    }
}
