//! Agreeing upon a stream's protocol (multistream-select 1.0), with several names in one negotiation.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::iter::Copied;
use std::slice;
use std::sync::Arc;

use libp2p::Stream;
use libp2p::core::UpgradeInfo;
use libp2p::core::upgrade::{InboundUpgrade, OutboundUpgrade};

/// A stream and its protocol.
pub(crate) type Negotiated = (Stream, &'static str);

/// The protocols that we accept. Cheap to clone: libp2p asks for them at every turn.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names(Arc<[&'static str]>);

impl Names {
    pub(crate) fn new(names: Vec<&'static str>) -> Self {
        Self(names.into())
    }
}

/// The names one after the other.
#[derive(Debug)]
pub(crate) struct NamesIter {
    names: Names,
    next: usize,
}

impl Iterator for NamesIter {
    type Item = &'static str;

    fn next(&mut self) -> Option<Self::Item> {
        let name = self.names.0.get(self.next).copied();
        self.next += 1;
        name
    }
}

impl UpgradeInfo for Names {
    type Info = &'static str;
    type InfoIter = NamesIter;

    fn protocol_info(&self) -> Self::InfoIter {
        NamesIter { names: self.clone(), next: 0 }
    }
}

impl InboundUpgrade<Stream> for Names {
    type Output = Negotiated;
    type Error = Infallible;
    type Future = Ready<Result<Negotiated, Infallible>>;

    fn upgrade_inbound(self, stream: Stream, name: &'static str) -> Self::Future {
        ready(Ok((stream, name)))
    }
}

/// The protocols that are asked for, the preferred first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Offer(pub(crate) &'static [&'static str]);

impl UpgradeInfo for Offer {
    type Info = &'static str;
    type InfoIter = Copied<slice::Iter<'static, &'static str>>;

    fn protocol_info(&self) -> Self::InfoIter {
        self.0.iter().copied()
    }
}

impl OutboundUpgrade<Stream> for Offer {
    type Output = Negotiated;
    type Error = Infallible;
    type Future = Ready<Result<Negotiated, Infallible>>;

    fn upgrade_outbound(self, stream: Stream, name: &'static str) -> Self::Future {
        ready(Ok((stream, name)))
    }
}
