//! Letting in: a port for each client, and the interface that is made for the first.

use anyhow::Context;
use tokio::time::Instant;

use super::{Client, Server};
use crate::exit::Failure;
use crate::tap::fabric::{ClientId, Place};
use crate::tap::listen::{Door, Newcomer};
use crate::tap::settings::Protocol;

impl Server<'_> {
    /// Makes a client a port. False when a signal came meanwhile.
    pub(super) async fn admit(&mut self, newcomer: Newcomer, place: Place) -> Result<bool, Failure> {
        let connection = match newcomer.stream.try_clone() {
            Ok(connection) => connection,
            Err(error) => {
                if let Some(closed) = self.failures.count(Instant::now()) {
                    tracing::warn!(%error, by = newcomer.by, closed, "cannot serve a client: closed");
                }
                return Ok(true);
            }
        };
        if !self.make_interface().await? {
            return Ok(false);
        }
        let Newcomer { stream, protocol, by, is_program } = newcomer;
        let client = ClientId::next();
        tracing::info!(%client, by, framing = %protocol, "a client came");
        match protocol {
            Protocol::Stream(framing) => self.fabric.attach_stream(client, place, stream, framing).await,
            Protocol::Modem => {
                // Whoever is a modem was told to be by the same option.
                let Some(modem) = self.modem.clone() else { return Ok(true) };
                self.fabric.attach_modem(client, place, stream, modem).await;
            }
            Protocol::Datagram => {
                let attached = self.fabric.attach_messages(client, place, stream).await;
                attached.with_context(|| format!("cannot serve {by}"))?;
            }
        }
        self.clients.insert(client, Client { by, protocol, since: Instant::now(), connection, is_program });
        Ok(true)
    }

    /// Serves the guests of a socket. False when a signal came meanwhile.
    pub(super) async fn let_guests_in(&mut self, door: Door) -> Result<bool, Failure> {
        if !self.make_interface().await? {
            return Ok(false);
        }
        let attached = self.fabric.attach_guests(door.id, door.socket).await;
        attached.with_context(|| format!("cannot serve guests on {}", self.doors.name_of(door.id)))?;
        Ok(true)
    }

    /// Has the interface made, unless it was once. False when a signal came meanwhile.
    async fn make_interface(&mut self) -> Result<bool, Failure> {
        let Some(host) = &mut self.host else { return Ok(true) };
        let made = tokio::select! {
            biased;
            made = host.make_first(self.fabric) => made,
            () = self.signals.recv() => return Ok(false),
        };
        match made {
            Err(failure) if !self.keep => Err(failure),
            Err(failure) => {
                let error = failure.sentence();
                tracing::warn!(error, "cannot make the interface; trying it later, and serving all the same");
                Ok(true)
            }
            Ok(()) => Ok(true),
        }
    }

    /// Has the interface made once more. False when a signal came meanwhile.
    pub(super) async fn make_again(&mut self) -> Result<bool, Failure> {
        let Some(host) = &mut self.host else { return Ok(true) };
        let made = tokio::select! {
            biased;
            made = host.make_again(self.fabric) => made,
            () = self.signals.recv() => return Ok(false),
        };
        match made {
            Err(failure) if !self.keep => Err(failure),
            Err(failure) => {
                let error = failure.sentence();
                tracing::error!(error, "the interface cannot be made; clients reach each other only");
                Ok(true)
            }
            Ok(()) => Ok(true),
        }
    }
}
