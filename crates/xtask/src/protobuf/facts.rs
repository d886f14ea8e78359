//! What neither the crate of messages nor the table of shapes says, from upstream's `generated.proto` and `types.go`.

/// Messages beyond those of the kinds, and what they are for.
pub(super) const ALSO: [(&str, &str); 5] = [
    ("meta.v1.DeleteOptions", "bodies of deletions"),
    ("meta.v1.WatchEvent", "what a watch sends"),
    ("meta.v1.Status", "errors"),
    ("meta.v1.PartialObjectMetadata", "metadata alone"),
    ("meta.v1.PartialObjectMetadataList", "metadata alone"),
];

/// Messages that the crate has in another version only: name, and which it is like.
pub(super) const LIKE: [(&str, &str); 9] = [
    ("admissionregistration.v1.ApplyConfiguration", "admissionregistration.v1beta1.ApplyConfiguration"),
    ("admissionregistration.v1.JsonPatch", "admissionregistration.v1beta1.JsonPatch"),
    ("admissionregistration.v1.MutatingAdmissionPolicy", "admissionregistration.v1beta1.MutatingAdmissionPolicy"),
    (
        "admissionregistration.v1.MutatingAdmissionPolicyBinding",
        "admissionregistration.v1beta1.MutatingAdmissionPolicyBinding",
    ),
    (
        "admissionregistration.v1.MutatingAdmissionPolicyBindingList",
        "admissionregistration.v1beta1.MutatingAdmissionPolicyBindingList",
    ),
    (
        "admissionregistration.v1.MutatingAdmissionPolicyBindingSpec",
        "admissionregistration.v1beta1.MutatingAdmissionPolicyBindingSpec",
    ),
    (
        "admissionregistration.v1.MutatingAdmissionPolicyList",
        "admissionregistration.v1beta1.MutatingAdmissionPolicyList",
    ),
    (
        "admissionregistration.v1.MutatingAdmissionPolicySpec",
        "admissionregistration.v1beta1.MutatingAdmissionPolicySpec",
    ),
    ("admissionregistration.v1.Mutation", "admissionregistration.v1beta1.Mutation"),
];

/// Fields that upstream no longer has.
pub(super) const GONE: [(&str, &str); 1] = [("core.v1.PodSpec", "workload_ref")];

/// Fields newer than the crate (docs/limits.md names them). They have no form on the wire until the crate numbers them: a
/// number that is not known must not be guessed.
pub(super) const UNNUMBERED: [(&str, &str); 11] = [
    ("core.v1.PodSpec", "schedulingGroup"),
    ("core.v1.PodStatus", "nodeAllocatableResourceClaimStatuses"),
    ("core.v1.ResourceHealth", "message"),
    ("core.v1.VolumeMountStatus", "volumeStatus"),
    ("meta.v1.ListMeta", "shardInfo"),
    ("resource.v1.Device", "nodeAllocatableResourceMappings"),
    ("resource.v1.DeviceAttribute", "bools"),
    ("resource.v1.DeviceAttribute", "ints"),
    ("resource.v1.DeviceAttribute", "strings"),
    ("resource.v1.DeviceAttribute", "versions"),
    ("storage.v1.CSIDriverSpec", "preventPodSchedulingIfMissing"),
];

/// Whether upstream writes the field also when it is zero: it holds it as a pointer, or always writes it. So are all numbers
/// that may be texts, but one.
pub(super) fn says_zero(message: &str, field: &str, base: &str) -> bool {
    let number_or_text = base == "intstr.IntOrString" && (message, field) != ("core.v1.ServicePort", "targetPort");
    number_or_text || pointers().any(|pointer| pointer == (message, field))
}

/// Messages and fields whose zero says something, and which the table of shapes does not mark.
pub(super) fn pointers() -> impl Iterator<Item = (&'static str, &'static str)> {
    POINTERS.lines().flat_map(|line| {
        let (message, fields) = line.split_once(": ").unwrap_or_default();
        fields.split_whitespace().map(move |field| (message, field))
    })
}

const POINTERS: &str = include_str!("pointers.txt");
