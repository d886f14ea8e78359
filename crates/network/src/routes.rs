//! Reading and writing routes and addresses over netlink.

use crate::{
    InterfaceName, NetworkError,
    error::{errno, netlink},
    range::{Conflict, Use},
};
use futures::TryStreamExt;
use ipnet::Ipv4Net;
use rtnetlink::{
    Handle, RouteMessageBuilder,
    packet_route::{
        AddressFamily,
        address::{AddressAttribute, AddressMessage},
        route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteType},
    },
};
use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr},
};

/// Metric of the routes that end a range while its bridge is away; routes by way of a device have better ones.
pub(crate) const UNREACHABLE_METRIC: u32 = 4096;

fn unreachable_route(range: Ipv4Net) -> RouteMessage {
    RouteMessageBuilder::<Ipv4Addr>::new()
        .destination_prefix(range.network(), range.prefix_len())
        .kind(RouteType::Unreachable)
        .priority(UNREACHABLE_METRIC)
        .build()
}

/// Adds the unreachable route for `range` unless it is there.
pub(crate) async fn ensure_unreachable(handle: &Handle, range: Ipv4Net) -> Result<(), NetworkError> {
    match handle.route().add(unreachable_route(range)).execute().await {
        Ok(()) => Ok(()),
        Err(error) if errno(&error) == Some(libc::EEXIST) => Ok(()),
        Err(error) => Err(netlink(format!("add the unreachable route for {range}"))(error)),
    }
}

/// Removes the unreachable route for `range` if it is there.
pub(crate) async fn remove_unreachable(handle: &Handle, range: Ipv4Net) -> Result<(), NetworkError> {
    match handle.route().del(unreachable_route(range)).execute().await {
        Ok(()) => Ok(()),
        Err(error) if matches!(errno(&error), Some(libc::ESRCH | libc::ENOENT)) => Ok(()),
        Err(error) => Err(netlink(format!("remove the unreachable route for {range}"))(error)),
    }
}

/// The IPv4 address in a message. For a point-to-point link `Address` is the other end's and `Local` ours.
fn address(message: &AddressMessage) -> Option<Ipv4Net> {
    let of = |wanted: fn(&AddressAttribute) -> Option<Ipv4Addr>| message.attributes.iter().find_map(wanted);
    let local = of(|attribute| match attribute {
        AddressAttribute::Local(IpAddr::V4(address)) => Some(*address),
        _ => None,
    });
    let only = of(|attribute| match attribute {
        AddressAttribute::Address(IpAddr::V4(address)) => Some(*address),
        _ => None,
    });
    Ipv4Net::new(local.or(only)?, message.header.prefix_len).ok()
}

/// Takes from device `index` every IPv4 address but `kept`, and the unreachable routes that guarded them.
pub(crate) async fn remove_other_addresses(handle: &Handle, index: u32, kept: Ipv4Net) -> Result<(), NetworkError> {
    let mut messages = handle.address().get().set_link_index_filter(index).execute();
    let mut others = Vec::new();
    while let Some(message) = messages.try_next().await.map_err(netlink("list addresses"))? {
        if let Some(other) = address(&message).filter(|other| *other != kept) {
            others.push((other, message));
        }
    }
    for (other, message) in others {
        match handle.address().del(message).execute().await {
            Ok(()) => {}
            Err(error) if errno(&error) == Some(libc::EADDRNOTAVAIL) => {}
            Err(error) => return Err(netlink(format!("remove the address {other}"))(error)),
        }
        if other.trunc() != kept.trunc() {
            remove_unreachable(handle, other.trunc()).await?;
        }
    }
    Ok(())
}

/// Every IPv4 address of the host, with its device.
pub(crate) async fn addresses(handle: &Handle, names: &HashMap<u32, String>) -> Result<Vec<Conflict>, NetworkError> {
    let mut messages = handle.address().get().execute();
    let mut found = Vec::new();
    while let Some(message) = messages.try_next().await.map_err(netlink("list addresses"))? {
        if let Some(address) = address(&message) {
            found.push(Conflict { usage: Use::Address(address), device: names.get(&message.header.index).cloned() });
        }
    }
    Ok(found)
}

/// Every IPv4 route of the main table but our own: those on `own` and the unreachable one for `range`.
pub(crate) async fn foreign_routes(
    handle: &Handle,
    names: &HashMap<u32, String>,
    range: Ipv4Net,
    own: &InterfaceName,
) -> Result<Vec<Conflict>, NetworkError> {
    let mut messages = handle.route().get(RouteMessageBuilder::<Ipv4Addr>::new().build()).execute();
    let mut found = Vec::new();
    while let Some(message) = messages.try_next().await.map_err(netlink("list routes"))? {
        let in_main_table = message.header.table == RouteHeader::RT_TABLE_MAIN;
        if message.header.address_family != AddressFamily::Inet || !in_main_table {
            continue;
        }
        let Some(route) = destination(&message) else { continue };
        let device = message.attributes.iter().find_map(|attribute| match attribute {
            RouteAttribute::Oif(index) => names.get(index).cloned(),
            _ => None,
        });
        let guard = message.header.kind == RouteType::Unreachable
            && route == range.trunc()
            && message.attributes.contains(&RouteAttribute::Priority(UNREACHABLE_METRIC));
        if !guard && device.as_deref() != Some(own.as_str()) {
            found.push(Conflict { usage: Use::Route(route), device });
        }
    }
    Ok(found)
}

/// Where a route leads; the default route has no destination attribute.
fn destination(message: &RouteMessage) -> Option<Ipv4Net> {
    let address = message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Destination(RouteAddress::Inet(address)) => Some(*address),
        _ => None,
    });
    Ipv4Net::new(address.unwrap_or(Ipv4Addr::UNSPECIFIED), message.header.destination_prefix_length).ok()
}
