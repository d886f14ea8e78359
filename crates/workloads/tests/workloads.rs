//! Workload controllers against a real API server in the same process.
#![allow(clippy::unwrap_used, reason = "a failure here fails the test")]

mod support;

use k8s_openapi::{
    api::{
        apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet},
        batch::v1::{CronJob, Job},
        core::v1::{ConfigMap, Endpoints, Pod, ReplicationController, ResourceQuota, Service},
        discovery::v1::EndpointSlice,
        policy::v1::PodDisruptionBudget,
    },
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};
use std::future::Future;
use support::{Cluster, eventually, kubelet};
use tokio_util::sync::CancellationToken;

async fn cluster() -> (Cluster, CancellationToken) {
    let cluster = Cluster::start(true).await;
    cluster.node("host-2", "64").await;
    let kubelet = kubelet::start(&cluster);
    (cluster, kubelet)
}

fn template(image: &str, annotations: &Value) -> Value {
    json!({"metadata": {"labels": {"app": "web"}, "annotations": annotations},
           "spec": {"containers": [{"name": "c", "image": image, "ports": [{"name": "http", "containerPort": 8080}]}]}})
}

fn deployment(replicas: i32, image: &str) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {
        "replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template(image, &json!({}))}})
}

async fn patch<K>(api: &Api<K>, name: &str, patch: Value) -> K
where
    K: Clone + serde::de::DeserializeOwned + std::fmt::Debug,
{
    api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap()
}

async fn until<K, R>(api: &Api<K>, name: &str, what: &str, is: impl Fn(&K) -> R) -> K
where
    K: Clone + serde::de::DeserializeOwned + std::fmt::Debug,
    R: Into<Option<bool>>,
{
    eventually(what, || async {
        let object = api.get_opt(name).await.unwrap()?;
        is(&object).into().unwrap_or(false).then_some(object)
    })
    .await
}

async fn gone<K>(api: &Api<K>, name: &str)
where
    K: Clone + serde::de::DeserializeOwned + std::fmt::Debug,
{
    eventually(&format!("{name} is gone"), || async { api.get_opt(name).await.unwrap().is_none().then_some(()) }).await;
}

async fn count<K>(api: &Api<K>, wanted: usize) -> Vec<K>
where
    K: Clone + serde::de::DeserializeOwned + std::fmt::Debug,
{
    eventually(&format!("{wanted} of them"), || async {
        let items = api.list(&ListParams::default()).await.unwrap().items;
        (items.len() == wanted).then_some(items)
    })
    .await
}

async fn with_cluster<R: Future<Output = Cluster>>(test: impl FnOnce(Cluster) -> R) {
    let (cluster, kubelet) = cluster().await;
    let cluster = test(cluster).await;
    kubelet.cancel();
    cluster.stop().await;
}

fn available(deployment: &Deployment, replicas: i32, image: &str) -> Option<bool> {
    let status = deployment.status.as_ref()?;
    let right = deployment.spec.as_ref()?.template.spec.as_ref()?.containers[0].image.as_deref() == Some(image);
    let all =
        [status.replicas, status.updated_replicas, status.available_replicas].iter().all(|n| *n == Some(replicas));
    Some(right && all && status.observed_generation == deployment.metadata.generation)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_comes_up_rolls_over_rolls_back_and_goes() {
    with_cluster(|cluster| async {
        let (deployments, sets) = (cluster.api::<Deployment>(), cluster.api::<ReplicaSet>());
        cluster.create(&deployments, deployment(3, "v1")).await;
        let up = until(&deployments, "web", "up", |d| available(d, 3, "v1")).await;
        assert_eq!(up.annotations()["deployment.kubernetes.io/revision"], "1");
        let first = count(&sets, 1).await.remove(0);
        assert_eq!(first.labels()["pod-template-hash"], first.name_any().rsplit_once('-').unwrap().1);
        cluster.event("web", "ScalingReplicaSet").await;

        let image = |image: &str| json!({"spec": {"template": template(image, &json!({}))}});
        patch(&deployments, "web", image("v2")).await;
        until(&deployments, "web", "rolled over", |d| available(d, 3, "v2")).await;
        patch(&deployments, "web", image("v1")).await;
        let back = until(&deployments, "web", "rolled back", |d| available(d, 3, "v1")).await;
        assert_eq!(back.annotations()["deployment.kubernetes.io/revision"], "3");
        let conditions = back.status.unwrap().conditions.unwrap();
        let reason = |type_: &str| conditions.iter().find(|c| c.type_ == type_).unwrap().reason.clone().unwrap();
        assert_eq!(
            (reason("Available").as_str(), reason("Progressing").as_str()),
            ("MinimumReplicasAvailable", "NewReplicaSetAvailable")
        );
        assert_eq!(count(&sets, 2).await.iter().filter(|s| s.spec.as_ref().unwrap().replicas == Some(3)).count(), 1);

        deployments.delete("web", &DeleteParams::background()).await.unwrap();
        count(&cluster.api::<Pod>(), 0).await;
        count(&sets, 0).await;
        cluster
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_pods_come_and_go_exactly_once() {
    with_cluster(|cluster| async {
        let sets = cluster.api::<ReplicaSet>();
        let set = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "many"}, "spec": {
            "replicas": 100, "selector": {"matchLabels": {"app": "web"}}, "template": template("v1", &json!({}))}});
        cluster.create(&sets, set).await;
        until(&sets, "many", "a hundred", |s| s.status.as_ref().map(|s| s.replicas == 100)).await;
        assert_eq!(cluster.api::<Pod>().list(&ListParams::default()).await.unwrap().items.len(), 100);
        patch(&sets, "many", json!({"spec": {"replicas": 7}})).await;
        until(&sets, "many", "seven", |s| s.status.as_ref().map(|s| s.replicas == 7)).await;
        count(&cluster.api::<Pod>(), 7).await;
        cluster
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_are_adopted_released_and_orphaned() {
    with_cluster(|cluster| async {
        let (pods, controllers) = (cluster.api::<Pod>(), cluster.api::<ReplicationController>());
        let mut orphan = template("v1", &json!({}));
        orphan["apiVersion"] = "v1".into();
        orphan["kind"] = "Pod".into();
        orphan["metadata"]["name"] = "orphan".into();
        cluster.create(&pods, orphan).await;
        let rc = json!({"apiVersion": "v1", "kind": "ReplicationController", "metadata": {"name": "rc"}, "spec": {
            "replicas": 1, "selector": {"app": "web"}, "template": template("v1", &json!({}))}});
        cluster.create(&controllers, rc).await;
        until(&pods, "orphan", "adopted", |pod| pod.owner_references().iter().any(|o| o.name == "rc")).await;
        assert_eq!(pods.list(&ListParams::default()).await.unwrap().items.len(), 1);
        patch(&pods, "orphan", json!({"metadata": {"labels": {"app": "other"}}})).await;
        until(&pods, "orphan", "released", |pod| pod.owner_references().is_empty()).await;
        count(&pods, 2).await;
        controllers.delete("rc", &DeleteParams::orphan()).await.unwrap();
        gone(&controllers, "rc").await;
        let left = count(&pods, 2).await;
        assert!(left.iter().all(|pod| pod.owner_references().is_empty()));
        cluster
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_deleted_in_the_foreground_goes_last() {
    with_cluster(|cluster| async {
        let configs = cluster.api::<ConfigMap>();
        let make = |name: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}});
        let owner = cluster.create(&configs, make("owner")).await;
        let reference = OwnerReference {
            api_version: "v1".into(),
            kind: "ConfigMap".into(),
            name: "owner".into(),
            uid: owner.uid().unwrap(),
            block_owner_deletion: Some(true),
            ..OwnerReference::default()
        };
        let mut held = make("held");
        held["metadata"]["ownerReferences"] = json!([reference]);
        held["metadata"]["finalizers"] = json!(["example.com/hold"]);
        cluster.create(&configs, held).await;
        configs.delete("owner", &DeleteParams::foreground()).await.unwrap();
        until(&configs, "held", "deleted", |c: &ConfigMap| c.metadata.deletion_timestamp.is_some()).await;
        assert!(configs.get_opt("owner").await.unwrap().is_some(), "the owner waits");
        patch(&configs, "held", json!({"metadata": {"finalizers": null}})).await;
        gone(&configs, "owner").await;
        assert!(configs.get_opt("held").await.unwrap().is_none());
        // An owner that never was.
        let mut lost = make("lost");
        lost["metadata"]["ownerReferences"] =
            json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "ghost", "uid": "no-such-uid"}]);
        cluster.create(&configs, lost).await;
        gone(&configs, "lost").await;
        cluster
    })
    .await;
}

fn job(spec: &Value, exit: &str) -> Value {
    let mut job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "work"}, "spec": {
        "template": {"metadata": {"annotations": {kubelet::EXIT: exit}},
                     "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}});
    job["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    job
}

fn ended(job: &Job, how: &str) -> Option<bool> {
    Some(job.status.as_ref()?.conditions.as_ref()?.iter().any(|c| c.type_ == how && c.status == "True"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_complete_fail_and_expire() {
    with_cluster(|cluster| async {
        let (jobs, pods) = (cluster.api::<Job>(), cluster.api::<Pod>());
        cluster
            .create(&jobs, job(&json!({"completions": 4, "parallelism": 2, "completionMode": "Indexed"}), "0"))
            .await;
        let complete = until(&jobs, "work", "complete", |job| ended(job, "Complete")).await.status.unwrap();
        assert_eq!((complete.succeeded, complete.completed_indexes.as_deref()), (Some(4), Some("0-3")));
        cluster.event("work", "Completed").await;
        let mut hosts: Vec<String> =
            count(&pods, 4).await.into_iter().filter_map(|pod| pod.spec.unwrap().hostname).collect();
        hosts.sort();
        assert_eq!(hosts, ["work-0", "work-1", "work-2", "work-3"]);
        jobs.delete("work", &DeleteParams::background()).await.unwrap();
        count(&pods, 0).await;

        cluster.create(&jobs, job(&json!({"backoffLimit": 0, "ttlSecondsAfterFinished": 2}), "3")).await;
        let failed = until(&jobs, "work", "failed", |job| ended(job, "Failed")).await.status.unwrap();
        assert_eq!(failed.failed, Some(1));
        gone(&jobs, "work").await;
        cluster
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_has_endpoints_and_slices_of_its_pods() {
    with_cluster(|cluster| async {
        let service = |name: &str, selector: Value| {
            json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {
                "selector": selector, "clusterIP": "None", "ports": [{"name": "http", "port": 80, "targetPort": "http"}]}})
        };
        cluster.create(&cluster.api::<Service>(), service("web", json!({"app": "web"}))).await;
        let (endpoints, slices) = (cluster.api::<Endpoints>(), cluster.api::<EndpointSlice>());
        until(&endpoints, "web", "nobody", |e: &Endpoints| e.subsets.iter().flatten().count() == 0).await;
        cluster.create(&cluster.api::<Deployment>(), deployment(3, "v1")).await;
        let full = until(&endpoints, "web", "three", |e: &Endpoints| {
            Some(e.subsets.as_ref()?.first()?.addresses.as_ref()?.len() == 3)
        })
        .await;
        assert_eq!(full.subsets.unwrap()[0].ports.as_ref().unwrap()[0].port, 8080);
        eventually("three in a slice", || async {
            let of_web = ListParams::default().labels("kubernetes.io/service-name=web");
            let list = slices.list(&of_web).await.unwrap().items;
            let ready = |e: &k8s_openapi::api::discovery::v1::Endpoint| e.conditions.as_ref().is_some_and(|c| c.ready == Some(true));
            (list.len() == 1 && list[0].endpoints.iter().flatten().filter(|e| ready(e)).count() == 3).then_some(())
        })
        .await;

        let mut alone = service("alone", json!({}));
        alone["spec"].as_object_mut().unwrap().remove("selector");
        cluster.create(&cluster.api::<Service>(), alone).await;
        let custom = json!({"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "alone"}, "subsets": [
            {"addresses": [{"ip": "10.9.9.9"}], "ports": [{"name": "http", "port": 80}]}]});
        cluster.create(&endpoints, custom).await;
        let of_alone = ListParams::default().labels("kubernetes.io/service-name=alone");
        eventually("mirrored", || async {
            let list = slices.list(&of_alone).await.unwrap().items;
            let first = list.first()?.endpoints.as_ref()?.first()?.addresses.first().cloned();
            (first.as_deref() == Some("10.9.9.9")).then_some(())
        })
        .await;
        endpoints.delete("alone", &DeleteParams::default()).await.unwrap();
        eventually("no mirror", || async {
            slices.list(&of_alone).await.unwrap().items.is_empty().then_some(())
        })
        .await;
        cluster
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn budgets_and_quotas_say_what_is_true() {
    with_cluster(|cluster| async {
        let budgets = cluster.api::<PodDisruptionBudget>();
        let budget = json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "b"},
            "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"app": "web"}}}});
        let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q"}, "spec": {
            "hard": {"pods": "50", "count/replicasets.apps": "9", "configmaps": "9", "requests.cpu": "9"}}});
        let served = cluster.client.list_api_groups().await.unwrap().groups.iter().any(|group| group.name == "policy");
        if served {
            cluster.create(&budgets, budget).await;
        }
        let mut web = deployment(3, "v1");
        web["spec"]["template"]["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "100m"}});
        cluster.create(&cluster.api::<Deployment>(), web).await;
        if served {
            let told = until(&budgets, "b", "one may go", |b: &PodDisruptionBudget| {
                b.status.as_ref().map(|s| s.disruptions_allowed == Some(1))
            })
            .await;
            let status = told.status.unwrap();
            assert_eq!(
                (status.expected_pods, status.current_healthy, status.desired_healthy),
                (Some(3), Some(3), Some(2))
            );
        }
        let quotas = cluster.api::<ResourceQuota>();
        cluster.create(&quotas, quota).await;
        let used = |pods: &'static str, cpu: &'static str| {
            move |quota: &ResourceQuota| {
                let used = quota.status.as_ref()?.used.as_ref()?;
                Some(
                    used.get("pods")?.0 == pods
                        && used.get("requests.cpu")?.0 == cpu
                        && used.get("count/replicasets.apps")?.0 == "1",
                )
            }
        };
        until(&quotas, "q", "three used", used("3", "300m")).await;
        patch(&cluster.api::<Deployment>(), "web", json!({"spec": {"replicas": 1}})).await;
        until(&quotas, "q", "one used", used("1", "100m")).await;
        cluster
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn daemons_and_numbered_pods_follow_their_templates() {
    with_cluster(|cluster| async {
        let (daemons, stateful, pods) = (cluster.api::<DaemonSet>(), cluster.api::<StatefulSet>(), cluster.api::<Pod>());
        let daemon = json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "d"}, "spec": {
            "selector": {"matchLabels": {"app": "web"}}, "template": template("v1", &json!({}))}});
        cluster.create(&daemons, daemon).await;
        until(&daemons, "d", "one ready", |d: &DaemonSet| d.status.as_ref().map(|s| s.number_ready == 1)).await;
        patch(&daemons, "d", json!({"spec": {"template": template("v2", &json!({}))}})).await;
        until(&daemons, "d", "updated", |d: &DaemonSet| {
            d.status.as_ref().map(|s| s.updated_number_scheduled == Some(1) && s.observed_generation == Some(2) && s.number_ready == 1)
        })
        .await;
        daemons.delete("d", &DeleteParams::background()).await.unwrap();
        count(&pods, 0).await;

        let set = json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db"}, "spec": {
            "replicas": 2, "serviceName": "db", "selector": {"matchLabels": {"app": "web"}}, "template": template("v1", &json!({}))}});
        cluster.create(&stateful, set).await;
        until(&stateful, "db", "two", |s: &StatefulSet| s.status.as_ref().map(|s| s.ready_replicas == Some(2))).await;
        let mut names: Vec<String> = count(&pods, 2).await.iter().map(ResourceExt::name_any).collect();
        names.sort();
        assert_eq!(names, ["db-0", "db-1"]);
        patch(&stateful, "db", json!({"spec": {"template": template("v2", &json!({}))}})).await;
        until(&stateful, "db", "updated", |s: &StatefulSet| {
            let status = s.status.as_ref()?;
            Some(status.updated_replicas == Some(2) && status.current_revision == status.update_revision && status.ready_replicas == Some(2))
        })
        .await;
        cluster
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cron_job_that_is_due_makes_its_job() {
    with_cluster(|cluster| async {
        let cron = json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "tick"}, "spec": {
            "schedule": "@every 1s", "jobTemplate": {"spec": {"template": {
                "metadata": {"annotations": {kubelet::EXIT: "0"}},
                "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}}}});
        let crons = cluster.api::<CronJob>();
        cluster.create(&crons, cron).await;
        until(&crons, "tick", "scheduled", |c: &CronJob| c.status.as_ref().map(|s| s.last_successful_time.is_some()))
            .await;
        cluster.event("tick", "SuccessfulCreate").await;
        cluster
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_root_authority_is_restored_and_pods_leave_a_tainted_node() {
    with_cluster(|cluster| async {
        let configs = cluster.api::<ConfigMap>();
        let is = |c: &ConfigMap| c.data.as_ref().map(|d| d.get("ca.crt").map(String::as_str) == Some("root") && d.len() == 1);
        until(&configs, "kube-root-ca.crt", "there", is).await;
        patch(&configs, "kube-root-ca.crt", json!({"data": {"ca.crt": "changed", "more": "x"}})).await;
        until(&configs, "kube-root-ca.crt", "restored", is).await;
        configs.delete("kube-root-ca.crt", &DeleteParams::default()).await.unwrap();
        until(&configs, "kube-root-ca.crt", "made again", is).await;

        let pods = cluster.api::<Pod>();
        let make = |name: &str, tolerations: Value| {
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {
                "tolerations": tolerations, "containers": [{"name": "c", "image": "i"}]}})
        };
        let bears = |seconds: Option<i64>| json!([{"key": "k", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds}]);
        for (name, tolerations) in [("bears", bears(None)), ("bears-long", bears(Some(1000))), ("bears-not", json!([])), ("bears-short", bears(Some(1)))] {
            cluster.create(&pods, make(name, tolerations)).await;
            cluster.bound(name).await;
        }
        let nodes: Api<k8s_openapi::api::core::v1::Node> = Api::all(cluster.client.clone());
        patch(&nodes, "host-2", json!({"spec": {"taints": [{"key": "k", "value": "v", "effect": "NoExecute"}]}})).await;
        gone(&pods, "bears-not").await;
        gone(&pods, "bears-short").await;
        patch(&nodes, "host-2", json!({"spec": {"taints": null}})).await;
        cluster.event("bears-long", "TaintManagerEviction").await;
        assert_eq!(pods.list(&ListParams::default()).await.unwrap().items.len(), 2);
        cluster
    })
    .await;
}
