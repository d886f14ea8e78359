//! Lets libFuzzer drive the target that `ORRERY_FUZZ_TARGET` names; see the crate `orrery-fuzzing`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use orrery_fuzzing::{Target, find};
use std::sync::LazyLock;

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let name = std::env::var("ORRERY_FUZZ_TARGET").unwrap_or_default();
    find(&name).unwrap_or_else(|| panic!("ORRERY_FUZZ_TARGET={name:?} is no target; see `cargo xtask fuzz --list`"))
});

fuzz_target!(|data: &[u8]| (TARGET.run)(data));
