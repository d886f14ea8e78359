//! What probes and lifecycle hooks do, projected from a container.

use orrery_api::k8s::api::core::v1::{
    Container, ExecAction, GRPCAction, HTTPGetAction, Lifecycle, LifecycleHandler, Probe as ProbeField, TCPSocketAction,
};
use orrery_api::k8s::apimachinery::pkg::util::intstr::IntOrString;
use orrery_api::k8s::jiff::SignedDuration;

/// One thing that is done to a container from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Handler {
    /// Runs a program in it.
    Exec {
        /// Program and arguments.
        command: Vec<String>,
    },
    /// Asks its HTTP server; any status from 200 to 399 is well.
    HttpGet {
        /// Whether by TLS, whose certificate is not looked at.
        tls: bool,
        /// The host to connect to; the pod's address when there is none.
        host: Option<String>,
        /// The port.
        port: Port,
        /// The path, with its query.
        path: String,
        /// Headers by name, in order.
        headers: Vec<(String, String)>,
    },
    /// Connects to a TCP port.
    TcpSocket {
        /// The host to connect to; the pod's address when there is none.
        host: Option<String>,
        /// The port.
        port: Port,
    },
    /// Asks a gRPC server for its health (<https://github.com/grpc/grpc/blob/master/doc/health-checking.md>).
    Grpc {
        /// The port.
        port: Port,
        /// The service that is asked about; empty for the server as a whole.
        service: String,
    },
    /// Waits.
    Sleep {
        /// How long.
        duration: SignedDuration,
    },
}

/// A port, by number or by the name of one of the container's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Port {
    /// This one.
    Number(u16),
    /// One that cannot be found, as it is written.
    Unknown(String),
}

/// A probe of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// What is done.
    pub handler: Handler,
    /// How long after the container's start it is done first.
    pub initial_delay: SignedDuration,
    /// How often it is done.
    pub period: SignedDuration,
    /// How long it may take.
    pub timeout: SignedDuration,
    /// So many successes in a row count as one.
    pub success_threshold: u32,
    /// So many failures in a row count as one.
    pub failure_threshold: u32,
    /// How long a container that failed it may take to end; as long as the pod says when there is none.
    pub grace: Option<SignedDuration>,
}

/// The probes of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Probes {
    /// Until it succeeds the others are not done.
    pub startup: Option<Probe>,
    /// A container that fails it is ended.
    pub liveness: Option<Probe>,
    /// A container that fails it is not ready.
    pub readiness: Option<Probe>,
}

/// What is done to a container when it has started and before it is ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hooks {
    /// Once it has started.
    pub post_start: Option<Handler>,
    /// Before it gets its stop signal.
    pub pre_stop: Option<Handler>,
}

pub(crate) fn probes(container: &Container) -> Probes {
    let one = |probe: &Option<ProbeField>| probe.as_ref().and_then(|probe| self::probe(container, probe));
    Probes {
        startup: one(&container.startup_probe),
        liveness: one(&container.liveness_probe),
        readiness: one(&container.readiness_probe),
    }
}

pub(crate) fn hooks(container: &Container) -> Hooks {
    let Some(Lifecycle { post_start, pre_stop, .. }) = &container.lifecycle else { return Hooks::default() };
    let one = |hook: &Option<LifecycleHandler>| {
        let LifecycleHandler { exec, http_get, sleep, tcp_socket } = hook.as_ref()?;
        let sleep = sleep.as_ref().map(|sleep| Handler::Sleep { duration: SignedDuration::from_secs(sleep.seconds) });
        sleep.or_else(|| handler(container, exec.as_ref(), http_get.as_ref(), tcp_socket.as_ref(), None))
    };
    Hooks { post_start: one(post_start), pre_stop: one(pre_stop) }
}

/// The defaults are those that the API server sets.
fn probe(container: &Container, probe: &ProbeField) -> Option<Probe> {
    let handler = handler(
        container,
        probe.exec.as_ref(),
        probe.http_get.as_ref(),
        probe.tcp_socket.as_ref(),
        probe.grpc.as_ref(),
    )?;
    let seconds = |value: Option<i32>, default: i32| SignedDuration::from_secs(value.unwrap_or(default).max(0).into());
    let count =
        |value: Option<i32>, default| value.and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0).unwrap_or(default);
    Some(Probe {
        handler,
        initial_delay: seconds(probe.initial_delay_seconds, 0),
        period: seconds(probe.period_seconds.filter(|period| *period > 0), 10),
        timeout: seconds(probe.timeout_seconds.filter(|timeout| *timeout > 0), 1),
        success_threshold: count(probe.success_threshold, 1),
        failure_threshold: count(probe.failure_threshold, 3),
        grace: probe.termination_grace_period_seconds.map(SignedDuration::from_secs),
    })
}

fn handler(
    container: &Container,
    exec: Option<&ExecAction>,
    http_get: Option<&HTTPGetAction>,
    tcp_socket: Option<&TCPSocketAction>,
    grpc: Option<&GRPCAction>,
) -> Option<Handler> {
    let host = |host: &Option<String>| host.clone().filter(|host| !host.is_empty());
    if let Some(exec) = exec {
        return Some(Handler::Exec { command: exec.command.clone().unwrap_or_default() });
    }
    if let Some(get) = http_get {
        let headers = get.http_headers.iter().flatten().map(|header| (header.name.clone(), header.value.clone()));
        let path = get.path.clone().unwrap_or_default();
        return Some(Handler::HttpGet {
            tls: get.scheme.as_deref() == Some("HTTPS"),
            host: host(&get.host),
            port: port(container, &get.port),
            path: if path.starts_with('/') { path } else { format!("/{path}") },
            headers: headers.collect(),
        });
    }
    if let Some(tcp) = tcp_socket {
        return Some(Handler::TcpSocket { host: host(&tcp.host), port: port(container, &tcp.port) });
    }
    grpc.map(|grpc| Handler::Grpc {
        port: port(container, &IntOrString::Int(grpc.port)),
        service: grpc.service.clone().unwrap_or_default(),
    })
}

fn port(container: &Container, port: &IntOrString) -> Port {
    let number = |number: i32| u16::try_from(number).ok().filter(|number| *number > 0);
    let (found, text) = match port {
        IntOrString::Int(value) => (number(*value), value.to_string()),
        IntOrString::String(name) => {
            let named = container.ports.iter().flatten().find(|port| port.name.as_ref() == Some(name));
            // A number may be written as a text.
            let value = named.map(|port| port.container_port).or_else(|| name.parse().ok());
            (value.and_then(number), name.clone())
        }
    };
    found.map_or(Port::Unknown(text), Port::Number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn container(over: &Value) -> Container {
        let mut container = json!({ "name": "main", "ports": [{ "name": "web", "containerPort": 8080 }] });
        container.as_object_mut().unwrap().extend(over.as_object().unwrap().clone());
        serde_json::from_value(container).unwrap()
    }

    #[test]
    fn a_probe_has_the_defaults_of_the_api() {
        let probes =
            probes(&container(&json!({ "livenessProbe": { "httpGet": { "port": "web", "path": "healthz" } } })));
        let liveness = probes.liveness.unwrap();
        let handler = Handler::HttpGet {
            tls: false,
            host: None,
            port: Port::Number(8080),
            path: "/healthz".into(),
            headers: vec![],
        };
        assert_eq!(liveness.handler, handler);
        assert_eq!((liveness.period.as_secs(), liveness.timeout.as_secs(), liveness.failure_threshold), (10, 1, 3));
        assert_eq!((probes.startup, probes.readiness), (None, None));
    }

    #[test]
    fn ports_are_numbers_or_names_of_the_container() {
        for (written, expected) in [
            (json!(80), Port::Number(80)),
            (json!("web"), Port::Number(8080)),
            (json!("81"), Port::Number(81)),
            (json!("none"), Port::Unknown("none".into())),
            (json!(70000), Port::Unknown("70000".into())),
        ] {
            let probes = probes(&container(&json!({ "readinessProbe": { "tcpSocket": { "port": written } } })));
            assert_eq!(probes.readiness.unwrap().handler, Handler::TcpSocket { host: None, port: expected });
        }
    }

    #[test]
    fn hooks_run_programs_ask_servers_or_wait() {
        let hooks = hooks(&container(&json!({ "lifecycle": {
            "postStart": { "exec": { "command": ["true"] } }, "preStop": { "sleep": { "seconds": 3 } } } })));
        assert_eq!(hooks.post_start, Some(Handler::Exec { command: vec!["true".into()] }));
        assert_eq!(hooks.pre_stop, Some(Handler::Sleep { duration: SignedDuration::from_secs(3) }));
    }
}
