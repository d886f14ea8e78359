//! `kill -9` of the control plane at any moment, under load.

use orrery_torture::{Options, run};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_and_controllers_converge_after_kills() {
    let options = Options {
        program: env!("CARGO_BIN_EXE_orrery").into(),
        rounds: 5,
        seed: 36,
        longest: Duration::from_millis(2500),
    };
    let report = run(&options, |_| {}).await.unwrap_or_else(|failed| panic!("{failed}"));
    assert!(report.seen.written > 50 && report.compared > 20, "there was load: {report:?}");
    assert!(report.seen.broken > 0, "it was killed under them: {report:?}");
}
