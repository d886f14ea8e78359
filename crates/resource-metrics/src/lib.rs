//! The resource metrics API (`metrics.k8s.io/v1beta1`), by which `kubectl top` and autoscalers learn what is used.
//!
//! ```text
//! kubectl top ──► API server ──► aggregation ──► ResourceMetrics ──nodes/NAME/proxy/stats/summary──► kubelets
//!                                                   │  two rounds, a while apart: a rate
//!                                                   └──► NodeMetrics, PodMetrics
//! ```
//!
//! * `told`: what one kubelet told, read out of its summary. Pure.
//! * `rates`: two such rounds become what is used in a second. Pure.
//! * `objects`: the kinds. Pure.
//! * `server`: asks the kubelets, keeps the last two rounds, answers.
//!
//! Nobody is asked while nobody reads: a round is taken when the last one is older than 10 seconds, and a second one a second
//! later when there is none to compare with. So the first answer after a pause takes a little longer than a second.
//!
//! What it is not: a history. Whoever registers a server of their own for `v1beta1.metrics.k8s.io` (metrics-server, an
//! adapter) takes this one's place.
#![forbid(unsafe_code)]

mod objects;
mod rates;
mod server;
mod told;

pub use server::ResourceMetrics;
