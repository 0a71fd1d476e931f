//! Types of the C boundary and the guard around every call.

use std::ffi::{c_char, CString};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::Once;

#[repr(C)]
pub struct OckhamBytes {
    pub data: *mut u8,
    pub length: usize,
}

#[repr(C)]
pub struct OckhamIds {
    pub data: *mut i32,
    pub length: usize,
}

#[repr(C)]
pub struct OckhamStrings {
    pub text: OckhamBytes,
    pub lengths: *mut u64,
    pub count: usize,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct OckhamText {
    data: *const u8,
    length: usize,
}

impl OckhamText {
    /// Valid as long as `bytes` is.
    pub fn of(bytes: &[u8]) -> Self {
        Self { data: bytes.as_ptr(), length: bytes.len() }
    }

    /// # Safety
    /// `data` points to `length` readable bytes that live as long as the call (or `length` is 0).
    pub unsafe fn bytes<'a>(self) -> &'a [u8] {
        if self.length == 0 {
            return &[];
        }
        std::slice::from_raw_parts(self.data, self.length)
    }

    /// # Safety
    /// As `bytes`.
    pub unsafe fn text<'a>(self) -> Result<&'a str, String> {
        std::str::from_utf8(self.bytes()).map_err(|e| format!("the text is not UTF-8 at byte {}", e.valid_up_to()))
    }
}

/// Boxed slices have no spare capacity, so pointer and length are enough to free them.
pub fn give<T>(values: Vec<T>) -> (*mut T, usize) {
    let boxed = values.into_boxed_slice();
    let length = boxed.len();
    (Box::into_raw(boxed) as *mut T, length)
}

unsafe fn take<T>(data: *mut T, length: usize) {
    if !data.is_null() {
        drop(Box::from_raw(std::ptr::slice_from_raw_parts_mut(data, length)));
    }
}

impl OckhamBytes {
    pub fn new(values: Vec<u8>) -> Self {
        let (data, length) = give(values);
        Self { data, length }
    }
}

/// Null, or the text of the error or panic.
pub fn guarded(work: impl FnOnce() -> Result<(), String>) -> *mut c_char {
    static QUIET: Once = Once::new();
    // The default hook prints to the terminal, which the library never does.
    QUIET.call_once(|| std::panic::set_hook(Box::new(|_| {})));
    let result = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|s| s.to_string()));
        Err(format!("internal failure: {}", text.unwrap_or_else(|| "no message".into())))
    });
    match result {
        Ok(()) => std::ptr::null_mut(),
        Err(text) => CString::new(text.replace('\0', "\\0")).unwrap_or_default().into_raw(),
    }
}

/// # Safety
/// `error` came from a function of this library and is freed once.
#[no_mangle]
pub unsafe extern "C" fn ockham_error_free(error: *mut c_char) {
    if !error.is_null() {
        drop(CString::from_raw(error));
    }
}

/// # Safety
/// As `ockham_error_free`.
#[no_mangle]
pub unsafe extern "C" fn ockham_bytes_free(bytes: OckhamBytes) {
    take(bytes.data, bytes.length);
}

/// # Safety
/// As `ockham_error_free`.
#[no_mangle]
pub unsafe extern "C" fn ockham_ids_free(ids: OckhamIds) {
    take(ids.data, ids.length);
}

/// # Safety
/// As `ockham_error_free`.
#[no_mangle]
pub unsafe extern "C" fn ockham_strings_free(strings: OckhamStrings) {
    take(strings.text.data, strings.text.length);
    take(strings.lengths, strings.count);
}
