//! What a server presented in a handshake: taken apart for the policies that say who it has to be.

use core::fmt;
use mox_tls_policy::{Certificate, Peer, WebPkiProblem};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::{CertificateError, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::sync::{Arc, Mutex, PoisonError};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;

/// Certificates of a chain that are looked at. Real chains have two or three.
const CHAIN_MAX: usize = 10;
/// Names of a certificate that are looked at.
const NAMES_MAX: usize = 1_000;

/// Lets any certificate through, and keeps it: whether it is good enough is decided behind the handshake, where there are more
/// than the public authorities to say so. The peer proves that it holds its key all the same.
pub(crate) struct Inspector {
    provider: Arc<CryptoProvider>,
    seen: Mutex<Option<Presented>>,
}

/// What a peer presented, asked for a name.
#[derive(Debug, Clone)]
pub(crate) struct Presented {
    chain: Vec<CertificateDer<'static>>,
    name: ServerName<'static>,
    now: UnixTime,
}

impl Inspector {
    /// For one handshake.
    pub(crate) fn new(provider: Arc<CryptoProvider>) -> Self {
        Self {
            provider,
            seen: Mutex::new(None),
        }
    }

    /// What the peer presented; nothing before the handshake.
    pub(crate) fn presented(&self) -> Option<Presented> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.clone()
    }
}

impl Presented {
    /// Hands what is known of the peer to `judge`; these public authorities are believed.
    pub(crate) fn with_peer<T>(
        &self,
        provider: &Arc<CryptoProvider>,
        authorities: &Arc<RootCertStore>,
        judge: impl FnOnce(&Peer<'_>) -> T,
    ) -> T {
        let parsed: Vec<Option<X509Certificate<'_>>> = self
            .chain
            .iter()
            .map(|der| Some(X509Certificate::from_der(der).ok()?.1))
            .collect();
        let chain: Vec<Certificate<'_>> = self
            .chain
            .iter()
            .zip(&parsed)
            .map(|(der, parsed)| Certificate {
                der,
                public_key: parsed
                    .as_ref()
                    .map_or(&[], |c| c.tbs_certificate.subject_pki.raw),
            })
            .collect();
        let own = self.chain.first();
        let own = own.and_then(|own| EndEntityCert::try_from(own).ok());
        let names: Vec<&[u8]> = own
            .iter()
            .flat_map(|own| own.valid_dns_names())
            .take(NAMES_MAX)
            .map(str::as_bytes)
            .collect();
        judge(&Peer {
            chain: &chain,
            linked: self.linked(&parsed, provider),
            names: &names,
            webpki: self.vouched_for(provider, authorities),
        })
    }

    /// Whether one of the authorities vouches for the first certificate and the name. Nobody does where none is believed.
    fn vouched_for(
        &self,
        provider: &Arc<CryptoProvider>,
        authorities: &Arc<RootCertStore>,
    ) -> Result<(), WebPkiProblem> {
        let (own, others) = self.chain.split_first().ok_or(WebPkiProblem::Other)?;
        WebPkiServerVerifier::builder_with_provider(authorities.clone(), provider.clone())
            .build()
            .map_err(|_| WebPkiProblem::NotTrusted)?
            .verify_server_cert(own, others, &self.name, &[], self.now)
            .map(|_| ())
            .map_err(|error| problem(&error))
    }

    /// How many certificates hang together: see [`Peer::linked`].
    fn linked(&self, parsed: &[Option<X509Certificate<'_>>], provider: &CryptoProvider) -> usize {
        let (Some(own), Ok(now)) = (
            self.chain.first(),
            ASN1Time::from_timestamp(i64::try_from(self.now.as_secs()).unwrap_or(i64::MAX)),
        ) else {
            return 0;
        };
        let in_time = |certificate: Option<&Option<X509Certificate<'_>>>| {
            let certificate = certificate.and_then(Option::as_ref);
            certificate.is_some_and(|c| c.validity().is_valid_at(now))
        };
        if !in_time(parsed.first()) {
            return 0;
        }
        let Ok(own) = EndEntityCert::try_from(own) else {
            return 1;
        };
        // Each in turn as the one that is trusted: the others must lead to it.
        let reaches = |anchor: usize| {
            let between = self.chain.get(1..anchor).unwrap_or_default();
            let anchor = self.chain.get(anchor);
            let anchor = anchor.and_then(|der| anchor_from_trusted_cert(der).ok());
            anchor.is_some_and(|anchor| {
                own.verify_for_usage(
                    provider.signature_verification_algorithms.all,
                    &[anchor],
                    between,
                    self.now,
                    KeyUsage::server_auth(),
                    None,
                    None,
                )
                .is_ok()
            })
        };
        let may_sign = |certificate: Option<&Option<X509Certificate<'_>>>| {
            certificate
                .and_then(Option::as_ref)
                .is_some_and(|c| c.is_ca())
        };
        1 + (1..self.chain.len())
            .take_while(|&n| in_time(parsed.get(n)) && may_sign(parsed.get(n)) && reaches(n))
            .count()
    }
}

impl fmt::Debug for Inspector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Inspector")
    }
}

impl ServerCertVerifier for Inspector {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let chain = core::iter::once(end_entity).chain(intermediates);
        let presented = Presented {
            chain: chain
                .take(CHAIN_MAX)
                .map(|c| c.clone().into_owned())
                .collect(),
            name: name.to_owned(),
            now,
        };
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(presented);
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

fn problem(error: &rustls::Error) -> WebPkiProblem {
    match error {
        rustls::Error::InvalidCertificate(why) => match why {
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                WebPkiProblem::Name
            }
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => WebPkiProblem::Expired,
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                WebPkiProblem::NotTrusted
            }
            _ => WebPkiProblem::Other,
        },
        _ => WebPkiProblem::Other,
    }
}
