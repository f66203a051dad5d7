//! Yamux as libp2p agrees on it.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::iter::{Once, once};

use futures::{AsyncRead, AsyncWrite};
use libp2p::core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade, UpgradeInfo};

use super::muxer::Muxer;
use super::session::Side;
use super::settings::YamuxSettings;

/// The name of the protocol.
const PROTOCOL: &str = "/yamux/1.0.0";

/// Makes a secured connection a [`Muxer`].
#[derive(Clone, Debug, Default)]
pub struct Upgrade(YamuxSettings);

impl Upgrade {
    /// With these settings for each connection.
    pub fn new(settings: YamuxSettings) -> Self {
        Self(settings)
    }
}

impl UpgradeInfo for Upgrade {
    type Info = &'static str;
    type InfoIter = Once<Self::Info>;

    fn protocol_info(&self) -> Self::InfoIter {
        once(PROTOCOL)
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> InboundConnectionUpgrade<C> for Upgrade {
    type Output = Muxer<C>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Self::Error>>;

    fn upgrade_inbound(self, connection: C, _: Self::Info) -> Self::Future {
        ready(Ok(Muxer::new(connection, Side::Server, self.0)))
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> OutboundConnectionUpgrade<C> for Upgrade {
    type Output = Muxer<C>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Self::Error>>;

    fn upgrade_outbound(self, connection: C, _: Self::Info) -> Self::Future {
        ready(Ok(Muxer::new(connection, Side::Client, self.0)))
    }
}
