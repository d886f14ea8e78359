//! Every target holds for its seeds and for mutations of them.
#![allow(clippy::unwrap_used, reason = "a failure here fails the test")]

use orrery_fuzzing::{TARGETS, Target, find, mutate};
use std::{fs, path::Path};

/// Decides which mutations are tried: always the same ones.
const NUMBER: u64 = 0x0dd_ba11;

fn seeds(target: &Target) -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds").join(target.name);
    let mut paths: Vec<_> = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{} has no seeds", target.name);
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

fn holds(name: &str) {
    let target = find(name).unwrap();
    let steps = std::env::var("ORRERY_FUZZ_STEPS").ok().and_then(|steps| steps.parse().ok());
    let mut last = Vec::new();
    let tried = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        mutate::run(target, &seeds(target), steps.unwrap_or(target.blind_steps), NUMBER, |input| last = input.to_vec());
    }));
    if tried.is_err() {
        panic!("{name} does not hold for {:?}", last.escape_ascii().to_string());
    }
}

macro_rules! targets {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            holds(stringify!($name));
        })*

        #[test]
        fn none_is_left_out() {
            let tested = [$(stringify!($name)),*];
            assert_eq!(TARGETS.iter().map(|target| target.name).collect::<Vec<_>>(), tested);
        }
    };
}

targets! {
    json_patch merge_patch strategic_patch apply label_selector field_selector cel schema kinds protobuf guest spdy jsonpath
    quantity cron token request list
}
