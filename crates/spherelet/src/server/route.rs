//! What a request asks for. Pure.

use crate::logs::flag;
use http::{Method, Uri};

/// A container of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) namespace: String,
    pub(super) pod: String,
    pub(super) container: String,
}

/// Which streams a client wants, and for exec what is to be run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct StreamOptions {
    pub(super) command: Vec<String>,
    pub(super) stdin: bool,
    pub(super) stdout: bool,
    pub(super) stderr: bool,
    pub(super) tty: bool,
}

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Route {
    Healthz,
    Metrics,
    ResourceMetrics,
    ProbeMetrics,
    Summary,
    Pods,
    Logs { place: Place, query: String },
    Exec { place: Place, options: StreamOptions },
    Attach { place: Place, options: StreamOptions },
    PortForward { namespace: String, pod: String, ports: Vec<u16> },
}

/// Why a request asks for nothing that is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RouteError {
    NotFound,
    Method,
    Malformed(&'static str),
}

/// Reads a request's method and address.
pub(super) fn parse(method: &Method, uri: &Uri) -> Result<Route, RouteError> {
    let segments: Vec<&str> = uri.path().trim_matches('/').split('/').collect();
    let query = uri.query().unwrap_or_default();
    let (route, streams) = match segments.as_slice() {
        ["healthz"] => (Route::Healthz, false),
        ["metrics"] => (Route::Metrics, false),
        ["metrics", "resource"] => (Route::ResourceMetrics, false),
        ["metrics", "probes"] => (Route::ProbeMetrics, false),
        ["stats", "summary"] => (Route::Summary, false),
        ["pods"] => (Route::Pods, false),
        ["containerLogs", namespace, pod, container] => {
            (Route::Logs { place: place(namespace, pod, container), query: query.to_owned() }, false)
        }
        ["exec", namespace, pod, container] | ["exec", namespace, pod, _, container] => {
            let options = stream_options(query)?;
            if options.command.is_empty() {
                return Err(RouteError::Malformed("exec needs at least one command parameter"));
            }
            (Route::Exec { place: place(namespace, pod, container), options }, true)
        }
        ["attach", namespace, pod, container] | ["attach", namespace, pod, _, container] => {
            (Route::Attach { place: place(namespace, pod, container), options: stream_options(query)? }, true)
        }
        ["portForward", namespace, pod] | ["portForward", namespace, pod, _] => {
            let (namespace, pod) = ((*namespace).to_owned(), (*pod).to_owned());
            (Route::PortForward { namespace, pod, ports: ports(query)? }, true)
        }
        _ => return Err(RouteError::NotFound),
    };
    match super::reads(method) || (streams && *method == Method::POST) {
        true => Ok(route),
        false => Err(RouteError::Method),
    }
}

/// Names of pods and containers are such that they need no escaping in a path.
fn place(namespace: &str, pod: &str, container: &str) -> Place {
    Place { namespace: namespace.to_owned(), pod: pod.to_owned(), container: container.to_owned() }
}

/// The kubelet's names of streams are `input`, `output`, `error`; those of the API server are taken as well.
fn stream_options(query: &str) -> Result<StreamOptions, RouteError> {
    let mut options = StreamOptions::default();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match name.as_ref() {
            "command" => options.command.push(value.into_owned()),
            "input" | "stdin" => options.stdin = flag(&value),
            "output" | "stdout" => options.stdout = flag(&value),
            "error" | "stderr" => options.stderr = flag(&value),
            "tty" => options.tty = flag(&value),
            _ => {}
        }
    }
    if options.tty && options.stderr {
        // With a terminal there is only one stream of output.
        options.stderr = false;
    }
    if !(options.stdin || options.stdout || options.stderr) {
        return Err(RouteError::Malformed("you must specify at least 1 of stdin, stdout, stderr"));
    }
    Ok(options)
}

/// The ports that a client names with the request; one that names each with its stream names none.
fn ports(query: &str) -> Result<Vec<u16>, RouteError> {
    let values = form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| matches!(&**name, "port" | "ports"));
    let values: Vec<_> = values.map(|(_, value)| value).collect();
    let ports = values.iter().flat_map(|value| value.split(',')).map(|port| port.trim().parse::<u16>());
    let ports: Result<Vec<u16>, _> = ports.collect();
    ports.ok().filter(|ports| !ports.contains(&0)).ok_or(RouteError::Malformed("a port is a number from 1 to 65535"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(uri: &str) -> Result<Route, RouteError> {
        parse(&Method::GET, &uri.parse().unwrap())
    }

    #[test]
    fn exec_reads_its_command_and_streams_by_both_sets_of_names() {
        let place = Place { namespace: "demo".into(), pod: "hello".into(), container: "main".into() };
        let options = StreamOptions {
            command: vec!["sh".into(), "-c".into(), "a b".into()],
            stdin: true,
            stdout: true,
            stderr: true,
            tty: false,
        };
        let expected = Ok(Route::Exec { place, options });
        let commands = "command=sh&command=-c&command=a+b";
        assert_eq!(get(&format!("/exec/demo/hello/main?{commands}&input=1&output=1&error=1")), expected);
        assert_eq!(get(&format!("/exec/demo/hello/uid/main?{commands}&stdin=true&stdout=true&stderr=true")), expected);
    }

    #[test]
    fn ports_may_be_named_together_or_one_by_one_or_not_at_all() {
        for (query, expected) in [("", vec![]), ("?port=80&port=443", vec![80, 443]), ("?ports=80,443", vec![80, 443])]
        {
            let route = Route::PortForward { namespace: "demo".into(), pod: "hello".into(), ports: expected };
            assert_eq!(get(&format!("/portForward/demo/hello{query}")), Ok(route));
        }
    }

    #[test]
    fn what_is_not_served_is_refused() {
        let table = [
            ("/nothing", RouteError::NotFound),
            ("/exec/demo/hello/main?output=1", RouteError::Malformed("exec needs at least one command parameter")),
            ("/attach/demo/hello/main", RouteError::Malformed("you must specify at least 1 of stdin, stdout, stderr")),
        ];
        for (uri, expected) in table {
            assert_eq!(get(uri), Err(expected), "{uri}");
        }
        assert!(matches!(get("/portForward/demo/hello?ports=80,0"), Err(RouteError::Malformed(_))));
        assert_eq!(parse(&Method::DELETE, &"/pods".parse().unwrap()), Err(RouteError::Method));
        assert_eq!(parse(&Method::POST, &"/containerLogs/a/b/c".parse().unwrap()), Err(RouteError::Method));
    }
}
