//! A node's interface: not here yet.

use std::os::fd::OwnedFd;

use crate::node_link::{NodeLinkSpec, NodeRoutes};
use crate::privileged::MachineError;

/// A node's interface. There is none on this system.
#[derive(Debug)]
pub enum NodeLink {}

impl NodeLink {
    /// Refuses.
    ///
    /// # Errors
    /// Always: a node's interface needs segments handed over whole, which utun does not do.
    pub fn open(spec: &NodeLinkSpec, _routes: &NodeRoutes) -> Result<(Self, OwnedFd), MachineError> {
        let doing = format!("create the interface {}", spec.name);
        Err(MachineError::Failed { doing, reason: "a node's interface is made on Linux only".to_owned() })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        match *self {}
    }

    /// Its interface index.
    pub fn index(&self) -> u32 {
        match *self {}
    }

    /// Changes the routes.
    ///
    /// # Errors
    /// None: there is no such interface.
    pub fn set_routes(&mut self, _routes: &NodeRoutes) -> Result<(), MachineError> {
        match *self {}
    }

    /// Puts back what was taken from it.
    ///
    /// # Errors
    /// None: there is no such interface.
    pub fn restore(&mut self) -> Result<(), MachineError> {
        match *self {}
    }
}
