//! TLS or Noise, whichever the other end has, TLS preferred (libp2p specs, "tls" and "noise").

use std::future::Future;
use std::pin::Pin;

use futures::future::Either;
use futures::{AsyncRead, AsyncWrite, FutureExt as _};
use futures_rustls::TlsStream;
use libp2p::core::UpgradeInfo;
use libp2p::core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade};
use libp2p::identity::Keypair;
use libp2p::{PeerId, noise};

use crate::tls::{self, Tls, TlsError};

/// The two, in order of preference.
#[derive(Clone)]
pub(super) struct Security {
    tls: Tls,
    noise: noise::Config,
}

/// Why a handshake failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum HandshakeError {
    #[error("TLS: {0}")]
    Tls(#[from] TlsError),
    #[error("Noise: {0}")]
    Noise(#[from] noise::Error),
}

type Secured<C> = Either<TlsStream<C>, noise::Output<C>>;
type Handshake<C> = Pin<Box<dyn Future<Output = Result<(PeerId, Secured<C>), HandshakeError>> + Send>>;

impl Security {
    /// # Errors
    /// No key can be made for Noise.
    pub(super) fn new(tls: Tls, keypair: &Keypair) -> Result<Self, noise::Error> {
        Ok(Self { tls, noise: noise::Config::new(keypair)? })
    }
}

impl UpgradeInfo for Security {
    type Info = String;
    type InfoIter = Vec<String>;

    fn protocol_info(&self) -> Vec<String> {
        let tls = std::iter::once(tls::PROTOCOL.to_owned());
        tls.chain(self.noise.protocol_info().map(ToString::to_string)).collect()
    }
}

impl<C: AsyncRead + AsyncWrite + Send + Unpin + 'static> InboundConnectionUpgrade<C> for Security {
    type Output = (PeerId, Secured<C>);
    type Error = HandshakeError;
    type Future = Handshake<C>;

    fn upgrade_inbound(self, socket: C, name: String) -> Self::Future {
        let is_tls = name == tls::PROTOCOL;
        let Self { tls, noise } = self;
        async move {
            if is_tls {
                let (peer, stream) = tls.accept(socket).await?;
                Ok((peer, Either::Left(stream)))
            } else {
                let name = noise.protocol_info().next().expect("Noise has one name");
                let (peer, stream) = noise.upgrade_inbound(socket, name).await?;
                Ok((peer, Either::Right(stream)))
            }
        }
        .boxed()
    }
}

impl<C: AsyncRead + AsyncWrite + Send + Unpin + 'static> OutboundConnectionUpgrade<C> for Security {
    type Output = (PeerId, Secured<C>);
    type Error = HandshakeError;
    type Future = Handshake<C>;

    fn upgrade_outbound(self, socket: C, name: String) -> Self::Future {
        let is_tls = name == tls::PROTOCOL;
        let Self { tls, noise } = self;
        async move {
            if is_tls {
                let (peer, stream) = tls.connect(socket).await?;
                Ok((peer, Either::Left(stream)))
            } else {
                let name = noise.protocol_info().next().expect("Noise has one name");
                let (peer, stream) = noise.upgrade_outbound(socket, name).await?;
                Ok((peer, Either::Right(stream)))
            }
        }
        .boxed()
    }
}
