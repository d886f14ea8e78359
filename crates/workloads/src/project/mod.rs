//! From API objects to what the filters need.

mod node;
mod pod;

pub use pod::{InvalidPod, pod_view};

pub(crate) use node::node_view;
pub(crate) use pod::is_over;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use orrery_api::units::{Bytes, InvalidQuantity, MilliCpu, parse_quantity_milli};
use orrery_drs::{amounts::Amounts, view::Effect};
use std::collections::BTreeMap;

/// The amounts of a resource list. `pods` is counted by itself and left out.
fn amounts(list: Option<&BTreeMap<String, Quantity>>) -> Result<Amounts, InvalidQuantity> {
    let mut amounts = Amounts::default();
    for (name, Quantity(text)) in list.into_iter().flatten() {
        match name.as_str() {
            "cpu" => amounts.cpu = MilliCpu::from_quantity(text)?,
            "memory" => amounts.memory = Bytes::from_quantity(text)?,
            "pods" => {}
            _ => {
                let whole = parse_quantity_milli(text)?.div_ceil(1000);
                amounts.other.insert(name.clone(), u64::try_from(whole).unwrap_or(u64::MAX));
            }
        }
    }
    Ok(amounts)
}

/// A taint's effect by its name.
fn effect(name: &str) -> Option<Effect> {
    match name {
        "NoSchedule" => Some(Effect::NoSchedule),
        "PreferNoSchedule" => Some(Effect::PreferNoSchedule),
        "NoExecute" => Some(Effect::NoExecute),
        _ => None,
    }
}
