//! What is out of bounds, in upstream's words (`plugin/pkg/admission/limitranger`).

use super::items;
use orrery_quota::{Amounts, limits, requests};
use serde_json::Value;

/// What is wrong with a pod and its containers.
pub(super) fn of_pod(pod: &Value, ranges: &[Value]) -> Vec<String> {
    let mut problems = Vec::new();
    for item in items(ranges, "Container") {
        for list in ["containers", "initContainers"] {
            for container in pod["spec"][list].as_array().into_iter().flatten() {
                let of = |what: &str| Amounts::read(&container["resources"][what]);
                check(item, "Container", &of("requests"), &of("limits"), &mut problems);
            }
        }
    }
    for item in items(ranges, "Pod") {
        check(item, "Pod", &requests(pod), &limits(pod), &mut problems);
    }
    problems
}

/// What is wrong with a claim of a volume.
pub(super) fn of_claim(claim: &Value, ranges: &[Value]) -> Vec<String> {
    let asked = Amounts::read(&claim["spec"]["resources"]["requests"]);
    let mut problems = Vec::new();
    for item in items(ranges, "PersistentVolumeClaim") {
        let (min, max) = (Amounts::read(&item["min"]), Amounts::read(&item["max"]));
        for name in min.names() {
            problems
                .extend(Bound { name, kind: "PersistentVolumeClaim", edge: &min }.at_least(&asked, "request", true));
        }
        for name in max.names() {
            problems.extend(Bound { name, kind: "PersistentVolumeClaim", edge: &max }.at_most(&asked, "request", true));
        }
    }
    problems
}

fn check(item: &Value, kind: &str, requests: &Amounts, limits: &Amounts, problems: &mut Vec<String>) {
    let (min, max) = (Amounts::read(&item["min"]), Amounts::read(&item["max"]));
    for name in min.names() {
        let bound = Bound { name, kind, edge: &min };
        problems.extend(bound.at_least(requests, "request", true).or_else(|| bound.at_least(limits, "limit", false)));
    }
    for name in max.names() {
        let bound = Bound { name, kind, edge: &max };
        problems.extend(bound.at_most(limits, "limit", true).or_else(|| bound.at_most(requests, "request", false)));
    }
    let ratios = Amounts::read(&item["maxLimitRequestRatio"]);
    for name in ratios.names() {
        problems.extend(Bound { name, kind, edge: &ratios }.ratio(requests, limits));
    }
}

/// One edge of one resource.
struct Bound<'a> {
    name: &'a str,
    kind: &'a str,
    edge: &'a Amounts,
}

impl Bound<'_> {
    fn shown(&self, amounts: &Amounts) -> String {
        amounts.write()[self.name].as_str().unwrap_or("0").to_owned()
    }

    fn at_least(&self, found: &Amounts, what: &str, needed: bool) -> Option<String> {
        let start = format!("minimum {} usage per {} is {}", self.name, self.kind, self.shown(self.edge));
        self.judge(found, what, needed, &start, found.milli(self.name) < self.edge.milli(self.name))
    }

    fn at_most(&self, found: &Amounts, what: &str, needed: bool) -> Option<String> {
        let start = format!("maximum {} usage per {} is {}", self.name, self.kind, self.shown(self.edge));
        self.judge(found, what, needed, &start, found.milli(self.name) > self.edge.milli(self.name))
    }

    fn judge(&self, found: &Amounts, what: &str, needed: bool, start: &str, is_outside: bool) -> Option<String> {
        match found.has(self.name) {
            false if needed => Some(format!("{start}.  No {what} is specified")),
            true if is_outside => Some(format!("{start}, but {what} is {}", self.shown(found))),
            true | false => None,
        }
    }

    fn ratio(&self, requests: &Amounts, limits: &Amounts) -> Option<String> {
        let start = format!("{} max limit to request ratio per {} is {}", self.name, self.kind, self.shown(self.edge));
        let (request, limit) = (requests.milli(self.name), limits.milli(self.name));
        if request == 0 {
            return Some(format!("{start}, but no request is specified or request is 0"));
        }
        if limit == 0 {
            return Some(format!("{start}, but no limit is specified or limit is 0"));
        }
        // The ratio is in thousandths, as all amounts are.
        if limit * 1000 <= self.edge.milli(self.name) * request {
            return None;
        }
        let millionths = limit.saturating_mul(1_000_000) / request;
        Some(format!("{start}, but provided ratio is {}.{:06}", millionths / 1_000_000, millionths % 1_000_000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(cpu: &Value) -> Value {
        json!({"spec": {"containers": [{"name": "c", "resources": cpu}]}})
    }

    #[test]
    fn what_is_out_of_bounds_is_told_with_the_bound() {
        let range = |kind: &str, item: &Value| {
            let mut item = item.clone();
            item["type"] = json!(kind);
            [json!({"spec": {"limits": [item]}})]
        };
        let both = |request: &str, limit: &str| json!({"requests": {"cpu": request}, "limits": {"cpu": limit}});
        let table = [
            (
                "Container",
                json!({"min": {"cpu": "100m"}}),
                both("50m", "1"),
                Some("minimum cpu usage per Container is 100m, but request is 50m"),
            ),
            (
                "Container",
                json!({"min": {"cpu": "100m"}}),
                json!({}),
                Some("minimum cpu usage per Container is 100m.  No request is specified"),
            ),
            (
                "Container",
                json!({"max": {"cpu": "500m"}}),
                both("100m", "600m"),
                Some("maximum cpu usage per Container is 500m, but limit is 600m"),
            ),
            (
                "Pod",
                json!({"max": {"cpu": "2"}}),
                both("3", "3"),
                Some("maximum cpu usage per Pod is 2, but limit is 3"),
            ),
            ("Pod", json!({"max": {"cpu": "2"}}), both("1", "2"), None),
            (
                "Container",
                json!({"maxLimitRequestRatio": {"cpu": "2"}}),
                both("1", "3"),
                Some("cpu max limit to request ratio per Container is 2, but provided ratio is 3.000000"),
            ),
            ("Container", json!({"maxLimitRequestRatio": {"cpu": "2"}}), both("1", "2"), None),
        ];
        for (kind, item, resources, expected) in table {
            let expected: Vec<String> = expected.into_iter().map(str::to_owned).collect();
            assert_eq!(of_pod(&pod(&resources), &range(kind, &item)), expected, "{item}");
        }
        let claim = json!({"spec": {"resources": {"requests": {"storage": "1Gi"}}}});
        let range = range("PersistentVolumeClaim", &json!({"min": {"storage": "2Gi"}, "max": {"storage": "9Gi"}}));
        assert_eq!(
            of_claim(&claim, &range),
            ["minimum storage usage per PersistentVolumeClaim is 2Gi, but request is 1Gi"]
        );
    }
}
