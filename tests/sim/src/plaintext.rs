//! What goes through TLS, in clear: the cipher suite of all simulated TLS tells the record what it encrypts and decrypts.
//!
//! A key is made right after the octets were read that agreed on it, so whose connection it belongs to is known from what
//! was read last on this thread.

use core::cell::{Cell, RefCell};
use rustls::crypto::CipherSuiteCommon;
use rustls::crypto::aws_lc_rs as system;
use rustls::crypto::cipher::{
    AeadKey, InboundOpaqueMessage, InboundPlainMessage, Iv, MessageDecrypter, MessageEncrypter,
    OutboundOpaqueMessage, OutboundPlainMessage, Tls13AeadAlgorithm, UnsupportedOperationError,
};
use rustls::{
    ConnectionTrafficSecrets, ContentType, Error, SupportedCipherSuite, Tls13CipherSuite,
};
use std::sync::LazyLock;

use crate::sim::Sim;

thread_local! {
    /// The way that was read from last.
    static READ: Cell<u64> = const { Cell::new(0) };
    /// The world that runs on this thread.
    static SIM: RefCell<Option<Sim>> = const { RefCell::new(None) };
}

/// While it lives, TLS on this thread tells a world what goes through it.
pub(crate) struct Told(Option<Sim>);

impl Told {
    pub(crate) fn to(sim: &Sim) -> Self {
        Self(SIM.replace(Some(sim.clone())))
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        SIM.set(self.0.take());
    }
}

/// Somebody reads from a way.
pub(crate) fn reading(way: u64) {
    READ.set(way);
}

/// The one cipher suite there is.
pub(crate) fn suites() -> Vec<SupportedCipherSuite> {
    vec![SupportedCipherSuite::Tls13(&SUITE)]
}

static SUITE: LazyLock<Tls13CipherSuite> = LazyLock::new(|| Tls13CipherSuite {
    common: CipherSuiteCommon {
        suite: inner().common.suite,
        hash_provider: inner().common.hash_provider,
        confidentiality_limit: inner().common.confidentiality_limit,
    },
    hkdf_provider: inner().hkdf_provider,
    aead_alg: &Telling,
    quic: None,
});

#[expect(clippy::expect_used, reason = "its name says so")]
fn inner() -> &'static Tls13CipherSuite {
    let suite = system::cipher_suite::TLS13_AES_128_GCM_SHA256.tls13();
    suite.expect("a suite of TLS 1.3")
}

fn tell(kind: &'static str, way: u64, bytes: &[u8]) {
    let sim = SIM.with_borrow(Clone::clone);
    if let Some(sim) = sim {
        sim.fact(kind, way, bytes);
    }
}

struct Telling;

impl Tls13AeadAlgorithm for Telling {
    fn encrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageEncrypter> {
        Box::new(Encrypter {
            inner: inner().aead_alg.encrypter(key, iv),
            // The way back.
            way: READ.get() ^ 1,
        })
    }

    fn decrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageDecrypter> {
        Box::new(Decrypter {
            inner: inner().aead_alg.decrypter(key, iv),
            way: READ.get(),
        })
    }

    fn key_len(&self) -> usize {
        inner().aead_alg.key_len()
    }

    fn extract_keys(
        &self,
        key: AeadKey,
        iv: Iv,
    ) -> Result<ConnectionTrafficSecrets, UnsupportedOperationError> {
        inner().aead_alg.extract_keys(key, iv)
    }
}

struct Encrypter {
    inner: Box<dyn MessageEncrypter>,
    way: u64,
}

impl MessageEncrypter for Encrypter {
    fn encrypt(
        &mut self,
        message: OutboundPlainMessage<'_>,
        number: u64,
    ) -> Result<OutboundOpaqueMessage, Error> {
        if message.typ == ContentType::ApplicationData {
            tell("plain write", self.way, &message.payload.to_vec());
        }
        self.inner.encrypt(message, number)
    }

    fn encrypted_payload_len(&self, length: usize) -> usize {
        self.inner.encrypted_payload_len(length)
    }
}

struct Decrypter {
    inner: Box<dyn MessageDecrypter>,
    way: u64,
}

impl MessageDecrypter for Decrypter {
    fn decrypt<'a>(
        &mut self,
        message: InboundOpaqueMessage<'a>,
        number: u64,
    ) -> Result<InboundPlainMessage<'a>, Error> {
        let plain = self.inner.decrypt(message, number)?;
        if plain.typ == ContentType::ApplicationData {
            tell("plain read", self.way, plain.payload);
        }
        Ok(plain)
    }
}
