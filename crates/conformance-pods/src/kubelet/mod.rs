//! Class `kubelet`: what a node does with pods.

mod accounts;
mod containers;
mod environment;
mod generations;
mod hooks;
mod init;
mod life;
mod logs;
mod probes;
mod security;

use orrery_harness::Test;

pub(crate) fn tests() -> Vec<Test> {
    [
        accounts::TESTS,
        containers::TESTS,
        environment::TESTS,
        generations::TESTS,
        hooks::TESTS,
        init::TESTS,
        life::TESTS,
        logs::TESTS,
        probes::TESTS,
        security::TESTS,
    ]
    .concat()
}
