//! The entry point of `crx-init`, process 1 of a pod's virtual machine.
//!
//! Everything is in the library beside it; this file only gives the C library the `main` that it calls. It is at the C
//! level because Rust's own entry point looks at the standard descriptors first and would stop at once on a machine that
//! has no `/dev/null` yet.
//!
//! There are no tasks and no channels here, and there is no logic to test: what it calls never returns.
//!
//! Start reading at [`crx_init::run`].
#![no_main]

/// What the C library calls. As init it does not return: the machine ends with it.
///
/// # Safety
/// `argv` has `argc` texts, as the C library sees to.
// SAFETY: the only `main` of this binary; the name is what the C library looks for.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn main(argc: i32, argv: *const *const std::ffi::c_char) -> i32 {
    // The kernel passes on what it does not know of its command line, so only this one word has a meaning.
    // SAFETY: the C library gives `argc` texts, each ended by a NUL.
    let word = (argc == 2).then(|| unsafe { std::ffi::CStr::from_ptr(*argv.add(1)) });
    if word == Some(c"--version") { crx_init::tell_version() } else { crx_init::run() }
}
