//! Whether everything is there in the end, and nothing else.

use crate::{
    client::Client,
    load::{COMPLETIONS, Wanted},
};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

/// How long controllers may take to converge: on a machine that is busy with much else, too.
const DEADLINE: Duration = Duration::from_secs(300);
const INTERVAL: Duration = Duration::from_millis(250);

/// Waits until what is there is what is wanted. How many objects were compared, or what differs in the end.
pub(crate) async fn everything(client: &Client, wanted: &Wanted) -> Result<usize, String> {
    let began = Instant::now();
    loop {
        let state = State::read(client).await;
        let differences = state.differences(wanted);
        if differences.is_empty() {
            let count = wanted.counters.len() + wanted.deployments.len() + wanted.jobs.len() + wanted.namespaces.len();
            return Ok(count + state.pods.len());
        }
        // What must never be is not waited for.
        let lasting: Vec<&String> = differences.iter().filter(|(_, lasting)| *lasting).map(|(what, _)| what).collect();
        if !lasting.is_empty() {
            return Err(format!("{lasting:#?}"));
        }
        if began.elapsed() > DEADLINE {
            let all: Vec<&String> = differences.iter().map(|(what, _)| what).collect();
            return Err(format!("after {} s: {all:#?}", DEADLINE.as_secs()));
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// What there is.
struct State {
    counters: Vec<Value>,
    deployments: Vec<Value>,
    replica_sets: Vec<Value>,
    jobs: Vec<Value>,
    pods: Vec<Value>,
    namespaces: Vec<Value>,
}

/// What differs, and whether it stays so.
type Difference = (String, bool);

impl State {
    async fn read(client: &Client) -> Self {
        let list = async |path: &str| {
            let answer = client.get(path).await;
            answer.body["items"].as_array().cloned().unwrap_or_default()
        };
        Self {
            counters: list("/api/v1/namespaces/default/configmaps").await,
            deployments: list("/apis/apps/v1/deployments").await,
            replica_sets: list("/apis/apps/v1/replicasets").await,
            jobs: list("/apis/batch/v1/jobs").await,
            pods: list("/api/v1/pods").await,
            namespaces: list("/api/v1/namespaces").await,
        }
    }

    fn differences(&self, wanted: &Wanted) -> Vec<Difference> {
        let mut found = Vec::new();
        for (name, count) in &wanted.counters {
            let object = self.counters.iter().find(|object| name_of(object) == name);
            let held = object.map(|object| &object["data"]["count"]);
            if held.and_then(Value::as_str) != Some(count.to_string().as_str()) {
                found.push((format!("{name} is {held:?}, and {count} was acknowledged"), true));
            }
        }
        for (name, replicas) in &wanted.deployments {
            self.deployment("default", name, *replicas, &mut found);
        }
        for (name, keep) in &wanted.namespaces {
            let is_there = self.namespaces.iter().any(|object| name_of(object) == name);
            if is_there != *keep {
                found.push((format!("namespace {name} is there: {is_there}, wanted: {keep}"), *keep));
            }
            self.deployment(name, "inside", keep.then_some(2), &mut found);
        }
        for (name, keep) in &wanted.jobs {
            self.job(name, *keep, &mut found);
        }
        self.orphans(&mut found);
        found
    }

    fn deployment(&self, namespace: &str, name: &str, replicas: Option<u64>, found: &mut Vec<Difference>) {
        let object = self.deployments.iter().find(|object| is(object, namespace, name));
        let pods: Vec<&Value> = self
            .pods
            .iter()
            .filter(|pod| pod["metadata"]["namespace"] == namespace && pod["metadata"]["labels"]["app"] == name)
            .collect();
        let Some(replicas) = replicas else {
            if object.is_some() || !pods.is_empty() {
                found.push((format!("{namespace}/{name} was deleted; {} pods are left", pods.len()), false));
            }
            return;
        };
        let Some(object) = object else {
            found.push((format!("{namespace}/{name} was acknowledged and is not there"), true));
            return;
        };
        let ready = object["status"]["readyReplicas"].as_u64().unwrap_or(0);
        let asked = object["spec"]["replicas"].as_u64();
        if asked != Some(replicas) {
            found.push((format!("{namespace}/{name} is scaled to {asked:?}, and {replicas} was acknowledged"), true));
        }
        if ready != replicas || u64::try_from(pods.len()) != Ok(replicas) {
            let count = pods.len();
            found.push((
                format!("{namespace}/{name} has {count} pods, {ready} ready, and should have {replicas}"),
                false,
            ));
        }
    }

    fn job(&self, name: &str, keep: bool, found: &mut Vec<Difference>) {
        let object = self.jobs.iter().find(|object| is(object, "default", name));
        let labelled = |pod: &&Value| pod["metadata"]["labels"]["batch.kubernetes.io/job-name"] == name;
        let pods = u64::try_from(self.pods.iter().filter(labelled).count()).unwrap_or(u64::MAX);
        match (object, keep) {
            (None, true) => found.push((format!("job {name} was acknowledged and is not there"), true)),
            (Some(_), false) => found.push((format!("job {name} was deleted and is there"), false)),
            (None, false) if pods > 0 => found.push((format!("{pods} pods are left of job {name}"), false)),
            (None, false) => {}
            (Some(object), true) => {
                let succeeded = object["status"]["succeeded"].as_u64().unwrap_or(0);
                if pods > COMPLETIONS || succeeded > COMPLETIONS {
                    let what = format!("job {name} made {pods} pods, {succeeded} of them counted, for {COMPLETIONS}");
                    found.push((what, true));
                } else if succeeded != COMPLETIONS || object["status"]["completionTime"].is_null() {
                    found.push((format!("job {name} has {succeeded} of {COMPLETIONS} completions"), false));
                }
            }
        }
    }

    /// Whatever names an owner that is not there.
    fn orphans(&self, found: &mut Vec<Difference>) {
        let owners: BTreeSet<&str> = [&self.deployments, &self.replica_sets, &self.jobs]
            .into_iter()
            .flatten()
            .filter_map(|object| object["metadata"]["uid"].as_str())
            .collect();
        for object in self.pods.iter().chain(&self.replica_sets) {
            let references = object["metadata"]["ownerReferences"].as_array().into_iter().flatten();
            for reference in references.filter(|reference| !owners.contains(reference["uid"].as_str().unwrap_or(""))) {
                found.push((format!("{} has the owner {}, who is gone", name_of(object), reference["name"]), false));
            }
        }
    }
}

fn name_of(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

fn is(object: &Value, namespace: &str, name: &str) -> bool {
    name_of(object) == name && object["metadata"]["namespace"] == namespace
}
