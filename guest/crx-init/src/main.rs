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

/// What the C library calls. Does not return: the machine ends with its init.
// SAFETY: the only `main` of this binary; the name is what the C library looks for.
#[unsafe(no_mangle)]
pub extern "C" fn main(_argc: i32, _argv: *const *const u8) -> i32 {
    crx_init::run()
}
