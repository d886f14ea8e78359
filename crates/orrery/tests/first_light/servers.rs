//! Servers that people run, out of Debian's packages: configuration, secrets, probes, and data that outlives a machine.

use crate::installation::{Installation, http_get, wait_until};

/// A page by Python that counts in Redis, beside a PostgreSQL; then the databases' machines are killed.
pub(crate) fn databases_keep_their_data_when_their_machines_are_killed(orrery: &Installation) {
    for image in ["redis", "postgres", "python"] {
        orrery.import(&format!("{image}.tar"), &format!("localhost/demo/{image}:latest"));
    }
    orrery.kubectl_input(&["apply", "-f", "-"], DATABASES);
    orrery.kubectl(&["wait", "--for=condition=Ready", "pod/redis", "pod/postgres", "--timeout=180s"]);
    let redis = orrery.kubectl(&["get", "pod", "redis", "-o", "jsonpath={.status.podIP}"]);
    orrery.kubectl_input(&["apply", "-f", "-"], &PAGE.replace("REDIS-ADDRESS", &redis));
    orrery.kubectl(&["wait", "--for=condition=Ready", "pod/page", "--timeout=180s"]);
    let address = orrery.kubectl(&["get", "pod", "page", "-o", "jsonpath={.status.podIP}"]);
    let page = || http_get(&address, 8080).filter(|page| page.contains("secret=hidden") && page.contains("pod=page"));
    wait_until("the page", page);
    let sql = |statement: &str| {
        let script = format!("PGPASSWORD=hidden psql -h 127.0.0.1 -U postgres -qtAc '{statement}'");
        orrery.kubectl(&["exec", "postgres", "--", "sh", "-c", &script])
    };
    sql("create table kept as select generate_series(1, 20000) as number");
    let counted = |ask: &str| orrery.kubectl(&["exec", "redis", "--", "redis-cli", ask, "hits"]);
    counted("incr");

    for pod in ["redis", "postgres"] {
        orrery.kill(orrery.machine_pid(&format!("demo/{pod}")));
        orrery.wait_restarted(pod, 1);
    }
    orrery.kubectl(&["wait", "--for=condition=Ready", "pod/redis", "pod/postgres", "--timeout=180s"]);
    assert_eq!(sql("select count(*), max(number) from kept"), "20000|20000\n");
    assert!(counted("get").trim().parse::<u32>().is_ok_and(|hits| hits >= 2), "Redis has read its log");
    wait_until("the page by the same Redis", page);
    orrery.kubectl(&[
        "delete",
        "pod/redis",
        "pod/postgres",
        "pod/page",
        "configmap/servers",
        "secret/database",
        "--wait=true",
    ]);
}

const DATABASES: &str = r#"
apiVersion: v1
kind: Secret
metadata: {name: database}
stringData: {password: hidden}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: servers}
data:
  redis.conf: |
    appendonly yes
    appendfsync always
    dir /data
    bind *
    protected-mode no
  page.py: |
    import http.server, os, socket

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            with socket.create_connection((os.environ["REDIS"], 6379)) as redis:
                redis.sendall(b"INCR hits\r\n")
                hits = redis.recv(64).decode().strip()
            secret = open("/secret/password").read()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(f"hits={hits} secret={secret} pod={os.environ['POD']}\n".encode())

    http.server.ThreadingHTTPServer(("", 8080), Page).serve_forever()
---
apiVersion: v1
kind: Pod
metadata: {name: redis}
spec:
  terminationGracePeriodSeconds: 5
  securityContext: {fsGroup: 999}
  volumes:
  - {name: data, emptyDir: {}}
  - {name: configuration, configMap: {name: servers}}
  containers:
  - name: redis
    image: localhost/demo/redis:latest
    imagePullPolicy: IfNotPresent
    command: [redis-server, /etc/redis/redis.conf]
    resources: {limits: {memory: 96Mi}}
    readinessProbe: {exec: {command: [redis-cli, ping]}, periodSeconds: 2, timeoutSeconds: 10}
    livenessProbe: {tcpSocket: {port: 6379}, periodSeconds: 5, failureThreshold: 10}
    volumeMounts:
    - {name: data, mountPath: /data}
    - {name: configuration, mountPath: /etc/redis}
---
apiVersion: v1
kind: Pod
metadata: {name: postgres}
spec:
  terminationGracePeriodSeconds: 5
  securityContext: {fsGroup: 999}
  volumes:
  - {name: data, emptyDir: {sizeLimit: 500Mi}}
  - {name: password, secret: {secretName: database}}
  containers:
  - name: postgres
    image: localhost/demo/postgres:latest
    imagePullPolicy: IfNotPresent
    env: [{name: POSTGRES_PASSWORD_FILE, value: /secret/password}]
    resources: {limits: {memory: 384Mi}}
    readinessProbe: {exec: {command: [pg_isready, -h, 127.0.0.1]}, periodSeconds: 2, timeoutSeconds: 10}
    volumeMounts:
    - {name: data, mountPath: /var/lib/postgresql}
    - {name: password, mountPath: /secret, readOnly: true}
"#;

const PAGE: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: page}
spec:
  terminationGracePeriodSeconds: 1
  volumes:
  - {name: program, configMap: {name: servers}}
  - {name: password, secret: {secretName: database}}
  containers:
  - name: page
    image: localhost/demo/python:latest
    imagePullPolicy: IfNotPresent
    command: [python3, /app/page.py]
    env:
    - {name: REDIS, value: REDIS-ADDRESS}
    - {name: POD, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
    resources: {limits: {memory: 96Mi}}
    readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 2, timeoutSeconds: 10}
    volumeMounts:
    - {name: program, mountPath: /app}
    - {name: password, mountPath: /secret, readOnly: true}
"#;
