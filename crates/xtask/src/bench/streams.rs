//! The benchmarks `exec` and `logs`: what goes between a client and a container, as kubectl sees it, beside podman.

use super::{
    BenchError, Exec, Logs,
    installation::Installation,
    measure::{Measure, machine},
    note, pause,
    pod_start::{archive_of, spread},
    podman::Podman,
    pods::Pods,
};
use serde_json::{Value, json};
use std::{
    io::{self, BufRead, BufReader, Read, Write},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

const IMAGE: &str = "docker.io/library/busybox:latest";
const SCRIPT: &str = "scripts/demo-image";
/// The pod, its container, and podman's container.
const NAME: &str = "streams";
/// Waits until it is killed.
const REST: &str = "echo ready; exec sleep 86400";
/// How long a container may take to write all of its output.
const WRITTEN: Duration = Duration::from_secs(60);
const MEBIBYTE: u64 = 1024 * 1024;
/// The middle of a line, so that a log has as many lines as that of a server.
const LINE: &str = "10.0.0.1 - - [27/Nov/2026:12:00:00 +0000] GET /index.html HTTP/1.1 200 612 - Mozilla/5.0";

/// Measures `exec`, and removes the installation, whatever came of it.
pub(super) fn exec(root: &Path, program: &Path, options: &Exec) -> Result<Vec<Measure>, BenchError> {
    let bench = Bench::new(root, program, REST)?;
    let container = bench.podman.keep(&bench.installation.children, NAME, &["sh", "-c", REST])?;
    let in_container = |program: &[&str]| piped(container.command(&["exec", "-i"], program));
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for run in 1..=options.runs {
        if run % 10 == 1 {
            note(&format!("a program in pod and container, {run} of {}", options.runs));
        }
        ours.push(timed(bench.in_pod(&["true"])?)?);
        theirs.push(timed(in_container(&["true"]))?);
    }
    let (pod, peer) = (spread(&ours)?, spread(&theirs)?);
    let mut measures = machine();
    measures.push(Measure::new("exec: a program's start to end, median", pod.median, "s").beside(peer.median));
    measures.push(Measure::new("exec: a program's start to end, 95th percentile", pod.high, "s").beside(peer.high));
    note("lines there and back");
    let pod = spread(&bench.echoes(bench.in_pod(&["cat"])?, options.echoes)?)?;
    let peer = spread(&bench.echoes(in_container(&["cat"]), options.echoes)?)?;
    let echo = |name: &str, pod: f64, peer: f64| Measure::new(name, pod * 1000.0, "ms").beside(peer * 1000.0);
    measures.push(echo("exec: a line there and back, median", pod.median, peer.median));
    measures.push(echo("exec: a line there and back, 95th percentile", pod.high, peer.high));
    note("much output");
    let bytes = u64::from(options.mebibytes) * MEBIBYTE;
    let count = format!("count={}", options.mebibytes);
    let write = ["dd", "if=/dev/zero", "bs=1M", &count];
    let pod = bench.rate(bench.in_pod(&write)?, bytes)?;
    let peer = bench.rate(in_container(&write), bytes)?;
    measures.push(Measure::new("exec: output of a program", pod, "MiB/s").beside(peer));
    drop(container);
    bench.installation.purge()?;
    Ok(measures)
}

/// Measures `logs`, and removes the installation, whatever came of it.
pub(super) fn logs(root: &Path, program: &Path, options: &Logs) -> Result<Vec<Measure>, BenchError> {
    let bytes = u64::from(options.mebibytes) * MEBIBYTE;
    let write = format!("yes '{LINE}' | head -c {bytes}; echo; {REST}");
    let bench = Bench::new(root, program, &write)?;
    let container = bench.podman.keep(&bench.installation.children, NAME, &["sh", "-c", &write])?;
    // The line that ends the output, and "ready".
    let expected = bytes + 1 + 6;
    let mut measures = machine();
    note("until all that the pod writes is in its log");
    let written = bench.pods.log(NAME, true, expected)?;
    measures.push(Measure::new("logs: followed from the pod's start", rate(expected, written), "MiB/s"));
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    // Until it has written all too.
    let began = Instant::now();
    while let Err(error) = bench.drained(piped(container.command(&["logs"], &[])), expected) {
        if began.elapsed() > WRITTEN {
            return Err(error);
        }
        pause(Duration::from_millis(200));
    }
    for _ in 0..options.runs {
        ours.push(bench.pods.log(NAME, false, expected)?);
        let command = piped(container.command(&["logs"], &[]));
        theirs.push(bench.drained(command, expected)?);
    }
    let (pod, peer) = (spread(&ours)?, spread(&theirs)?);
    let per_second = |seconds: f64| rate(expected, Duration::from_secs_f64(seconds));
    let read = Measure::new("logs: read from beginning to end, median", per_second(pod.median), "MiB/s");
    measures.push(read.beside(per_second(peer.median)));
    drop(container);
    bench.installation.purge()?;
    Ok(measures)
}

/// An installation with a pod, and podman with the same image.
struct Bench {
    podman: Podman,
    pods: Pods,
    installation: Installation,
}

impl Bench {
    /// Brings an installation up, and a pod that runs `script`.
    fn new(root: &Path, program: &Path, script: &str) -> Result<Self, BenchError> {
        let installation = Installation::new(program)?;
        installation.kubectl()?;
        let archive = archive_of(root, SCRIPT, installation.scratch())?;
        let podman = Podman::with_image(installation.scratch(), &archive, IMAGE)?;
        note("bringing an installation up");
        installation.up()?;
        installation.import(&archive)?;
        let pods = Pods::connect(&installation)?;
        pods.run(&pod(script))?;
        Ok(Self { podman, pods, installation })
    }

    /// `kubectl exec` in the pod.
    fn in_pod(&self, program: &[&str]) -> Result<Command, BenchError> {
        let mut command = self.installation.kubectl()?;
        command.args(["exec", "-i", "-n", "demo", NAME, "--"]).args(program);
        Ok(piped(command))
    }

    /// Sends lines one by one; the time until each is back.
    fn echoes(&self, mut command: Command, lines: u16) -> Result<Vec<Duration>, BenchError> {
        let doing = "send lines there and back";
        let mut running = self.installation.children.start(&mut command).map_err(BenchError::io(doing))?;
        let mut input = running.child.stdin.take().expect("standard input is piped");
        let mut output = BufReader::new(running.child.stdout.take().expect("standard output is piped"));
        let mut echo = |number: u16| -> io::Result<(Duration, bool)> {
            let (sent, mut came) = (format!("line {number}\n"), String::new());
            let began = Instant::now();
            input.write_all(sent.as_bytes())?;
            output.read_line(&mut came)?;
            Ok((began.elapsed(), came == sent))
        };
        // The first waits for the program's start.
        let times: Result<Vec<_>, BenchError> = (0..=lines)
            .map(|number| match echo(number).map_err(BenchError::io(doing))? {
                (took, true) => Ok(took),
                (_, false) => Err(BenchError::answer("a line that was sent there and back", "another came")),
            })
            .collect();
        drop(input);
        running.child.wait().map_err(BenchError::io(doing))?;
        Ok(times?.split_off(1))
    }

    /// MiB of output in a second, from the program's first byte to its last.
    fn rate(&self, command: Command, bytes: u64) -> Result<f64, BenchError> {
        Ok(rate(bytes, self.drained(command, bytes)?))
    }

    /// Reads all output, which has to be of that length: the time from its first byte to its last.
    fn drained(&self, mut command: Command, bytes: u64) -> Result<Duration, BenchError> {
        let doing = "read a program's output";
        let mut running = self.installation.children.start(&mut command).map_err(BenchError::io(doing))?;
        let mut output = running.child.stdout.take().expect("standard output is piped");
        let (took, came) = drain(&mut output, bytes).map_err(BenchError::io(doing))?;
        drop(output);
        running.child.wait().map_err(BenchError::io(doing))?;
        if came == bytes { Ok(took) } else { Err(BenchError::answer("the output", format!("{came} of {bytes} bytes"))) }
    }
}

/// Reads up to so many bytes: the time from the first to the last, and how many came.
pub(super) fn drain(from: &mut impl Read, bytes: u64) -> io::Result<(Duration, u64)> {
    let mut buffer = vec![0; 64 * 1024];
    let mut limited = from.take(bytes);
    let mut came = limited.read(&mut buffer)? as u64;
    let began = Instant::now();
    loop {
        match limited.read(&mut buffer)? as u64 {
            0 => return Ok((began.elapsed(), came)),
            more => came += more,
        }
    }
}

fn piped(mut command: Command) -> Command {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

/// Runs a program to its end: the time that took.
fn timed(mut command: Command) -> Result<Duration, BenchError> {
    let doing = "run a program in a container";
    let began = Instant::now();
    let output = command.stdin(Stdio::null()).stderr(Stdio::piped()).output().map_err(BenchError::io(doing))?;
    let took = began.elapsed();
    if output.status.success() {
        return Ok(took);
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(BenchError::Command { command: format!("{command:?}"), said })
}

#[allow(clippy::cast_precision_loss, reason = "bytes of a benchmark are far below 2^52")]
fn rate(bytes: u64, took: Duration) -> f64 {
    bytes as f64 / MEBIBYTE as f64 / took.as_secs_f64()
}

fn pod(script: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": NAME, "namespace": "demo"},
        "spec": {"restartPolicy": "Never", "terminationGracePeriodSeconds": 0, "containers": [
            {"name": NAME, "image": IMAGE, "imagePullPolicy": "IfNotPresent", "command": ["sh", "-c", script]}]},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_read_than_is_waited_for_and_an_early_end_is_seen() {
        assert_eq!(drain(&mut [7; 200_000].as_slice(), 100_000).unwrap().1, 100_000);
        assert_eq!(drain(&mut [7; 10].as_slice(), 100).unwrap().1, 10);
        assert_eq!(drain(&mut io::empty(), 100).unwrap().1, 0);
    }

    #[test]
    fn a_rate_is_mebibytes_through_seconds() {
        assert!((rate(3 * MEBIBYTE, Duration::from_millis(1500)) - 2.0).abs() < 1e-9);
    }
}
