//! TLS or Noise, whichever the other end has, TLS preferred (libp2p specs, "tls" and "noise").

use std::future::Future;
use std::pin::Pin;

use futures::future::Either;
use futures::{AsyncRead, AsyncWrite, FutureExt as _};
use libp2p::core::UpgradeInfo;
use libp2p::core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade};
use libp2p::identity::Keypair;
use libp2p::{PeerId, noise, tls};

/// The two, in order of preference.
#[derive(Clone)]
pub(super) struct Security {
    tls: tls::Config,
    noise: noise::Config,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub(super) enum SecurityError {
    #[error("no certificate can be made for TLS")]
    Certificate(#[from] tls::certificate::GenError),
    #[error("no key can be made for Noise")]
    Key(#[from] noise::Error),
}

/// Why a handshake failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum HandshakeError {
    #[error("TLS: {0}")]
    Tls(#[from] tls::UpgradeError),
    #[error("Noise: {0}")]
    Noise(#[from] noise::Error),
}

type Secured<C> = Either<tls::TlsStream<C>, noise::Output<C>>;
type Handshake<C> = Pin<Box<dyn Future<Output = Result<(PeerId, Secured<C>), HandshakeError>> + Send>>;

impl Security {
    pub(super) fn new(keypair: &Keypair) -> Result<Self, SecurityError> {
        Ok(Self { tls: tls::Config::new(keypair)?, noise: noise::Config::new(keypair)? })
    }

    fn is_tls(&self, name: &str) -> bool {
        self.tls.protocol_info().any(|tls| tls == name)
    }
}

impl UpgradeInfo for Security {
    type Info = String;
    type InfoIter = Vec<String>;

    fn protocol_info(&self) -> Vec<String> {
        let tls = self.tls.protocol_info().map(ToString::to_string);
        tls.chain(self.noise.protocol_info().map(ToString::to_string)).collect()
    }
}

impl<C: AsyncRead + AsyncWrite + Send + Unpin + 'static> InboundConnectionUpgrade<C> for Security {
    type Output = (PeerId, Secured<C>);
    type Error = HandshakeError;
    type Future = Handshake<C>;

    fn upgrade_inbound(self, socket: C, name: String) -> Self::Future {
        let is_tls = self.is_tls(&name);
        let Self { tls, noise } = self;
        async move {
            if is_tls {
                let name = tls.protocol_info().next().expect("TLS has one name");
                let (peer, stream) = tls.upgrade_inbound(socket, name).await?;
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
        let is_tls = self.is_tls(&name);
        let Self { tls, noise } = self;
        async move {
            if is_tls {
                let name = tls.protocol_info().next().expect("TLS has one name");
                let (peer, stream) = tls.upgrade_outbound(socket, name).await?;
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
