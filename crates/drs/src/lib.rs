//! The decisions of placement: the Kubernetes filters and DRS. Pure and deterministic.
//!
//! This crate knows no clock, no socket and no API object: it works on small views of pods, nodes and hosts that its
//! callers project. The same question gives the same answer everywhere, for it counts in integers and walks ordered
//! maps only; so the scheduler can decide with it when the manager can't be reached, and balancing and evacuation will
//! break no rule that scheduling kept.
//!
//! * [`view`]: what is known of a pod and of a node.
//! * [`amounts`]: what a pod asks for and what a node has, with the rule for init containers and overhead.
//! * [`filter`]: may this pod run on that node? If not, why, in the words of the Kubernetes scheduler.
//! * [`place`]: which host shall each pod of a batch get? Every candidate is in the answer, with its score or with what
//!   rejected it.
//! * [`review`]: the same as a `PlacementReview` of the inventory API.
//!
//! What is not built is not ignored: a pod that requires pod affinity, anti-affinity or a topology spread is
//! [`filter::Blocked`] with that reason.
//!
//! There are no tasks and no channels here. Start reading at [`filter`], then [`place`].
#![forbid(unsafe_code)]

pub mod amounts;
pub mod filter;
pub mod place;
pub mod review;
pub mod view;
