//! TLS whose every octet follows from the seed: equal seeds make equal ciphertext.
//!
//! rustls takes its randomness and its key exchange from a provider. The one here draws both from the world that runs on
//! this thread, certificates are Ed25519 (signatures without randomness), nothing is resumed. So the record of what a
//! stream carried is, through the ciphertext, a record of the plaintext both ways.

use aws_lc_rs::agreement;
use core::cell::RefCell;
use core::fmt;
use futures_rustls::{TlsConnector, TlsStream};
use mox_machine::{Rng, Seed};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    ActiveKeyExchange, CryptoProvider, GetRandomFailed, SecureRandom, SharedSecret,
    SupportedKxGroup, aws_lc_rs as system, verify_tls12_signature, verify_tls13_signature,
};
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, NamedGroup, PeerMisbehaved, RootCertStore,
    ServerConfig, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use std::io;
use std::sync::Arc;

use crate::plaintext;
use crate::runtime::SimRuntime;
use crate::stream::SimStream;

thread_local! {
    /// Of the world that runs on this thread.
    static RANDOM: RefCell<Option<Rng>> = const { RefCell::new(None) };
}

/// While it lives, TLS on this thread draws from a world's seed.
pub(crate) struct Seeded(Option<Rng>);

impl Seeded {
    pub(crate) fn by(root: &Seed) -> Self {
        // Another provider may be there already: then that one is used, and its octets are not reproducible.
        let _ = provider().install_default();
        Self(RANDOM.replace(Some(root.child("tls", 0).rng())))
    }
}

impl Drop for Seeded {
    fn drop(&mut self) {
        RANDOM.set(self.0.take());
    }
}

/// What all TLS in a world is made of. Outside of worlds it draws from the system.
pub(crate) fn provider() -> CryptoProvider {
    CryptoProvider {
        secure_random: &WorldRandom,
        kx_groups: vec![&X25519],
        cipher_suites: plaintext::suites(),
        ..system::default_provider()
    }
}

#[derive(Debug)]
struct WorldRandom;

impl SecureRandom for WorldRandom {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), GetRandomFailed> {
        let drawn = RANDOM.with_borrow_mut(|random| random.as_mut().map(|rng| rng.fill(buffer)));
        match drawn {
            Some(()) => Ok(()),
            None => system::default_provider().secure_random.fill(buffer),
        }
    }
}

#[derive(Debug)]
struct X25519;

impl SupportedKxGroup for X25519 {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        let failed = || Error::General("X25519".to_owned());
        let mut private = [0; 32];
        WorldRandom.fill(&mut private)?;
        let private = agreement::PrivateKey::from_private_key(&agreement::X25519, &private)
            .map_err(|_| failed())?;
        let public = private.compute_public_key().map_err(|_| failed())?;
        Ok(Box::new(Exchange { private, public }))
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::X25519
    }
}

struct Exchange {
    private: agreement::PrivateKey,
    public: agreement::PublicKey,
}

impl ActiveKeyExchange for Exchange {
    fn complete(self: Box<Self>, peer: &[u8]) -> Result<SharedSecret, Error> {
        let refused = || Error::from(PeerMisbehaved::InvalidKeyShare);
        let peer = agreement::UnparsedPublicKey::new(&agreement::X25519, peer);
        agreement::agree(&self.private, peer, refused(), |secret| {
            Ok(SharedSecret::from(secret))
        })
    }

    fn pub_key(&self) -> &[u8] {
        self.public.as_ref()
    }

    fn group(&self) -> NamedGroup {
        NamedGroup::X25519
    }
}

impl SimRuntime {
    /// What a server on this computer presents: a certificate it made itself, for these names, valid for the whole of
    /// simulated time.
    ///
    /// # Panics
    /// If a name is none.
    pub fn server_tls(&self, names: &[&str]) -> Arc<ServerConfig> {
        self.certified(names, 2099).0
    }

    /// The same, with authorities that vouch for this certificate and no other.
    ///
    /// # Panics
    /// If a name is none.
    pub fn trusted_tls(&self, names: &[&str]) -> (Arc<ServerConfig>, RootCertStore) {
        self.certified(names, 2099)
    }

    /// The same, but the certificate ran out before the world began.
    ///
    /// # Panics
    /// If a name is none.
    pub fn expired_tls(&self, names: &[&str]) -> Arc<ServerConfig> {
        self.certified(names, 2025).0
    }

    #[expect(clippy::expect_used, reason = "a scenario names its servers rightly")]
    fn certified(&self, names: &[&str], until: i32) -> (Arc<ServerConfig>, RootCertStore) {
        use mox_driver::Runtime;
        let (chain, key) = certificate(&self.seed("certificate"), names, until)
            .expect("names of servers are names");
        let mut authorities = RootCertStore::empty();
        authorities.add_parsable_certificates(chain.iter().cloned());
        // The provider must be there before the configuration is made.
        let _ = provider().install_default();
        let config = mox_node::server_config(self, chain, key);
        (
            config.expect("a fresh certificate fits its key"),
            authorities,
        )
    }

    /// The client's side of a handshake that believes any certificate.
    ///
    /// # Errors
    /// What the handshake ended with.
    pub async fn secure(&self, stream: SimStream, name: &str) -> io::Result<TlsStream<SimStream>> {
        let provider = Arc::new(provider());
        let mut config = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
        let connected = TlsConnector::from(Arc::new(config)).connect(name, stream);
        connected.await.map(TlsStream::from)
    }
}

type Certified = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// An Ed25519 certificate that follows from a seed, valid until the end of a year.
fn certificate(seed: &Seed, names: &[&str], until: i32) -> Result<Certified, rcgen::Error> {
    /// PKCS #8 around a raw Ed25519 key (RFC 8410 7).
    const PKCS8: [u8; 16] = [
        0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20,
    ];
    let key = [&PKCS8[..], &seed.bytes()[..]].concat();
    let key = PrivatePkcs8KeyDer::from(key);
    let pair = rcgen::KeyPair::from_pkcs8_der_and_sign_algo(&key, &rcgen::PKCS_ED25519)?;
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = rcgen::CertificateParams::new(names)?;
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(until, 12, 31);
    params.serial_number = Some(rcgen::SerialNumber::from(1u64));
    let certificate = params.self_signed(&pair)?;
    Ok((vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(key)))
}

/// Believes every certificate whose key the peer holds.
struct Anybody(Arc<CryptoProvider>);

impl fmt::Debug for Anybody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Anybody")
    }
}

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
