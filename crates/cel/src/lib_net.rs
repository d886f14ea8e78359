//! Kubernetes' libraries of addresses, networks and URLs.

use super::ast::Call;
use super::error::EvalError;
use super::function::{Cost, Function, Meter, T, global, member};
use super::lib_core::function;
use super::value::{Key, Opaque, Val};
use ipnet::IpNet;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

mod url;

pub(super) use url::Url;

const IP: T = T::Opaque("net.IP");
const CIDR: T = T::Opaque("net.CIDR");
const URL: T = T::Opaque("kubernetes.URL");

macro_rules! of_ip {
    ($name:expr, $run:expr) => {
        function!($name, Cost::Fixed(1), $run, &[member(&[IP], T::Bool)])
    };
}

macro_rules! of_url {
    ($name:expr, $run:expr) => {
        function!($name, Cost::Fixed(1), $run, &[member(&[URL], T::String)])
    };
}

pub(super) static FUNCTIONS: &[Function] = &[
    function!("ip", Cost::Text(1), ip, &[global(&[T::String], IP), member(&[CIDR], IP)]),
    function!("isIP", Cost::Text(1), is_ip, &[global(&[T::String], T::Bool)]),
    function!("ip.isCanonical", Cost::Text(2), is_canonical, &[global(&[T::String], T::Bool)]),
    function!("family", Cost::Fixed(1), family, &[member(&[IP], T::Int)]),
    of_ip!("isUnspecified", is_unspecified),
    of_ip!("isLoopback", is_loopback),
    of_ip!("isLinkLocalMulticast", is_link_local_multicast),
    of_ip!("isLinkLocalUnicast", is_link_local_unicast),
    of_ip!("isGlobalUnicast", is_global_unicast),
    function!("cidr", Cost::Text(1), cidr, &[global(&[T::String], CIDR)]),
    function!("isCIDR", Cost::Text(1), is_cidr, &[global(&[T::String], T::Bool)]),
    function!(
        "containsIP",
        Cost::Fixed(4),
        contains_ip,
        &[member(&[CIDR, T::String], T::Bool), member(&[CIDR, IP], T::Bool),]
    ),
    function!(
        "containsCIDR",
        Cost::Fixed(7),
        contains_cidr,
        &[member(&[CIDR, T::String], T::Bool), member(&[CIDR, CIDR], T::Bool),]
    ),
    function!("prefixLength", Cost::Fixed(1), prefix_length, &[member(&[CIDR], T::Int)]),
    function!("masked", Cost::Fixed(1), masked, &[member(&[CIDR], CIDR)]),
    function!("url", Cost::Text(1), url_of, &[global(&[T::String], URL)]),
    function!("isURL", Cost::Text(1), is_url, &[global(&[T::String], T::Bool)]),
    of_url!("getScheme", get_scheme),
    of_url!("getHost", get_host),
    of_url!("getHostname", get_hostname),
    of_url!("getPort", get_port),
    of_url!("getEscapedPath", get_escaped_path),
    function!("getQuery", Cost::Fixed(1), get_query, &[member(&[URL], T::Map(&T::String, &T::List(&T::String))),]),
];

type Ran<'a> = Result<Val<'a>, EvalError>;

/// An address without a zone that is not an IPv4 address within IPv6.
fn parse_ip(text: &str) -> Result<IpAddr, String> {
    if text.contains('%') {
        return Err(format!("IP address {text:?} with zone value is not allowed"));
    }
    let ip: IpAddr = text.parse().map_err(|_| {
        format!(
            "IP Address {text:?} parse error during conversion from string: ParseAddr({text:?}): unable to parse IP"
        )
    })?;
    match ip {
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => {
            Err(format!("IPv4-mapped IPv6 address {text:?} is not allowed"))
        }
        ip => Ok(ip),
    }
}

fn parse_cidr(text: &str) -> Result<IpNet, String> {
    let bad = |why: &str| {
        format!("network address parse error during conversion from string: netip.ParsePrefix({text:?}): {why}")
    };
    let (address, bits) = text.rsplit_once('/').ok_or_else(|| bad("no '/'"))?;
    if address.contains('%')
        || bits.is_empty()
        || !bits.bytes().all(|b| b.is_ascii_digit())
        || (bits.len() > 1 && bits.starts_with('0'))
    {
        return Err(bad("bad bits after slash"));
    }
    let address: IpAddr = address.parse().map_err(|_| bad("unable to parse IP"))?;
    if let IpAddr::V6(v6) = address
        && v6.to_ipv4_mapped().is_some()
    {
        return Err(format!("IPv4-mapped IPv6 address {text:?} is not allowed"));
    }
    let bits = bits.parse().map_err(|_| bad("prefix length out of range"))?;
    IpNet::new(address, bits).map_err(|_| bad("prefix length out of range"))
}

fn text<'r>(value: &'r Val<'_>) -> Result<&'r str, EvalError> {
    value.as_text().ok_or_else(EvalError::no_such_overload)
}

fn ip_val<'a>(ip: IpAddr) -> Val<'a> {
    Val::Opaque(Opaque::Ip(ip))
}

fn as_ip(value: &Val<'_>) -> Result<IpAddr, EvalError> {
    match value {
        Val::Opaque(Opaque::Ip(ip)) => Ok(*ip),
        Val::String(text) => parse_ip(text).map_err(EvalError::new),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn as_cidr(value: &Val<'_>) -> Result<IpNet, EvalError> {
    match value {
        Val::Opaque(Opaque::Cidr(cidr)) => Ok(*cidr),
        Val::String(text) => parse_cidr(text).map_err(EvalError::new),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn ip<'a>(_: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    match &args[0] {
        Val::Opaque(Opaque::Cidr(cidr)) => Ok(ip_val(cidr.addr())),
        other => Ok(ip_val(parse_ip(text(other)?).map_err(EvalError::new)?)),
    }
}

fn is_ip<'a>(_: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    Ok(Val::Bool(parse_ip(text(&args[0])?).is_ok()))
}

fn is_canonical<'a>(_: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    let text = text(&args[0])?;
    Ok(Val::Bool(parse_ip(text).map_err(EvalError::new)?.to_string() == text))
}

fn family<'a>(_: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    Ok(Val::Int(if as_ip(&args[0])?.is_ipv4() { 4 } else { 6 }))
}

fn is_unspecified<'a>(_: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    Ok(Val::Bool(as_ip(&args[0])?.is_unspecified()))
}

fn is_loopback<'a>(_: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    Ok(Val::Bool(as_ip(&args[0])?.is_loopback()))
}

fn is_link_local_multicast<'a>(_: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    Ok(Val::Bool(match as_ip(&args[0])? {
        IpAddr::V4(v4) => v4.octets()[..3] == [224, 0, 0],
        IpAddr::V6(v6) => v6.segments()[0] & 0xff0f == 0xff02,
    }))
}

fn link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.segments()[0] & 0xffc0 == 0xfe80,
    }
}

fn is_link_local_unicast<'a>(_: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    Ok(Val::Bool(link_local(as_ip(&args[0])?)))
}

fn is_global_unicast<'a>(_: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    let ip = as_ip(&args[0])?;
    let none = ip.is_unspecified() || ip.is_loopback() || ip.is_multicast() || link_local(ip);
    Ok(Val::Bool(!none && ip != IpAddr::V4(Ipv4Addr::BROADCAST)))
}

fn cidr<'a>(_: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    Ok(Val::Opaque(Opaque::Cidr(parse_cidr(text(&args[0])?).map_err(EvalError::new)?)))
}

fn is_cidr<'a>(_: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    Ok(Val::Bool(parse_cidr(text(&args[0])?).is_ok()))
}

fn contains_ip<'a>(_: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    let (net, ip) = (as_cidr(&args[0])?, as_ip(&args[1])?);
    Ok(Val::Bool(net.contains(&ip)))
}

fn contains_cidr<'a>(_: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    let (net, other) = (as_cidr(&args[0])?, as_cidr(&args[1])?);
    Ok(Val::Bool(net.prefix_len() <= other.prefix_len() && net.contains(&other.addr())))
}

fn prefix_length<'a>(_: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    Ok(Val::Int(as_cidr(&args[0])?.prefix_len().into()))
}

fn masked<'a>(_: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    Ok(Val::Opaque(Opaque::Cidr(as_cidr(&args[0])?.trunc())))
}

fn as_url<'r>(value: &'r Val<'_>) -> Result<&'r Url, EvalError> {
    match value {
        Val::Opaque(Opaque::Url(url)) => Ok(url),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn url_of<'a>(_: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    let url = Url::parse(text(&args[0])?);
    let url = url.map_err(|why| EvalError::new(format!("URL parse error during conversion from string: {why}")))?;
    Ok(Val::Opaque(Opaque::Url(Arc::new(url))))
}

fn is_url<'a>(_: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    Ok(Val::Bool(Url::parse(text(&args[0])?).is_ok()))
}

fn get_scheme<'a>(_: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    Ok(Val::text(as_url(&args[0])?.scheme()))
}

fn get_host<'a>(_: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    Ok(Val::text(as_url(&args[0])?.host()))
}

fn get_hostname<'a>(_: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    Ok(Val::text(as_url(&args[0])?.hostname()))
}

fn get_port<'a>(_: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    Ok(Val::text(as_url(&args[0])?.port()))
}

fn get_escaped_path<'a>(_: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    Ok(Val::text(as_url(&args[0])?.escaped_path()))
}

fn get_query<'a>(meter: &mut Meter, _: &Call, args: &[Val<'a>]) -> Ran<'a> {
    let mut entries: BTreeMap<Key, Val<'a>> = BTreeMap::new();
    for (key, values) in as_url(&args[0])?.query() {
        meter.charge(1)?;
        entries.insert(Key::String(key.into()), Val::list(values.into_iter().map(Val::text).collect()));
    }
    Ok(Val::map(entries))
}
