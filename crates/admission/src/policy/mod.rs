//! `MutatingAdmissionPolicy` and `ValidatingAdmissionPolicy`: rules in CEL (`k8s.io/apiserver/pkg/admission/plugin/policy`).
//!
//! ```text
//! policies, bindings ──compile, once per version──► pairs ──match constraints, resources──► parameters ──► evaluate
//!   mutating:   one mutation after the other, each sees what those before it made; once more those that want to, when a later
//!               one changed the object
//!   validating: what is false is refused, warned of or noted, as the binding says
//! ```
//!
//! * [`binding`]: policies with their bindings. * [`params`]: a binding's parameters. * [`kinds`]: where objects of a kind lie.
//! * [`mutating`], [`validating`]: the plugins.
//!
//! A difference from upstream: an `ApplyConfiguration` may replace an atomic list or map.

mod binding;
mod kinds;
mod mutating;
mod params;
mod validating;

pub(crate) use mutating::MutatingAdmissionPolicy;
pub(crate) use validating::ValidatingAdmissionPolicy;

use crate::matching::is_exempt;
use orrery_apiserver::AdmissionRequest;

fn handles(request: &AdmissionRequest<'_>) -> bool {
    !is_exempt(&request.resource.group, &request.resource.plural)
}
