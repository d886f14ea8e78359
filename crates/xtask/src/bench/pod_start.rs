//! The benchmark `pod-start`: from the POST of a pod to the first byte of its output, as a client sees both.

use super::{
    BenchError, PodStart,
    installation::Installation,
    measure::{Measure, Spread, machine},
    note,
    podman::Podman,
    pods::Pods,
};
use serde_json::{Value, json};
use std::{
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

/// A static program that says "hello" and waits; both run it.
pub(super) const IMAGE: &str = "docker.io/library/hello:latest";
/// Pods before those that count, so that files are in the host's memory and the template is there.
const WARM_UP: u16 = 3;
/// How long templates may take to be made.
const TEMPLATES: Duration = Duration::from_secs(180);
/// How long machines may take to be warm.
const WARM: Duration = Duration::from_secs(180);
/// Memory that makes sizes which no pod before had, so that their machines boot, in MiB.
const UNSEEN: [u32; 3] = [200, 350, 500];

/// Makes an installation, measures, and removes it, whatever came of it.
pub(super) fn run(root: &Path, program: &Path, options: &PodStart) -> Result<Vec<Measure>, BenchError> {
    let installation = Installation::new(program)?.with_warm_machines(options.burst);
    let installation = installation.with_lean_kernel(options.kernels.as_deref())?;
    installation.kubectl()?;
    let archive = hello(root, installation.scratch())?;
    let podman = Podman::with_image(installation.scratch(), &archive, IMAGE)?;
    let mut measures = machine();
    note("bringing an installation up");
    installation.up()?;
    installation.import(&archive)?;
    note("waiting for the template");
    installation.wait_for_templates(TEMPLATES)?;
    let api = Pods::connect(&installation)?;
    for run in 0..WARM_UP {
        api.first_output(&pod(&format!("warm-{run}"), None))?;
    }
    let (mut ours, mut theirs, mut refills) = (Vec::new(), Vec::new(), Vec::new());
    installation.wait_until_warm(WARM)?;
    for run in 1..=options.runs {
        if run % 10 == 1 {
            note(&format!("pod and container, {run} of {}", options.runs));
        }
        ours.push(api.first_output(&pod(&format!("start-{run}"), None))?);
        // Nothing else goes on while the other is measured.
        refills.push(installation.wait_until_warm(WARM)?);
        theirs.push(podman.start(&installation.children, &format!("start-{run}"))?);
    }
    measures.extend(compared(&ours, &theirs)?);
    measures.push(Measure::new("until the next machine is warm, median", spread(&refills)?.median, "s"));
    note(&format!("{} pods at once", options.burst));
    installation.wait_until_warm(WARM)?;
    measures.extend(burst(&api, options.burst)?);
    note("pods whose machines boot");
    let cold: Result<Vec<_>, _> =
        UNSEEN.iter().map(|mebibytes| api.first_output(&pod(&format!("cold-{mebibytes}"), Some(*mebibytes)))).collect();
    let cold = spread(&cold?)?;
    measures.push(Measure::new("pod of a new size (its machine boots): POST to first byte, median", cold.median, "s"));
    installation.purge()?;
    Ok(measures)
}

/// The archive of the image, made from its source.
pub(super) fn hello(root: &Path, directory: &Path) -> Result<PathBuf, BenchError> {
    archive_of(root, "scripts/hello-image", directory)
}

/// The archive that a script makes.
pub(super) fn archive_of(root: &Path, script: &str, directory: &Path) -> Result<PathBuf, BenchError> {
    let archive = directory.join("image.tar");
    let output = Command::new(root.join(script)).arg(&archive).output();
    let output = output.map_err(BenchError::io(format!("run {script}")))?;
    if output.status.success() {
        return Ok(archive);
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(BenchError::Command { command: script.to_owned(), said })
}

/// A pod with the image and nothing else, of the default size or with that limit of memory in MiB.
pub(super) fn pod(name: &str, memory: Option<u32>) -> Value {
    let limits = memory.map_or(json!({}), |memory| json!({"limits": {"memory": format!("{memory}Mi")}}));
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "demo"},
        "spec": {"restartPolicy": "Never", "terminationGracePeriodSeconds": 0, "containers": [
            {"name": "hello", "image": IMAGE, "imagePullPolicy": "IfNotPresent", "resources": limits}]},
    })
}

fn compared(ours: &[Duration], theirs: &[Duration]) -> Result<[Measure; 6], BenchError> {
    let (pod, container) = (spread(ours)?, spread(theirs)?);
    let median = Measure::new("pod: POST to first byte, median", pod.median, "s").below(container.median);
    Ok([
        median.beside(container.median),
        Measure::new("pod: POST to first byte, 95th percentile", pod.high, "s")
            .below(3.0 * pod.median)
            .beside(container.high),
        Measure::new("pod: POST to first byte, fastest", pod.least, "s").beside(container.least),
        Measure::new("pod: POST to first byte, slowest", pod.most, "s").beside(container.most),
        Measure::new("podman run (runc, bridge): start to first byte, median", container.median, "s"),
        Measure::new("podman run (runc, bridge): start to first byte, slowest", container.most, "s"),
    ])
}

fn burst(api: &Pods, count: u16) -> Result<[Measure; 2], BenchError> {
    let began = Instant::now();
    let starts: Result<Vec<Duration>, BenchError> = thread::scope(|scope| {
        let threads: Vec<_> = (0..count)
            .map(|number| scope.spawn(move || api.first_output(&pod(&format!("burst-{number}"), None))))
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("a measuring thread does not panic")).collect()
    });
    let spread = spread(&starts?)?;
    note(&format!("all came and went in {:.1} s", began.elapsed().as_secs_f64()));
    Ok([
        Measure::new(format!("{count} pods at once: POST to first byte, median"), spread.median, "s"),
        Measure::new(format!("{count} pods at once: POST to first byte, slowest"), spread.most, "s"),
    ])
}

pub(super) fn spread(durations: &[Duration]) -> Result<Spread, BenchError> {
    Spread::of(durations).ok_or_else(|| BenchError::answer("the number of runs", "there is none"))
}
