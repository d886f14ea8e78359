//! The real kernel, in a network namespace that each test makes for itself.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking")]

use orrery_network::{InterfaceName, Ipv4Net, Network, NetworkError, TapSpec};
use std::process::Command;

/// Runs `test` on a thread of its own in a new network namespace, which goes with the thread. Where that is not
/// allowed, says so and returns.
fn in_new_namespace<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send + 'static) {
    let thread = std::thread::spawn(move || {
        if let Err(error) = nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET) {
            orrery_testing::skipped(format!("a network namespace needs root ({error})"));
            return;
        }
        if !std::path::Path::new("/dev/net/tun").exists() {
            orrery_testing::skipped("the kernel has no tun driver");
            return;
        }
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test());
    });
    thread.join().unwrap();
}

fn name(text: &str) -> InterfaceName {
    InterfaceName::new(text).unwrap()
}

fn net(text: &str) -> Ipv4Net {
    text.parse().unwrap()
}

/// `ip` in the calling thread's namespace: a child process inherits it.
fn ip(arguments: &str) -> String {
    let output = Command::new("ip").args(arguments.split_whitespace()).output().unwrap();
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_bridge_has_its_address_and_a_guarding_route_and_takes_no_part_in_ipv6() {
    in_new_namespace(|| async {
        let network = Network::connect().unwrap();
        for _ in 0..2 {
            network.ensure_bridge(&name("orr0"), net("10.244.0.1/24")).await.unwrap();
        }
        let shown = ip("-o addr show dev orr0");
        assert!(shown.contains("inet 10.244.0.1/24"), "{shown}");
        assert!(!shown.contains("inet6"), "{shown}");
        assert!(ip("link show dev orr0").contains("02:6f:72:00:00:01"));
        let routes = ip("route show");
        assert!(routes.contains("unreachable 10.244.0.0/24") && routes.contains("metric 4096"), "{routes}");
        assert!(routes.contains("10.244.0.0/24 dev orr0"), "{routes}");

        network.ensure_bridge(&name("orr0"), net("10.245.0.1/24")).await.unwrap();
        network.ensure_bridge(&name("orr0"), net("10.244.0.1/24")).await.unwrap();
        let both = format!("{} {}", ip("-o addr show dev orr0"), ip("route show"));
        assert!(!both.contains("10.245."), "the former range is gone: {both}");
        assert!(both.contains("inet 10.244.0.1/24"), "{both}");

        for _ in 0..2 {
            network.delete_bridge(&name("orr0"), net("10.244.0.0/24")).await.unwrap();
        }
        assert_eq!(ip("route show"), "");
        assert!(network.links_with_prefix("orr").await.unwrap().is_empty());
    });
}

#[test]
fn a_tap_belongs_to_its_owner_and_is_plugged_in_and_stays() {
    in_new_namespace(|| async {
        let network = Network::connect().unwrap();
        let tap = TapSpec { name: name("orrt1i0"), owner: 61_234, bridge: name("orr0") };
        assert!(matches!(network.ensure_tap(&tap).await, Err(NetworkError::NoBridge(_))));
        network.ensure_bridge(&name("orr0"), net("10.244.0.1/24")).await.unwrap();
        for _ in 0..2 {
            network.ensure_tap(&tap).await.unwrap();
        }
        let shown = ip("-d link show dev orrt1i0");
        assert!(shown.contains("master orr0") && shown.contains("UP"), "{shown}");
        assert!(shown.contains("user 61234") && shown.contains("persist on"), "{shown}");
        assert!(!ip("-o addr show dev orrt1i0").contains("inet6"));
        assert_eq!(network.links_with_prefix("orrt").await.unwrap(), ["orrt1i0"]);

        for _ in 0..2 {
            network.delete_tap(&tap.name).await.unwrap();
        }
        assert!(network.links_with_prefix("orrt").await.unwrap().is_empty());
    });
}

#[test]
fn a_device_of_another_kind_is_neither_taken_nor_deleted() {
    in_new_namespace(|| async {
        let network = Network::connect().unwrap();
        ip("link add pair0 type veth peer name pair1");
        let error = network.ensure_bridge(&name("pair0"), net("10.244.0.1/24")).await.unwrap_err();
        assert!(error.to_string().contains("exists and is a veth, not a bridge"), "{error}");
        let bridge = name("orr0");
        network.ensure_bridge(&bridge, net("10.245.0.1/24")).await.unwrap();
        let tap = TapSpec { name: name("pair0"), owner: 0, bridge };
        assert!(matches!(network.ensure_tap(&tap).await, Err(NetworkError::OtherKind { .. })));
        assert!(matches!(network.delete_tap(&tap.name).await, Err(NetworkError::OtherKind { .. })));
        assert!(ip("link show").contains("pair0"));
    });
}

#[test]
fn a_range_in_use_is_told_with_route_and_device_and_our_own_use_is_none() {
    in_new_namespace(|| async {
        let network = Network::connect().unwrap();
        let (own, range) = (name("orr0"), net("10.244.0.0/24"));
        ip("link add other type bridge");
        ip("link set other up");
        ip("addr add 10.10.0.1/24 dev other");
        ip("route add default via 10.10.0.2");
        assert!(network.range_conflicts(range, &own).await.unwrap().is_empty());
        network.ensure_bridge(&own, net("10.244.0.1/24")).await.unwrap();
        assert!(network.range_conflicts(range, &own).await.unwrap().is_empty());

        ip("route add 10.244.0.0/16 via 10.10.0.3");
        ip("addr add 10.244.0.77/32 dev other");
        let found: Vec<String> =
            network.range_conflicts(range, &own).await.unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(found, ["address 10.244.0.77/32 on dev other", "route 10.244.0.0/16 on dev other"]);
    });
}
