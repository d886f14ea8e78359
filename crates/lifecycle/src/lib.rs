//! State machines of pods and machines.
//!
//! Everything here is a decision and nothing is an effect: no runtime, no clock, no socket. Time comes in as an
//! argument; what is to be done goes out as values that the caller carries out and then asks again.
//!
//! * [`pod`]: one pod on one machine. [`pod::plan`] looks at the pod, its machine and what was published last, and gives
//!   the next actions, the status to publish and when to look again.
//! * [`pod::PodView`]: what is needed of a pod, projected from the whole Kubernetes object; it also says what a pod asks
//!   for that is not built, so that nothing is run silently wrong.
//! * [`env`]: the environment of a container, with `$(NAME)` expansion.
//! * [`pull`]: when an image is pulled, and when again after a failure.
//! * [`size`]: how large a machine a pod needs.
//! * [`signal`]: names of signals.
//!
//! What it is not: it does not know hosts, sockets or the API server. The Spherelet observes and applies.
//!
//! Start reading at [`pod`], where the state machines are drawn.
#![forbid(unsafe_code)]

pub mod env;
pub mod handler;
pub mod pod;
pub mod probe;
pub mod pull;
pub mod services;
pub mod signal;
pub mod size;
pub mod volume;
