//! Placement reviews: asked and answered, never stored.

use super::{base, fields::text};
use orrery_api::inventory::PlacementReview;
use orrery_machinery::{
    descriptor::{FixedResource, Storage},
    status::FieldError,
};

/// The question to DRS. It has no name: it is gone when it is answered.
pub(super) fn placement_review() -> FixedResource {
    FixedResource {
        storage: Storage::Review,
        categories: &[],
        has_status: false,
        counts_generation: false,
        validate: |object, _| {
            if text(object, "/spec/supervisor").is_empty() {
                vec![FieldError::required("spec.supervisor", "name the Supervisor that asks")]
            } else {
                Vec::new()
            }
        },
        ..base::<PlacementReview>("placementreview", &[])
    }
}
