//! The one handle to the host's network.

use crate::{
    Conflict, InterfaceName, Mac, NetworkError,
    error::{errno, netlink},
    guard, range, routes, sysctl, tap,
};
use futures::TryStreamExt;
use ipnet::Ipv4Net;
use rtnetlink::{
    Handle, LinkBridge, LinkUnspec,
    packet_route::link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage},
};
use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr},
};
use tokio::task::AbortHandle;

/// The hardware address of every bridge: the machines' gateway looks the same on each host, and does not change when
/// the first port is plugged or pulled. Locally administered.
const GATEWAY_MAC: [u8; 6] = [0x02, 0x6f, 0x72, 0x00, 0x00, 0x01];

/// A tap as it shall be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TapSpec {
    /// The device's name.
    pub name: InterfaceName,
    /// User id that may open the tap.
    pub owner: u32,
    /// The bridge that it is plugged into.
    pub bridge: InterfaceName,
    /// The machine's hardware address; what comes from another is dropped.
    pub mac: Mac,
    /// The machine's address; what comes from another is dropped.
    pub address: Ipv4Addr,
}

/// The network devices of the namespace in which this value was made.
#[derive(Debug)]
pub struct Network {
    handle: Handle,
    connection: AbortHandle,
}

impl Drop for Network {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// What is known of a device.
struct Link {
    index: u32,
    kind: String,
    controller: Option<u32>,
    up: bool,
}

impl Link {
    fn of(message: &LinkMessage) -> Self {
        let mut link = Self {
            index: message.header.index,
            kind: "device without a kind".to_owned(),
            controller: None,
            up: message.header.flags.contains(LinkFlags::Up),
        };
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::Controller(index) => link.controller = Some(*index),
                LinkAttribute::LinkInfo(infos) => {
                    let kind = infos.iter().find_map(|info| match info {
                        LinkInfo::Kind(kind) => Some(kind.to_string()),
                        _ => None,
                    });
                    link.kind = kind.unwrap_or(link.kind);
                }
                _ => {}
            }
        }
        link
    }

    fn must_be(&self, name: &InterfaceName, kind: &InfoKind, wanted: &'static str) -> Result<(), NetworkError> {
        if self.kind == kind.to_string() {
            Ok(())
        } else {
            Err(NetworkError::OtherKind { name: name.clone(), found: self.kind.clone(), wanted })
        }
    }
}

impl Network {
    /// Connects to the kernel. Must be called inside a tokio runtime; the network namespace is that of the calling
    /// thread.
    ///
    /// # Errors
    /// When no netlink socket can be opened.
    pub fn connect() -> Result<Self, NetworkError> {
        let (connection, handle, _messages) = rtnetlink::new_connection().map_err(NetworkError::Connect)?;
        Ok(Self { handle, connection: tokio::spawn(connection).abort_handle() })
    }

    /// Sees to it that `name` is a bridge with exactly the address that machines use as their gateway, and up. An
    /// unreachable route for the address's network is there before the address is; that of an address which the bridge
    /// had before goes with it.
    ///
    /// # Errors
    /// When the name belongs to another kind of device, or the kernel refuses.
    pub async fn ensure_bridge(&self, name: &InterfaceName, gateway: Ipv4Net) -> Result<(), NetworkError> {
        routes::ensure_unreachable(&self.handle, gateway.trunc()).await?;
        let link = match self.link(name).await? {
            Some(link) => link,
            None => self.create_bridge(name).await?,
        };
        link.must_be(name, &InfoKind::Bridge, "bridge")?;
        sysctl::disable_ipv6(name)?;
        routes::remove_other_addresses(&self.handle, link.index, gateway).await?;
        let wanted = (IpAddr::V4(gateway.addr()), gateway.prefix_len());
        match self.handle.address().add(link.index, wanted.0, wanted.1).execute().await {
            Ok(()) => {}
            Err(error) if errno(&error) == Some(libc::EEXIST) => {}
            Err(error) => return Err(netlink(format!("give {gateway} to bridge {name}"))(error)),
        }
        self.set(LinkUnspec::new_with_index(link.index).up().build(), || format!("bring up bridge {name}")).await
    }

    async fn create_bridge(&self, name: &InterfaceName) -> Result<Link, NetworkError> {
        let doing = || format!("create bridge {name}");
        let message = LinkBridge::new(name.as_str()).down().address(GATEWAY_MAC.to_vec()).build();
        match self.handle.link().add(message).execute().await {
            Ok(()) => {}
            Err(error) if errno(&error) == Some(libc::EEXIST) => {}
            Err(error) => return Err(netlink(doing())(error)),
        }
        self.link(name).await?.ok_or_else(|| NetworkError::NoBridge(name.clone()))
    }

    /// Deletes the bridge `name`, then the unreachable route for `range`. Gone already is fine.
    ///
    /// # Errors
    /// When the name belongs to another kind of device, or the kernel refuses.
    pub async fn delete_bridge(&self, name: &InterfaceName, range: Ipv4Net) -> Result<(), NetworkError> {
        self.delete(name, &InfoKind::Bridge, "bridge").await?;
        routes::remove_unreachable(&self.handle, range.trunc()).await
    }

    /// Sees to it that there is a tap as `spec` says, plugged in and up, that lets nothing pass but what comes from its
    /// machine's own addresses. A tap that is in use keeps its owner.
    ///
    /// # Errors
    /// When the name belongs to another kind of device, the bridge is missing, or the kernel refuses.
    pub async fn ensure_tap(&self, spec: &TapSpec) -> Result<(), NetworkError> {
        let TapSpec { name, owner, bridge, mac, address } = spec;
        let controller = self.link(bridge).await?.ok_or_else(|| NetworkError::NoBridge(bridge.clone()))?;
        controller.must_be(bridge, &InfoKind::Bridge, "bridge")?;
        if let Some(link) = self.link(name).await? {
            link.must_be(name, &InfoKind::Tun, "tap")?;
        }
        tap::ensure(name, *owner)?;
        // Before it is up: coming up is what would give it a link-local address.
        sysctl::disable_ipv6(name)?;
        guard::ensure(name, *mac, *address).await?;
        let link = self.link(name).await?.ok_or_else(|| NetworkError::Tun {
            doing: format!("find tap device {name}"),
            source: std::io::Error::from_raw_os_error(libc::ENODEV),
        })?;
        if link.controller == Some(controller.index) && link.up {
            return Ok(());
        }
        let message = LinkUnspec::new_with_index(link.index).controller(controller.index).up().build();
        self.set(message, || format!("plug tap {name} into bridge {bridge}")).await
    }

    /// Deletes the tap `name`. Gone already is fine.
    ///
    /// # Errors
    /// When the name belongs to another kind of device, or the kernel refuses.
    pub async fn delete_tap(&self, name: &InterfaceName) -> Result<(), NetworkError> {
        self.delete(name, &InfoKind::Tun, "tap").await?;
        guard::remove(name).await
    }

    /// The names of all devices that begin with `prefix`, sorted.
    ///
    /// # Errors
    /// When the kernel refuses to list them.
    pub async fn links_with_prefix(&self, prefix: &str) -> Result<Vec<String>, NetworkError> {
        let mut names: Vec<String> =
            self.names().await?.into_values().filter(|name| name.starts_with(prefix)).collect();
        names.sort();
        Ok(names)
    }

    /// What else on this host uses `range` or a part of it: addresses and routes that are not on the bridge `own`.
    /// Sorted; empty when the range is free.
    ///
    /// # Errors
    /// When the kernel refuses to list devices, addresses or routes.
    pub async fn range_conflicts(&self, range: Ipv4Net, own: &InterfaceName) -> Result<Vec<Conflict>, NetworkError> {
        let names = self.names().await?;
        let mut uses = routes::addresses(&self.handle, &names).await?;
        uses.retain(|usage| usage.device.as_deref() != Some(own.as_str()));
        uses.extend(routes::foreign_routes(&self.handle, &names, range, own).await?);
        Ok(range::conflicts(range, uses))
    }

    /// The device `name`, if there is one.
    async fn link(&self, name: &InterfaceName) -> Result<Option<Link>, NetworkError> {
        let mut messages = self.handle.link().get().match_name(name.as_str()).execute();
        match messages.try_next().await {
            Ok(message) => Ok(message.as_ref().map(Link::of)),
            Err(error) if errno(&error) == Some(libc::ENODEV) => Ok(None),
            Err(error) => Err(netlink(format!("look for network device {name}"))(error)),
        }
    }

    /// Every device's name by its index.
    async fn names(&self) -> Result<HashMap<u32, String>, NetworkError> {
        let mut messages = self.handle.link().get().execute();
        let mut names = HashMap::new();
        while let Some(message) = messages.try_next().await.map_err(netlink("list network devices"))? {
            let name = message.attributes.iter().find_map(|attribute| match attribute {
                LinkAttribute::IfName(name) => Some(name.clone()),
                _ => None,
            });
            names.extend(name.map(|name| (message.header.index, name)));
        }
        Ok(names)
    }

    async fn set(&self, message: LinkMessage, doing: impl Fn() -> String) -> Result<(), NetworkError> {
        self.handle.link().set(message).execute().await.map_err(|error| netlink(doing())(error))
    }

    async fn delete(&self, name: &InterfaceName, kind: &InfoKind, wanted: &'static str) -> Result<(), NetworkError> {
        let Some(link) = self.link(name).await? else { return Ok(()) };
        link.must_be(name, kind, wanted)?;
        match self.handle.link().del(link.index).execute().await {
            Ok(()) => Ok(()),
            Err(error) if errno(&error) == Some(libc::ENODEV) => Ok(()),
            Err(error) => Err(netlink(format!("delete {wanted} {name}"))(error)),
        }
    }
}
