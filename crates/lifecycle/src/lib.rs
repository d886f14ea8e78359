//! State machines of pods and machines; pure
#![forbid(unsafe_code)]
