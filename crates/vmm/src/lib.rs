//! Machines: QEMU and a simulated one behind one trait
#![forbid(unsafe_code)]
