//! TLS 1.3 between nodes (libp2p specs, "tls"): the certificate says who somebody is.
//!
//! As libp2p's own, whose certificates these are, but for the order of ciphers. That one prefers `ChaCha20`
//! everywhere, which takes several times as long as AES does on a processor with instructions for AES.

mod verifier;

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use futures::{AsyncRead, AsyncWrite};
use futures_rustls::{TlsAcceptor, TlsConnector, TlsStream};
use libp2p::PeerId;
use libp2p::identity::Keypair;
use libp2p::tls::certificate;
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, ServerConfig, SupportedCipherSuite};

use verifier::Verifier;

/// The name under which it is agreed upon.
pub(crate) const PROTOCOL: &str = "/tls/1.0.0";
/// What is spoken inside (ALPN).
const INSIDE: &[u8] = b"libp2p";

/// Both sides of it, with one certificate.
#[derive(Clone, Debug)]
pub(crate) struct Tls {
    pub(crate) client: Arc<ClientConfig>,
    pub(crate) server: Arc<ServerConfig>,
}

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[error("no certificate can be made")]
    Make(#[from] certificate::GenError),
    #[error("what was made for it cannot be used: {0}")]
    Configure(#[from] rustls::Error),
    #[error(transparent)]
    Handshake(#[from] io::Error),
    #[error("the other end has shown no certificate")]
    NoCertificate,
    #[error("the other end's certificate says not who it is: {0}")]
    Certificate(#[from] certificate::ParseError),
}

impl Tls {
    /// With a certificate that this key vouches for.
    ///
    /// # Errors
    /// It cannot be made.
    pub(crate) fn new(keypair: &Keypair) -> Result<Self, TlsError> {
        let provider = Arc::new(provider());
        let (certificate, key) = certificate::generate(keypair)?;
        let key = provider.key_provider.load_private_key(key)?;
        let certified = SingleCertAndKey::from(CertifiedKey::new(vec![certificate], key));
        let certified = Arc::new(certified);
        let mut client = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Verifier))
            .with_client_cert_resolver(Arc::clone(&certified) as _);
        client.alpn_protocols = vec![INSIDE.to_vec()];
        // Peers go by the same name here, so that a session would be offered to another than it was made with.
        client.resumption = Resumption::disabled();
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(Arc::new(Verifier))
            .with_cert_resolver(certified);
        server.alpn_protocols = vec![INSIDE.to_vec()];
        server.send_tls13_tickets = 0;
        Ok(Self { client: Arc::new(client), server: Arc::new(server) })
    }

    /// Secures a connection that this node has made, and says who is at the other end.
    ///
    /// # Errors
    /// There is no TLS at the other end, or nobody who says who they are.
    pub(crate) async fn connect<C>(self, socket: C) -> Result<(PeerId, TlsStream<C>), TlsError>
    where
        C: AsyncRead + AsyncWrite + Unpin,
    {
        // An address is no name to send (SNI), and the specification wants none sent.
        let nobody = ServerName::from(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let stream = TlsConnector::from(self.client).connect(nobody, socket).await?;
        let peer = peer_id(stream.get_ref().1.peer_certificates())?;
        Ok((peer, stream.into()))
    }

    /// The same for a connection that the other end has made.
    ///
    /// # Errors
    /// As of [`Self::connect`].
    pub(crate) async fn accept<C>(self, socket: C) -> Result<(PeerId, TlsStream<C>), TlsError>
    where
        C: AsyncRead + AsyncWrite + Unpin,
    {
        let stream = TlsAcceptor::from(self.server).accept(socket).await?;
        let peer = peer_id(stream.get_ref().1.peer_certificates())?;
        Ok((peer, stream.into()))
    }
}

/// Who has shown these certificates, which were verified in the handshake.
///
/// # Errors
/// There is none, or it does not say.
pub(crate) fn peer_id(certificates: Option<&[CertificateDer<'_>]>) -> Result<PeerId, TlsError> {
    let certificate = certificates.and_then(<[_]>::first).ok_or(TlsError::NoCertificate)?;
    Ok(certificate::parse(certificate)?.peer_id())
}

/// rustls' own, with the ciphers of TLS 1.3 in the order that this machine is fastest with.
fn provider() -> CryptoProvider {
    CryptoProvider { cipher_suites: ciphers(has_aes()), ..default_provider() }
}

fn ciphers(has_aes: bool) -> Vec<SupportedCipherSuite> {
    let aes = [cipher_suite::TLS13_AES_128_GCM_SHA256, cipher_suite::TLS13_AES_256_GCM_SHA384];
    let chacha = [cipher_suite::TLS13_CHACHA20_POLY1305_SHA256];
    if has_aes { [&aes[..], &chacha].concat() } else { [&chacha[..], &aes].concat() }
}

/// Whether the processor has instructions for AES, and for the multiplication that GCM is made of.
fn has_aes() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("aes") && std::arch::is_x86_feature_detected!("pclmulqdq");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("aes")
        && std::arch::is_aarch64_feature_detected!("pmull");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    return false;
}

#[cfg(test)]
mod tests {
    use libp2p::core::upgrade::{InboundConnectionUpgrade as _, OutboundConnectionUpgrade as _};
    use rustls::CipherSuite;
    use tokio::net::{TcpListener, TcpStream};
    use tokio_util::compat::{Compat, TokioAsyncReadCompatExt as _};

    use super::*;

    type Socket = Compat<TcpStream>;

    async fn pair() -> (Socket, Socket) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let dialled = TcpStream::connect(listener.local_addr().expect("bound")).await.expect("it listens");
        (dialled.compat(), listener.accept().await.expect("a connection").0.compat())
    }

    fn identity() -> (PeerId, Tls, libp2p::tls::Config) {
        let keypair = Keypair::generate_ed25519();
        let stock = libp2p::tls::Config::new(&keypair).expect("a certificate");
        (keypair.public().to_peer_id(), Tls::new(&keypair).expect("a certificate"), stock)
    }

    fn cipher(stream: &TlsStream<Socket>) -> CipherSuite {
        stream.get_ref().1.negotiated_cipher_suite().expect("it is done").suite()
    }

    #[tokio::test]
    async fn each_learns_who_the_other_is_and_the_cipher_is_the_machines_own() {
        let ((one, ours, _), (other, theirs, _)) = (identity(), identity());
        let (dialled, accepted) = pair().await;
        let (there, here) = tokio::join!(ours.connect(dialled), theirs.accept(accepted));
        let (there, here) = (there.expect("it answers"), here.expect("it asks"));
        assert_eq!((there.0, here.0), (other, one));
        assert_eq!(cipher(&there.1), ciphers(has_aes())[0].suite());
    }

    #[tokio::test]
    async fn libp2ps_own_is_understood_both_ways() {
        let ((one, ours, _), (other, _, stock)) = (identity(), identity());
        let (dialled, accepted) = pair().await;
        let stock_accepts = stock.clone().upgrade_inbound(accepted, PROTOCOL);
        let (there, here) = tokio::join!(ours.clone().connect(dialled), stock_accepts);
        assert_eq!((there.expect("it answers").0, here.expect("it asks").0), (other, one));

        let (dialled, accepted) = pair().await;
        let (there, here) = tokio::join!(stock.upgrade_outbound(dialled, PROTOCOL), ours.accept(accepted));
        assert_eq!((there.expect("it answers").0, here.expect("it asks").0), (one, other));
    }

    #[tokio::test]
    async fn who_shows_no_certificate_of_libp2p_is_nobody() {
        let (_, ours, _) = identity();
        let mut bare = ClientConfig::builder_with_provider(Arc::new(provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("there are ciphers")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Verifier))
            .with_no_client_auth();
        bare.alpn_protocols = vec![INSIDE.to_vec()];
        let (dialled, accepted) = pair().await;
        let nobody = Tls { client: Arc::new(bare), server: Arc::clone(&ours.server) };
        let (_, here) = tokio::join!(nobody.connect(dialled), ours.accept(accepted));
        here.expect_err("nobody is there");
    }

    #[test]
    fn chacha_is_for_processors_without_aes() {
        assert_eq!(ciphers(false)[0].suite(), CipherSuite::TLS13_CHACHA20_POLY1305_SHA256);
        assert_eq!(ciphers(true)[0].suite(), CipherSuite::TLS13_AES_128_GCM_SHA256);
        assert_eq!(ciphers(true).len(), ciphers(false).len());
    }
}
