//! The server itself: its version.

use crate::{
    ensure,
    harness::{Context, Outcome},
    registry::{Test, test},
    run,
};

pub(super) const TESTS: &[Test] =
    &[test("[sig-api-machinery] server version should find the server version [Conformance]", run!(version))];

async fn version(context: &Context) -> Outcome {
    let version = context.api.get("/version").await?.expect(200)?;
    for part in ["major", "minor"] {
        let text = version[part].as_str().unwrap_or_default();
        // Upstream's own builds may mark a minor version that is under way with a plus sign.
        let digits = text.strip_suffix('+').unwrap_or(text);
        ensure!(
            !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()),
            "{part} of /version is {text:?}, not an integer"
        );
    }
    Ok(())
}
