//! The measure of the API server: tests of our own that answer to the published list of Kubernetes conformance tests.
//!
//! Each [`registry::Test`] names the codename it answers to and checks, over HTTPS and knowing nothing of what is inside,
//! what that entry of the list describes. The list itself is not carried here: [`list`] reads it, and a codename of ours
//! that it does not have is an error. What holds is counted for each class of the list (`api`, `ctrl`, ...); what can't be
//! tried on a cluster is skipped, says so, and does not count.
//!
//! This is a measure, not a certificate: no word of upstream's tests is here, and passing these is no claim to have passed
//! those.
//!
//! A test makes its own namespaces and names ([`harness::Context`]); [`runner`] removes them after it, whatever it came to.
//! Tests run several at a time, serial ones alone at the end. [`report`] turns verdicts into lines.
//!
//! Start reading at [`registry::all`], then at any file of `api`.
#![forbid(unsafe_code)]

pub mod api;
pub mod ctrl;
pub use orrery_harness::{self as harness, ensure, run, same};
pub mod list;
pub mod registry;
pub mod report;
pub mod runner;
pub mod simulated;
