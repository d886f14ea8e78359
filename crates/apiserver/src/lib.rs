//! The API machinery over HTTP: authentication, authorization, admission, watch, registry
#![forbid(unsafe_code)]
