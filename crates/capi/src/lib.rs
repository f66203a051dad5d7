//! libhypertap: an Ethernet interface for programs in C. Its manual is `include/hypertap.h`.
//!
//! What crosses the border is checked on this side: null pointers, numbers that mean nothing, strings
//! that are no UTF-8. What the caller alone can know (that a pointer leads to so many bytes, that an
//! interface is not closed while it is used) the header asks for. A panic ends at the border, as an error.

#![allow(unsafe_code, reason = "pointers come from C and go there; each block says what the header asks for")]

mod calls;
mod children;
mod error;
mod options;
mod text;

use std::ffi::{CString, c_char, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

use hypertap_client::blocking::TapInterface;

use crate::error::{Code, Failure};
use crate::options::Options;
use crate::text::write;

/// An interface, as C holds it.
#[derive(Debug)]
pub struct Tap {
    interface: TapInterface,
    name: Option<CString>,
    /// The text of the last error.
    error: Mutex<String>,
}

/// `hypertap_tap_connect`.
///
/// # Safety
/// As the header has it: strings end, structures have their size, `tap` and `error` can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hypertap_tap_connect(
    tap: *mut *mut Tap,
    place: *const c_char,
    options: *const Options,
    error: *mut c_char,
    error_size: usize,
) -> c_int {
    let make = || {
        // SAFETY: the header asks for strings that end, and for options of the size that they say.
        let (place, options) = unsafe { (text::read("where", place)?, options::read(options)?) };
        calls::connect(place, &options)
    };
    // SAFETY: the header asks for both.
    unsafe { hand_over(tap, error, error_size, make) }
}

/// `hypertap_tap_open`.
///
/// # Safety
/// As the header has it: strings end, structures have their size, `tap` and `error` can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hypertap_tap_open(
    tap: *mut *mut Tap,
    options: *const Options,
    error: *mut c_char,
    error_size: usize,
) -> c_int {
    let make = || {
        // SAFETY: the header asks for options of the size that they say, whose strings end.
        let options = unsafe { options::read(options)? };
        calls::open(&options)
    };
    // SAFETY: the header asks for both.
    unsafe { hand_over(tap, error, error_size, make) }
}

/// `hypertap_tap_close`.
///
/// # Safety
/// The interface is one of ours that is not closed, and no other call uses it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hypertap_tap_close(tap: *mut Tap) {
    if !tap.is_null() {
        // SAFETY: it came from `hand_over`, and is not used any more.
        let tap = unsafe { Box::from_raw(tap) };
        // There is nobody to tell.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(tap)));
    }
}

/// `hypertap_tap_recv`.
///
/// # Safety
/// The interface is open, and `frame` has room for `size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hypertap_tap_recv(
    tap: *mut Tap,
    frame: *mut c_void,
    size: usize,
    timeout_ms: c_int,
) -> c_int {
    // SAFETY: the header asks for an interface that is open.
    answer(unsafe { tap.as_ref() }, |tap| {
        let size = size.min(hypertap_client::tap::MAX_FRAME);
        if frame.is_null() && size > 0 {
            return Err(Failure::argument("frame is NULL"));
        }
        // SAFETY: the header asks for so many bytes, which may be written; not null, by the line above.
        let buffer = match size {
            0 => &mut [],
            size => unsafe { std::slice::from_raw_parts_mut(frame.cast::<u8>(), size) },
        };
        calls::recv(tap, buffer, timeout_ms)
    })
}

/// `hypertap_tap_send`.
///
/// # Safety
/// The interface is open, and `frame` leads to `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hypertap_tap_send(
    tap: *mut Tap,
    frame: *const c_void,
    length: usize,
    timeout_ms: c_int,
) -> c_int {
    // SAFETY: the header asks for an interface that is open.
    answer(unsafe { tap.as_ref() }, |tap| {
        if frame.is_null() || length > tap.interface.max_frame() {
            let what = if frame.is_null() {
                Failure::argument("frame is NULL")
            } else {
                calls::too_long(tap, length)
            };
            return Err(what);
        }
        // SAFETY: the header asks for so many bytes; neither null nor longer than a frame, by the lines above.
        let frame = unsafe { std::slice::from_raw_parts(frame.cast::<u8>(), length) };
        calls::send(tap, frame, timeout_ms)
    })
}

/// `hypertap_tap_fd`.
///
/// # Safety
/// The interface is null or open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hypertap_tap_fd(tap: *const Tap) -> c_int {
    // SAFETY: the header asks for one that is null or open.
    unsafe { tap.as_ref() }.map_or(Code::Argument as c_int, calls::descriptor)
}

/// `hypertap_tap_name`.
///
/// # Safety
/// The interface is null or open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hypertap_tap_name(tap: *const Tap) -> *const c_char {
    // SAFETY: the header asks for one that is null or open.
    let name = unsafe { tap.as_ref() }.and_then(|tap| tap.name.as_ref());
    name.map_or(std::ptr::null(), |name| name.as_ptr())
}

/// `hypertap_tap_max_frame`.
///
/// # Safety
/// The interface is null or open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hypertap_tap_max_frame(tap: *const Tap) -> usize {
    // SAFETY: the header asks for one that is null or open.
    unsafe { tap.as_ref() }.map_or(0, |tap| tap.interface.max_frame())
}

/// `hypertap_tap_error`.
///
/// # Safety
/// The interface is null or open, and `text` has room for `size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hypertap_tap_error(tap: *const Tap, text: *mut c_char, size: usize) {
    // SAFETY: the header asks for one that is null or open.
    let last = unsafe { tap.as_ref() }.map(calls::last_error).unwrap_or_default();
    // SAFETY: the header asks for that room.
    unsafe { write(&last, text, size) };
}

/// `hypertap_version`.
#[unsafe(no_mangle)]
pub extern "C" fn hypertap_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// Does the work, and makes a panic an error.
fn guarded<T>(work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(Failure::internal()))
}

/// A call's number: what it yields, or its error, whose text is kept.
fn answer(tap: Option<&Tap>, work: impl FnOnce(&Tap) -> Result<c_int, Failure>) -> c_int {
    let Some(tap) = tap else { return Code::Argument as c_int };
    guarded(|| work(tap)).unwrap_or_else(|failure| {
        let code = failure.code as c_int;
        calls::keep_error(tap, failure);
        code
    })
}

/// Makes an interface and hands it over, or the reason why there is none.
///
/// # Safety
/// `tap` can be written unless it is null, and `error` has room for `error_size` bytes.
unsafe fn hand_over(
    tap: *mut *mut Tap,
    error: *mut c_char,
    error_size: usize,
    make: impl FnOnce() -> Result<Tap, Failure>,
) -> c_int {
    let outcome = guarded(|| if tap.is_null() { Err(Failure::argument("tap is NULL")) } else { make() });
    let (pointer, code, said) = match outcome {
        Ok(interface) => (Box::into_raw(Box::new(interface)), 0, String::new()),
        Err(failure) => (std::ptr::null_mut(), failure.code as c_int, failure.text),
    };
    if !tap.is_null() {
        // SAFETY: the caller promises it.
        unsafe { tap.write(pointer) };
    }
    // SAFETY: the caller promises it.
    unsafe { write(&said, error, error_size) };
    code
}

#[cfg(test)]
mod tests;
