//! The entry point, at the C level: Rust's own would stop at once on a machine that has no `/dev/null` yet.
#![no_main]

/// What the C library calls. Does not return: the machine ends with its init.
// SAFETY: the only `main` of this binary; the name is what the C library looks for.
#[unsafe(no_mangle)]
pub extern "C" fn main(_argc: i32, _argv: *const *const u8) -> i32 {
    crx_init::run()
}
