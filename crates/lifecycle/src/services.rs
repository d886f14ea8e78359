//! The services of a namespace as variables of its pods. Pure.

use crate::env::Values;
use orrery_api::k8s::api::core::v1::Service;

/// The variables that tell a pod of the services of its namespace, as Docker's links once did
/// (<https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables>).
#[must_use]
pub fn variables(services: &[Service]) -> Values {
    let mut variables = Values::new();
    for service in services {
        let spec = service.spec.clone().unwrap_or_default();
        let address = spec.cluster_ip.filter(|address| !address.is_empty() && address != "None");
        let (Some(name), Some(address)) = (&service.metadata.name, address) else { continue };
        let upper = |name: &str| name.to_uppercase().replace('-', "_");
        let name = upper(name);
        variables.insert(format!("{name}_SERVICE_HOST"), address.clone());
        let host = if address.contains(':') { format!("[{address}]") } else { address.clone() };
        for (number, port) in spec.ports.iter().flatten().enumerate() {
            let protocol = port.protocol.as_deref().unwrap_or("TCP");
            let url = format!("{}://{host}:{}", protocol.to_lowercase(), port.port);
            if number == 0 {
                variables.insert(format!("{name}_SERVICE_PORT"), port.port.to_string());
                variables.insert(format!("{name}_PORT"), url.clone());
            }
            if let Some(port_name) = port.name.as_deref().filter(|name| !name.is_empty()) {
                variables.insert(format!("{name}_SERVICE_PORT_{}", upper(port_name)), port.port.to_string());
            }
            let prefix = format!("{name}_PORT_{}_{protocol}", port.port);
            variables.insert(format!("{prefix}_PROTO"), protocol.to_lowercase());
            variables.insert(format!("{prefix}_PORT"), port.port.to_string());
            variables.insert(format!("{prefix}_ADDR"), address.clone());
            variables.insert(prefix, url);
        }
    }
    variables
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_port_of_a_service_has_its_variables() {
        let service = |name: &str, address: &str| {
            let ports = json!([{ "name": "web-1", "port": 80 }, { "port": 53, "protocol": "UDP" }]);
            let service = json!({ "metadata": { "name": name }, "spec": { "clusterIP": address, "ports": ports } });
            serde_json::from_value::<Service>(service).unwrap()
        };
        let made = variables(&[service("my-db", "10.96.0.7"), service("headless", "None"), service("external", "")]);
        let expected = [
            ("MY_DB_PORT", "tcp://10.96.0.7:80"),
            ("MY_DB_PORT_53_UDP", "udp://10.96.0.7:53"),
            ("MY_DB_PORT_53_UDP_ADDR", "10.96.0.7"),
            ("MY_DB_PORT_53_UDP_PORT", "53"),
            ("MY_DB_PORT_53_UDP_PROTO", "udp"),
            ("MY_DB_PORT_80_TCP", "tcp://10.96.0.7:80"),
            ("MY_DB_PORT_80_TCP_ADDR", "10.96.0.7"),
            ("MY_DB_PORT_80_TCP_PORT", "80"),
            ("MY_DB_PORT_80_TCP_PROTO", "tcp"),
            ("MY_DB_SERVICE_HOST", "10.96.0.7"),
            ("MY_DB_SERVICE_PORT", "80"),
            ("MY_DB_SERVICE_PORT_WEB_1", "80"),
        ];
        assert_eq!(made, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
        assert_eq!(variables(&[service("six", "fd00::7")])["SIX_PORT"], "tcp://[fd00::7]:80");
    }
}
