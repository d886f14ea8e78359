//! How large a machine a pod needs.
//!
//! ```text
//!   guest memory = the least class that holds 96 MiB for kernel, init and writable layers + what the containers may use
//!   classes      = 160, 256, 384, 512, 768, 1024, 1536 MiB ...: each power of two, and one and a half of it
//!   what the containers may use = max(sum over containers, largest init container)
//!   one container = its limit, else its request, else 128 MiB
//!   vCPUs = max(1, ceil(CPU by the same rule; nothing when neither limit nor request is given))
//! ```
//!
//! Classes are few, so that machines of many pods can go on from the same template.
//! Init containers run one after another before the others, so only the largest of them counts.

use crate::pod::{ContainerView, PodView};
use crate::volume::VolumeKind;
use orrery_api::units::{Bytes, MilliCpu};

/// Memory of the guest that its kernel, its init and the writable layers of containers take.
pub const GUEST_BASE: Bytes = Bytes::mebibytes(96);
/// The smallest guest that boots with room to work.
pub const SMALLEST_GUEST: Bytes = Bytes::mebibytes(160);
/// The class after the smallest, from which on they grow by halves.
const SECOND_CLASS: u64 = 256;
/// What a container without limit and request is given.
pub const DEFAULT_CONTAINER: Bytes = Bytes::mebibytes(128);
/// Memory of the host that a machine takes beyond its guest's: QEMU with its devices, the shim, and under emulation the
/// translated code. Measured with QEMU 7.2 under emulation: 70 MiB beyond an idle guest, growing with the translation cache;
/// with less than this the kernel kills busy machines at their control group's limit.
pub const OVERHEAD: Bytes = Bytes::mebibytes(160);

/// The size of a scratch disk for directories without limit.
pub const DEFAULT_SCRATCH: Bytes = Bytes::mebibytes(10 * 1024);
/// What a file system with a journal takes for itself.
const LEAST_SCRATCH: Bytes = Bytes::mebibytes(32);

/// The size of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MachineSize {
    /// Virtual CPUs, at least one.
    pub vcpus: u32,
    /// CPU reserved on the host: what the pod requests.
    pub cpu: MilliCpu,
    /// Memory of the guest.
    pub memory: Bytes,
    /// Memory of the host beyond the guest's.
    pub overhead: Bytes,
}

/// The size of the machine for `pod`.
#[must_use]
pub fn machine_size(pod: &PodView) -> MachineSize {
    let cpu_for_guest = over(pod, |c| c.cpu_limit.or(c.cpu_request).map_or(0, |cpu| cpu.0));
    let cpu_reserved = over(pod, |c| c.cpu_request.or(c.cpu_limit).map_or(0, |cpu| cpu.0));
    let memory = over(pod, |c| c.memory_limit.or(c.memory_request).unwrap_or(DEFAULT_CONTAINER).0);
    MachineSize {
        vcpus: u32::try_from(cpu_for_guest.div_ceil(1000)).unwrap_or(u32::MAX).max(1),
        cpu: MilliCpu(cpu_reserved),
        memory: memory_class(Bytes(GUEST_BASE.0.saturating_add(memory))),
        overhead: OVERHEAD,
    }
}

/// The size of the machine for a pod of one container that asks for nothing.
#[must_use]
pub fn default_machine_size() -> MachineSize {
    let memory = memory_class(Bytes(GUEST_BASE.0 + DEFAULT_CONTAINER.0));
    MachineSize { vcpus: 1, cpu: MilliCpu(0), memory, overhead: OVERHEAD }
}

/// The least class that holds `need`. Beyond what classes can double to, whole mebibytes.
fn memory_class(need: Bytes) -> Bytes {
    let need = need.as_mebibytes_ceil();
    if need <= SMALLEST_GUEST.as_mebibytes_ceil() {
        return SMALLEST_GUEST;
    }
    let power = need.max(SECOND_CLASS).checked_next_power_of_two().unwrap_or(need);
    let between = power / 4 * 3;
    Bytes::mebibytes(if need <= between && between > SECOND_CLASS { between } else { power })
}

/// What a container gets of the CPU time while there is not enough for all, as the weight of a control group of version 2:
/// from its request, as container runtimes convert it
/// (<https://github.com/kubernetes/enhancements/tree/master/keps/sig-node/2254-cgroup-v2>).
#[must_use]
pub fn cpu_weight(request: Option<MilliCpu>) -> u32 {
    const SHARES: std::ops::RangeInclusive<u64> = 2..=262_144;
    let shares = request.map_or(0, |cpu| cpu.0.saturating_mul(1024) / 1000).clamp(*SHARES.start(), *SHARES.end());
    u32::try_from(1 + (shares - 2) * 9999 / 262_142).expect("a weight is at most 10000")
}

/// The size of the disk that holds the pod's empty directories; none when it has none there.
///
/// When all of them are limited it is what they may hold together and room for the file system itself, else
/// [`DEFAULT_SCRATCH`]. It takes room on the host only as it is written.
#[must_use]
pub fn scratch(pod: &PodView) -> Option<Bytes> {
    let limits = pod.volumes.iter().filter_map(|volume| match volume.kind {
        VolumeKind::EmptyDir { memory: false, limit } => Some(limit),
        VolumeKind::EmptyDir { .. } | VolumeKind::Files { .. } => None,
    });
    let together = limits.reduce(|sum, limit| Some(Bytes(sum?.0.saturating_add(limit?.0))))?;
    Some(together.map_or(DEFAULT_SCRATCH, |sum| {
        let room = (sum.0 / 16).saturating_add(LEAST_SCRATCH.0);
        Bytes::mebibytes(Bytes(sum.0.saturating_add(room)).as_mebibytes_ceil())
    }))
}

fn over(pod: &PodView, amount: impl Fn(&ContainerView) -> u64) -> u64 {
    let together = pod.containers.iter().map(&amount).fold(0u64, u64::saturating_add);
    let largest = pod.init_containers.iter().map(&amount).max().unwrap_or(0);
    together.max(largest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::test_pod;
    use serde_json::json;

    #[test]
    fn a_request_becomes_a_weight_as_runtimes_convert_it() {
        let weight = |milli: u64| cpu_weight(Some(MilliCpu(milli)));
        assert_eq!((cpu_weight(None), weight(0), weight(100), weight(1000)), (1, 1, 4, 39));
        assert_eq!(weight(u64::MAX), 10_000);
    }

    fn size(containers: &serde_json::Value, init: &serde_json::Value) -> (u32, u64, u64) {
        let pod = test_pod(&json!({ "spec": { "containers": containers, "initContainers": init } }));
        let size = machine_size(&pod);
        (size.vcpus, size.cpu.0, size.memory.as_mebibytes_ceil())
    }

    #[test]
    fn a_machine_is_as_large_as_its_containers_need() {
        let table = [
            (json!([{ "name": "a", "image": "i" }]), json!([]), (1, 0, 256)),
            (
                json!([{ "name": "a", "image": "i", "resources": { "limits": { "memory": "32Mi" } } }]),
                json!([]),
                (1, 0, 160),
            ),
            (
                json!([{ "name": "a", "image": "i", "resources": {
                    "limits": { "memory": "1Gi", "cpu": "1500m" }, "requests": { "memory": "64Mi", "cpu": "250m" } } }]),
                json!([]),
                (2, 250, 1536),
            ),
            (
                json!([
                    { "name": "a", "image": "i", "resources": { "requests": { "cpu": "600m", "memory": "100Mi" } } },
                    { "name": "b", "image": "i", "resources": { "limits": { "cpu": "600m", "memory": "100M" } } }
                ]),
                json!([{ "name": "setup", "image": "i", "resources": { "limits": { "memory": "1Gi", "cpu": "3" } } }]),
                (3, 3000, 1536),
            ),
            (
                json!([{ "name": "a", "image": "i", "resources": { "limits": { "memory": "100M" } } }]),
                json!([]),
                (1, 0, 256),
            ),
        ];
        for (containers, init, expected) in table {
            assert_eq!(size(&containers, &init), expected, "{containers}");
        }
    }

    #[test]
    fn classes_are_few_and_hold_what_is_needed() {
        let classes: std::collections::BTreeSet<u64> = (1..=4096)
            .map(|need| {
                let class = memory_class(Bytes::mebibytes(need)).as_mebibytes_ceil();
                assert!(class >= need && (class <= 256 || class * 2 <= need * 3), "{class} MiB for {need} MiB");
                class
            })
            .collect();
        let expected = [160, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096];
        assert_eq!(classes.into_iter().collect::<Vec<_>>(), expected);
        assert_eq!(memory_class(Bytes(u64::MAX)), Bytes(u64::MAX));
        assert_eq!(default_machine_size().memory, Bytes::mebibytes(256));
    }

    #[test]
    fn a_scratch_disk_is_as_large_as_its_directories_may_become() {
        let table = [
            (json!([]), None),
            (json!([{ "name": "a", "emptyDir": { "medium": "Memory" } }, { "name": "c", "configMap": {} }]), None),
            (json!([{ "name": "a", "emptyDir": {} }]), Some(10 * 1024)),
            (
                json!([{ "name": "a", "emptyDir": { "sizeLimit": "1Gi" } }, { "name": "b", "emptyDir": {} }]),
                Some(10 * 1024),
            ),
            (
                json!([{ "name": "a", "emptyDir": { "sizeLimit": "1Gi" } }, { "name": "b", "emptyDir": { "sizeLimit": "64Mi" } }]),
                Some(1088 + 68 + 32),
            ),
        ];
        for (volumes, mebibytes) in table {
            let pod = test_pod(&json!({ "spec": { "volumes": volumes } }));
            assert_eq!(scratch(&pod).map(Bytes::as_mebibytes_ceil), mebibytes, "{volumes}");
        }
    }
}
