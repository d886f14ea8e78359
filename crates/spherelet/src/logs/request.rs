//! What a client asks of a log. Pure.

use k8s_openapi::jiff::{SignedDuration, Timestamp};

/// What a client asks of a log, as the query of its request says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LogOptions {
    /// Whether to go on until the container ends.
    pub(crate) follow: bool,
    /// Whether the attempt before the newest is meant.
    pub(crate) previous: bool,
    /// Whether each line begins with its time.
    pub(crate) timestamps: bool,
    /// Only the last lines.
    pub(crate) tail_lines: Option<usize>,
    /// Only what is newer.
    pub(crate) since: Option<Timestamp>,
    /// No more bytes than this.
    pub(crate) limit_bytes: Option<u64>,
    /// Only this stream: true for standard error.
    pub(crate) only_stderr: Option<bool>,
}

/// Whether a flag of a query is set.
pub(crate) fn flag(value: &str) -> bool {
    matches!(value, "1" | "true" | "True" | "TRUE" | "t" | "T")
}

impl LogOptions {
    /// Reads a query.
    ///
    /// # Errors
    /// The parameter that is malformed, and what it should be.
    pub(crate) fn parse(query: &str, now: Timestamp) -> Result<Self, String> {
        let mut options = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let bad = |what: &str| format!("{name}={value}: {what}");
            match name.as_ref() {
                "follow" => options.follow = flag(&value),
                "previous" => options.previous = flag(&value),
                "timestamps" => options.timestamps = flag(&value),
                "tailLines" => {
                    options.tail_lines = Some(value.parse().map_err(|_| bad("must be a number that is not negative"))?);
                }
                "limitBytes" => {
                    let limit = value.parse().ok().filter(|limit| *limit > 0);
                    options.limit_bytes = Some(limit.ok_or_else(|| bad("must be a number greater than 0"))?);
                }
                "sinceSeconds" => {
                    let seconds = value.parse().ok().filter(|seconds| *seconds > 0);
                    let seconds = seconds.ok_or_else(|| bad("must be a number greater than 0"))?;
                    options.since = Some(now.checked_sub(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MIN));
                }
                "sinceTime" => options.since = Some(value.parse().map_err(|_| bad("must be a time in RFC 3339"))?),
                "stream" => {
                    options.only_stderr = match value.as_ref() {
                        "Stdout" => Some(false),
                        "Stderr" => Some(true),
                        "All" | "" => None,
                        _ => return Err(bad("must be All, Stdout or Stderr")),
                    };
                }
                // Parameters for the API server, such as `container`.
                _ => {}
            }
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(query: &str) -> Result<LogOptions, String> {
        LogOptions::parse(query, Timestamp::from_second(1000).unwrap())
    }

    #[test]
    fn a_query_reads_as_the_kubelet_reads_it() {
        let options = parse("follow=true&tailLines=5&timestamps=1&limitBytes=10&sinceSeconds=100&container=x").unwrap();
        assert!(options.follow && options.timestamps && !options.previous);
        assert_eq!((options.tail_lines, options.limit_bytes), (Some(5), Some(10)));
        assert_eq!(options.since.unwrap().as_second(), 900);
        assert_eq!(parse("sinceTime=1970-01-01T00%3A00%3A07Z").unwrap().since.unwrap().as_second(), 7);
        assert_eq!(parse("").unwrap(), LogOptions::default());
    }

    #[test]
    fn a_malformed_parameter_is_named() {
        for query in ["tailLines=-1", "limitBytes=0", "sinceSeconds=0", "sinceTime=yesterday", "stream=both"] {
            let name = query.split('=').next().unwrap();
            assert!(parse(query).unwrap_err().starts_with(name), "{query}");
        }
    }
}
