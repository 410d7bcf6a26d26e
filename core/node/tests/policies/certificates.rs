//! An authority, and certificates good and bad.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, PublicKeyData,
};
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// The one authority that is believed.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate, its key, and what was presented with it.
pub struct Certified {
    pub config: Arc<ServerConfig>,
    /// SHA-256 of its public key: `3 1 1`.
    pub key_hash: String,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(DnType::CommonName, "the authority");
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub fn believed(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        Arc::new(roots)
    }

    /// SHA-256 of the whole certificate: `2 0 1`.
    pub fn hash(&self) -> String {
        hex(&Sha256::digest(self.0.der()))
    }

    /// A certificate by this authority, presented with the authority's own.
    pub fn sign(&self, names: Vec<String>, until: i32) -> Certified {
        let key = KeyPair::generate().unwrap();
        let leaf = params(names, until).signed_by(&key, &self.0).unwrap();
        certified(vec![leaf.der().clone(), self.0.der().clone()], &key)
    }
}

/// A certificate by nobody.
pub fn self_signed(names: Vec<String>) -> Certified {
    let key = KeyPair::generate().unwrap();
    let leaf = params(names, 2096).self_signed(&key).unwrap();
    certified(vec![leaf.der().clone()], &key)
}

fn params(names: Vec<String>, until: i32) -> CertificateParams {
    let mut params = CertificateParams::new(names).unwrap();
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(until, 12, 31);
    params
}

fn certified(chain: Vec<CertificateDer<'static>>, key: &KeyPair) -> Certified {
    let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, der)
        .unwrap();
    Certified {
        config: Arc::new(config),
        key_hash: hex(&Sha256::digest(key.subject_public_key_info())),
    }
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|b| format!("{b:02x}")).collect()
}
