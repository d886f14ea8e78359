//! Logs, set up once by the binary.
//!
//! Every role writes its log to standard error; whoever starts the role decides where that goes (`orrery up` gives each
//! role a file of its own). Lines are text for people or JSON for machines, and the level follows `ORRERY_LOG` in the
//! syntax of `tracing`'s filters, such as `info,orrery_hostd=debug`.
//!
//! Metrics are not here: each component is handed a struct of its own and the API server serves the registry.
//!
//! Start reading at [`init`].
#![forbid(unsafe_code)]

use tracing_subscriber::EnvFilter;

/// The environment variable that sets the level of the log.
pub const LEVEL_VARIABLE: &str = "ORRERY_LOG";

/// How a line of the log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// The level is not in the syntax of `tracing`'s filters.
    #[error("{LEVEL_VARIABLE}={value:?} is not a log level; try info, debug or info,orrery_hostd=debug")]
    Level {
        /// The variable's value.
        value: String,
        /// Why.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// Something in this process has set up logging before.
    #[error("logging is set up already")]
    Twice(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Sends the process's log to standard error. `default_level` counts where the environment says nothing.
///
/// # Errors
/// When the level in the environment is malformed, or logging was set up before.
pub fn init(format: Format, default_level: &str) -> Result<(), InitError> {
    let level = std::env::var(LEVEL_VARIABLE).unwrap_or_else(|_| default_level.to_owned());
    let filter = EnvFilter::try_new(&level).map_err(|source| InitError::Level { value: level, source })?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(true);
    let result = match format {
        Format::Text => builder.with_ansi(false).try_init(),
        Format::Json => builder.json().try_init(),
    };
    result.map_err(InitError::Twice)
}
