//! What the calls do, once their arguments are Rust's.

use std::ffi::{CString, c_int};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hypertap_client::TapError;
use hypertap_client::blocking::TapInterface;

use crate::Tap;
use crate::children::Told;
use crate::error::Failure;
use crate::options::Wishes;

pub(crate) fn connect(place: &str, wishes: &Wishes) -> Result<Tap, Failure> {
    Ok(tap(TapInterface::connect(&wishes.server(place)?)?))
}

pub(crate) fn open(wishes: &Wishes) -> Result<Tap, Failure> {
    let _told = Told::begin();
    Ok(tap(TapInterface::open(wishes.spec())?))
}

fn tap(interface: TapInterface) -> Tap {
    let name = interface.name().and_then(|name| CString::new(name).ok());
    Tap { interface, name, error: Mutex::default() }
}

/// Receives a frame: its length, or 0.
pub(crate) fn recv(tap: &Tap, buffer: &mut [u8], timeout_ms: c_int) -> Result<c_int, Failure> {
    let length = tap.interface.recv(buffer, timeout(timeout_ms)?)?;
    // A frame has 65,543 bytes at most.
    Ok(length.and_then(|length| c_int::try_from(length).ok()).unwrap_or(0))
}

/// Sends a frame: 1, or 0.
pub(crate) fn send(tap: &Tap, frame: &[u8], timeout_ms: c_int) -> Result<c_int, Failure> {
    Ok(tap.interface.send_timeout(frame, timeout(timeout_ms)?)?.into())
}

/// The error of a frame that is longer than any.
pub(crate) fn too_long(tap: &Tap, length: usize) -> Failure {
    TapError::Length { length, limit: tap.interface.max_frame() }.into()
}

pub(crate) fn descriptor(tap: &Tap) -> c_int {
    tap.interface.as_fd().as_raw_fd()
}

pub(crate) fn last_error(tap: &Tap) -> String {
    tap.error.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

pub(crate) fn keep_error(tap: &Tap, failure: Failure) {
    *tap.error.lock().unwrap_or_else(PoisonError::into_inner) = failure.text;
}

/// A time in milliseconds; -1 is for ever.
fn timeout(milliseconds: c_int) -> Result<Option<Duration>, Failure> {
    match u64::try_from(milliseconds) {
        Ok(milliseconds) => Ok(Some(Duration::from_millis(milliseconds))),
        Err(_) if milliseconds == -1 => Ok(None),
        Err(_) => Err(Failure::argument("timeout_ms is negative and not -1")),
    }
}
