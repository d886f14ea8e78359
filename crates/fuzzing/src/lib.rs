//! What is fuzzed, and what must hold whatever the input is.
//!
//! A [`Target`] is a function of bytes. It makes out of them what a client might send, hands it to the product, and asserts
//! more than that nothing panics: that a difference applied as a patch gives what it was taken from, that defaulting twice is
//! defaulting once, that what is printed is read back, that a short input is answered within its budget.
//!
//! Two drivers call the same functions:
//!
//! * `fuzz/`, a workspace of its own, with libFuzzer, which looks for inputs that reach new code (`cargo xtask fuzz`);
//! * the tests of this crate, which replay the seeds in `fuzz/seeds` and blindly mutate them for a fixed number of steps
//!   ([`mutate`]). They need no other compiler and are part of every test run.
//!
//! An input that failed once is kept among the seeds, under a name that begins with `found-`.
//!
//! What this crate is not: it starts no server that listens. Connections under load are tried by the crate `torture`.
//!
//! Start reading at [`TARGETS`], then [`input::Source`], which makes values out of bytes.
#![forbid(unsafe_code)]

pub mod input;
pub mod mutate;

mod apply;
mod expressions;
mod kinds;
mod patches;
mod paths;
mod requests;
mod schemas;
mod selectors;
mod tokens;
mod wire;

/// Something that is fuzzed.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name, and that of its directory of seeds.
    pub name: &'static str,
    /// What it tries, for people.
    pub about: &'static str,
    /// Panics when something does not hold.
    pub run: fn(&[u8]),
    /// How many mutated inputs the blind driver gives it: fewer where one takes longer.
    pub blind_steps: u32,
}

const fn target(name: &'static str, about: &'static str, run: fn(&[u8]), blind_steps: u32) -> Target {
    Target { name, about, run, blind_steps }
}

/// All of them.
pub const TARGETS: &[Target] = &[
    target("json_patch", "JSON Patch: a difference applied gives what it was taken from", patches::json, 3000),
    target("merge_patch", "JSON merge patch: the same, and twice is once", patches::merge, 3000),
    target("strategic_patch", "strategic merge patch by the shapes of built-in kinds", patches::strategic, 2000),
    target("apply", "server-side apply and the owners of fields: twice is once", apply::run, 600),
    target("label_selector", "label selectors: what is printed is read back", selectors::label, 3000),
    target("field_selector", "field selectors of built-in kinds", selectors::field, 1500),
    target("cel", "expressions: compiled, estimated, evaluated within a budget", expressions::run, 600),
    target("schema", "schemas of custom resources: pruned, defaulted, validated", schemas::run, 600),
    target("kinds", "built-in kinds: decoded, defaulted, validated, shown", kinds::run, 600),
    target("protobuf", "bodies in protobuf: what is written is read back", wire::protobuf, 3000),
    target("guest", "frames of a guest: the same from any pieces", wire::guest, 3000),
    target("spdy", "what clients send over SPDY: the session ends", wire::spdy, 1000),
    target("jsonpath", "JSONPath of columns and plain paths", paths::jsonpath, 3000),
    target("quantity", "quantities: what is printed is read back", paths::quantity, 3000),
    target("cron", "schedules of cron jobs", paths::cron, 1000),
    target("token", "bearer tokens: none but an issued one proves anybody", tokens::run, 600),
    target("request", "whole requests to an API server: method, path, query, body", requests::whole, 150),
    target("list", "parameters of lists and watches", requests::list, 150),
];

/// The target of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
