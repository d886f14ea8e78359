//! Watches of config maps.

use crate::{
    ensure,
    harness::{Context, Objects, Outcome, Watch, resource, version},
    registry::{Test, test},
    run, same,
};
use serde_json::{Value, json};

pub(super) const TESTS: &[Test] = &[
    test(
        "[sig-api-machinery] Watchers should observe add, update, and delete watch notifications on configmaps [Conformance]",
        run!(observe),
    ),
    test(
        "[sig-api-machinery] Watchers should be able to start watching from a specific resource version [Conformance]",
        run!(start_at_version),
    ),
    test(
        "[sig-api-machinery] Watchers should be able to restart watching from the last resource version observed by the previous watch [Conformance]",
        run!(restart),
    ),
    test(
        "[sig-api-machinery] Watchers should observe an object deletion if it stops meeting the requirements of the selector [Conformance]",
        run!(selector),
    ),
    test(
        "[sig-api-machinery] Watchers should receive events on concurrent watches in same order [Conformance]",
        run!(same_order),
    ),
];

const LABEL: &str = "watch-this";

fn labelled(name: &str, value: &str) -> Value {
    json!({"metadata": {"name": name, "labels": {LABEL: value}}})
}

fn mutation(count: u32) -> Value {
    json!({"data": {"mutation": count.to_string()}})
}

async fn watch(maps: &Objects, selector: &str) -> Outcome<Watch> {
    maps.watch(&[("labelSelector", selector)]).await
}

/// Expects an event at each of the watches that see the object, with the mutation that it has to show.
async fn expect(watches: &mut [&mut Watch], kind: &str, name: &str, mutation: Option<&str>) -> Outcome {
    for watch in watches {
        let event = watch.expect(kind, name).await?;
        same!(event.object["data"]["mutation"].as_str(), mutation, "data of {kind} {name}");
    }
    Ok(())
}

async fn observe(context: &Context) -> Outcome {
    let maps = context.objects(resource::config_maps(), &context.namespace().await?);
    let mut only_a = watch(&maps, "watch-this=a").await?;
    let mut only_b = watch(&maps, "watch-this=b").await?;
    let mut either = watch(&maps, "watch-this in (a,b)").await?;
    maps.create(&labelled("a", "a")).await?;
    expect(&mut [&mut only_a, &mut either], "ADDED", "a", None).await?;
    for count in 1..=2 {
        maps.merge("a", &mutation(count)).await?;
        let text = count.to_string();
        expect(&mut [&mut only_a, &mut either], "MODIFIED", "a", Some(&text)).await?;
    }
    maps.delete("a").await?;
    expect(&mut [&mut only_a, &mut either], "DELETED", "a", Some("2")).await?;
    maps.create(&labelled("b", "b")).await?;
    expect(&mut [&mut only_b, &mut either], "ADDED", "b", None).await?;
    maps.delete("b").await?;
    expect(&mut [&mut only_b, &mut either], "DELETED", "b", None).await?;
    for watch in [&mut only_a, &mut only_b, &mut either] {
        watch.quiet().await?;
    }
    Ok(())
}

async fn start_at_version(context: &Context) -> Outcome {
    let maps = context.objects(resource::config_maps(), &context.namespace().await?);
    maps.create(&labelled("a", "a")).await?;
    let first = maps.merge("a", &mutation(1)).await?;
    let second = maps.merge("a", &mutation(2)).await?;
    let deleted = maps.delete("a").await?;
    ensure!(deleted["kind"] != "Null", "the deletion was answered with nothing");
    let from = version(&first)?;
    let mut watch = maps.watch(&[("labelSelector", "watch-this=a"), ("resourceVersion", &from)]).await?;
    let event = watch.expect("MODIFIED", "a").await?;
    same!(event.version(), version(&second)?, "the version of the first event");
    same!(event.object["data"]["mutation"], "2", "data of the first event");
    let event = watch.expect("DELETED", "a").await?;
    same!(event.object["data"]["mutation"], "2", "data of the deleted object");
    ensure!(event.version() != version(&second)?, "the deletion has no version of its own");
    watch.quiet().await
}

async fn restart(context: &Context) -> Outcome {
    let maps = context.objects(resource::config_maps(), &context.namespace().await?);
    let mut first = watch(&maps, "watch-this=a").await?;
    maps.create(&labelled("a", "a")).await?;
    first.expect("ADDED", "a").await?;
    maps.merge("a", &mutation(1)).await?;
    let last = first.expect("MODIFIED", "a").await?;
    drop(first);
    maps.merge("a", &mutation(2)).await?;
    maps.delete("a").await?;
    let from = last.version();
    let mut second = maps.watch(&[("labelSelector", "watch-this=a"), ("resourceVersion", from)]).await?;
    expect(&mut [&mut second], "MODIFIED", "a", Some("2")).await?;
    expect(&mut [&mut second], "DELETED", "a", Some("2")).await?;
    second.quiet().await
}

async fn selector(context: &Context) -> Outcome {
    let maps = context.objects(resource::config_maps(), &context.namespace().await?);
    let mut watch = watch(&maps, "watch-this=here").await?;
    let relabel = |value: &str| json!({"metadata": {"labels": {LABEL: value}}});
    maps.create(&labelled("a", "here")).await?;
    maps.merge("a", &mutation(1)).await?;
    maps.merge("a", &relabel("elsewhere")).await?;
    expect(&mut [&mut watch], "ADDED", "a", None).await?;
    expect(&mut [&mut watch], "MODIFIED", "a", Some("1")).await?;
    expect(&mut [&mut watch], "DELETED", "a", Some("1")).await?;
    maps.merge("a", &mutation(2)).await?;
    watch.quiet().await?;
    maps.merge("a", &relabel("here")).await?;
    expect(&mut [&mut watch], "ADDED", "a", Some("2")).await?;
    maps.merge("a", &mutation(3)).await?;
    expect(&mut [&mut watch], "MODIFIED", "a", Some("3")).await?;
    maps.delete("a").await?;
    expect(&mut [&mut watch], "DELETED", "a", Some("3")).await
}

/// How many changes are made while watches are being opened, and how many events are compared.
const EVENTS: usize = 100;

/// Creates, changes and deletes a few objects in turn, without end.
async fn churn(maps: Objects) -> Outcome {
    for round in 0_u32.. {
        let name = format!("churn-{}", round % 5);
        let answer = maps.read(&name).await?;
        match (answer.is_success(), round % 3) {
            (false, _) => drop(maps.create(&json!({"metadata": {"name": name}})).await?),
            (true, 0) => drop(maps.delete(&name).await?),
            (true, _) => drop(maps.merge(&name, &mutation(round)).await?),
        }
    }
    Ok(())
}

async fn same_order(context: &Context) -> Outcome {
    let maps = context.objects(resource::config_maps(), &context.namespace().await?);
    let list = maps.list(&[]).await?;
    let start = version(&list)?;
    let mut others: Vec<Watch> = vec![];
    let mut first = maps.watch(&[("resourceVersion", &start)]).await?;
    let compare = async {
        for count in 0..EVENTS {
            let event = first.next().await?;
            for other in &mut others {
                let seen = other.next().await?;
                same!(seen.version(), event.version(), "event {count} of a watch that began earlier");
                same!(seen.kind, event.kind, "the type of event {count} of a watch that began earlier");
            }
            others.push(maps.watch(&[("resourceVersion", event.version())]).await?);
        }
        Ok(())
    };
    tokio::select! {
        done = compare => done,
        failed = churn(maps.clone()) => failed,
    }
}
