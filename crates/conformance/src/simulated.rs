//! A cluster for one run: a private control plane with hollow nodes.

use orrery_sim::{Clients, ControlPlane, HollowNodes, HollowOptions, Options};
use std::{error::Error, path::PathBuf};

/// Why there is no such cluster.
type Failed = Box<dyn Error>;

/// A private control plane with hollow nodes. Everything of it is removed when it is stopped or dropped.
pub struct Simulated {
    nodes: HollowNodes,
    control_plane: ControlPlane,
    kubeconfig: PathBuf,
}

impl Simulated {
    /// Starts a control plane and waits until so many nodes are Ready. With `program`, an `orrery`, the control plane is a
    /// process of its own.
    ///
    /// # Errors
    /// When either can't be started.
    pub async fn start(nodes: usize, program: Option<PathBuf>) -> Result<Self, Failed> {
        let control_plane = ControlPlane::start(Options { program, ..Options::default() }).await?;
        let kubeconfig = control_plane.directory().join("kubeconfig");
        control_plane.write_kubeconfig(&kubeconfig)?;
        let options = HollowOptions { count: nodes, ..HollowOptions::default() };
        let mut nodes = HollowNodes::start(Clients::own(&control_plane), &options).await?;
        nodes.ready().await?;
        Ok(Self { nodes, control_plane, kubeconfig })
    }

    /// An administrator's kubeconfig.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.kubeconfig.clone()
    }

    /// Ends it.
    ///
    /// # Errors
    /// When the control plane had ended by itself: what was measured since is worth nothing.
    pub async fn stop(self) -> Result<(), Failed> {
        self.nodes.stop().await;
        Ok(self.control_plane.stop().await?)
    }
}
