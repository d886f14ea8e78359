//! Lists in chunks, and tables.

use crate::{
    ensure,
    harness::{Context, Form, Objects, Outcome, compare_versions, resource, version},
    registry::{Test, test},
    run, same,
};
use futures::{StreamExt, TryStreamExt, stream};
use http::Method;
use serde_json::{Value, json};
use std::{cmp::Ordering, collections::BTreeSet, time::Duration};

pub(super) const TESTS: &[Test] = &[
    test(
        "[sig-api-machinery] Servers with support for API chunking should return chunks of results for list calls [Conformance]",
        run!(chunks),
    ),
    // A server may keep its history for minutes before it forgets.
    test(
        "[sig-api-machinery] Servers with support for API chunking should support continue listing from the last key if the original version has been compacted away, though the list is inconsistent [Slow] [Conformance]",
        run!(compacted),
    )
    .within(1500),
    test(
        "[sig-api-machinery] Servers with support for Table transformation should return a 406 for a backend which does not implement metadata [Conformance]",
        run!(no_table),
    ),
];

/// How many objects there are to be listed.
const COUNT: usize = 400;

async fn many(context: &Context) -> Outcome<Objects> {
    let templates = context.objects(resource::pod_templates(), &context.namespace().await?);
    let one = async |index: usize| {
        let name = format!("template-{index:04}");
        let container = json!({"name": "test", "image": "registry.local/test:2"});
        let labels = json!({"pod-template": "test"});
        let template = json!({"metadata": {"labels": labels}, "spec": {"containers": [container]}});
        templates.create(&json!({"metadata": {"name": name}, "template": template})).await.map(drop)
    };
    let created = stream::iter((0..COUNT).map(one)).buffer_unordered(8);
    created.try_collect::<Vec<()>>().await?;
    Ok(templates)
}

/// The names in a chunk, all of which have to be new and in order.
fn add(seen: &mut BTreeSet<String>, chunk: &Value) -> Outcome<usize> {
    let items = chunk["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    for item in items {
        let name = item["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let later = seen.last().is_none_or(|last| *last < name);
        ensure!(later && seen.insert(name.clone()), "{name} came out of order or twice");
    }
    Ok(items.len())
}

fn token(chunk: &Value) -> String {
    chunk["metadata"]["continue"].as_str().unwrap_or_default().to_owned()
}

/// `remainingItemCount` is there, and right, exactly as long as there is more.
fn expect_remaining(chunk: &Value, seen: usize) -> Outcome {
    let remaining = chunk["metadata"]["remainingItemCount"].as_u64();
    if token(chunk).is_empty() {
        same!(remaining, None, "remainingItemCount of the last chunk");
    } else {
        same!(remaining, Some((COUNT - seen) as u64), "remainingItemCount after {seen} objects");
    }
    Ok(())
}

async fn chunks(context: &Context) -> Outcome {
    let templates = many(context).await?;
    for limit in [40_usize, 133] {
        let text = limit.to_string();
        let mut seen = BTreeSet::new();
        let mut chunk = templates.list(&[("limit", &text)]).await?;
        let first = version(&chunk)?;
        loop {
            let count = add(&mut seen, &chunk)?;
            ensure!(count <= limit, "a chunk has {count} objects, more than {limit}");
            same!(version(&chunk)?, first, "the version of a chunk");
            expect_remaining(&chunk, seen.len())?;
            let next = token(&chunk);
            if next.is_empty() {
                break;
            }
            chunk = templates.list(&[("limit", &text), ("continue", &next)]).await?;
        }
        same!(seen.len(), COUNT, "objects in all chunks");
    }
    let whole = templates.list(&[]).await?;
    same!(whole["items"].as_array().map(Vec::len), Some(COUNT), "objects of a list without a limit");
    same!(token(&whole), "", "the token of a list without a limit");
    same!(whole["metadata"]["remainingItemCount"], Value::Null, "remainingItemCount of a list without a limit");
    Ok(())
}

/// How often to look whether a token has expired, how long at most, and how many writes there are between two of the first
/// looks: a history that is bounded by its length forgets because of writes, one that is bounded by its age in its own time.
const LOOK: Duration = Duration::from_secs(5);
const FORGET: Duration = Duration::from_secs(1200);
const WRITES: u32 = 2000;
const BUSY_LOOKS: u32 = 8;

async fn compacted(context: &Context) -> Outcome {
    let templates = many(context).await?;
    let limit = (COUNT / 3).to_string();
    let chunk = templates.list(&[("limit", &limit)]).await?;
    let first = version(&chunk)?;
    let mut seen = BTreeSet::new();
    same!(add(&mut seen, &chunk)?, COUNT / 3, "objects in the first chunk");
    expect_remaining(&chunk, seen.len())?;
    let fresh = expired(&templates, &limit, &token(&chunk)).await?;
    let mut chunk = templates.list(&[("limit", &limit), ("continue", &fresh)]).await?;
    let second = version(&chunk)?;
    let order = compare_versions(&second, &first)?;
    ensure!(order == Ordering::Greater, "the list goes on at version {second}, not after {first}");
    loop {
        let count = add(&mut seen, &chunk)?;
        ensure!(count <= COUNT / 3, "a chunk has {count} objects");
        same!(version(&chunk)?, second, "the version of a chunk that goes on");
        expect_remaining(&chunk, seen.len())?;
        let next = token(&chunk);
        if next.is_empty() {
            break;
        }
        chunk = templates.list(&[("limit", &limit), ("continue", &next)]).await?;
    }
    same!(seen.len(), COUNT, "objects in all chunks");
    Ok(())
}

/// Asks with the token until it has expired; returns the token of the refusal.
async fn expired(templates: &Objects, limit: &str, token: &str) -> Outcome<String> {
    let end = tokio::time::Instant::now() + FORGET;
    let path = templates.collection(&[("limit", limit), ("continue", token)]);
    for look in 0.. {
        let answer = templates.api().get(&path).await?;
        if answer.status == 410 {
            let status = answer.refused(410, "Expired")?;
            let fresh = status["metadata"]["continue"].as_str().unwrap_or_default().to_owned();
            ensure!(!fresh.is_empty(), "the refusal has no token to go on with: {status}");
            return Ok(fresh);
        }
        answer.expect(200)?;
        if tokio::time::Instant::now() >= end {
            break;
        }
        let busy = look < BUSY_LOOKS;
        write(templates, look, if busy { WRITES } else { 1 }).await?;
        if !busy {
            tokio::time::sleep(LOOK).await;
        }
    }
    Err(crate::harness::Failure::wrong(format!("the token did not expire within {} s", FORGET.as_secs())))
}

/// Changes one of the objects so many times.
async fn write(templates: &Objects, look: u32, count: u32) -> Outcome {
    let one = async |index: u32| {
        let patch = json!({"metadata": {"annotations": {"written": format!("{look}-{index}")}}});
        let name = format!("template-{:04}", index as usize % COUNT);
        templates.patch(&name, Form::MergePatch, &patch, &[]).await?.expect(200).map(drop)
    };
    stream::iter((0..count).map(one)).buffer_unordered(8).try_collect::<Vec<()>>().await.map(drop)
}

/// What no object is stored for has no table: only that form is asked for, and it is not to be had.
async fn no_table(context: &Context) -> Outcome {
    let accept = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {"namespace": "default", "verb": "get", "resource": "pods"}},
    });
    let api = context.api.with_header("Accept", accept);
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let answer = api.send(Method::POST, path, Form::Json, serde_json::to_vec(&review)?).await?;
    answer.refused(406, "NotAcceptable").map(drop)
}
