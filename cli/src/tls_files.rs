//! Certificates and keys in PEM files: those of the administrator, and one of our own making.

use core::fmt;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use mox_machine::Utc;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::files;

/// Octets of a PEM file at most.
const FILE_MAX: u64 = 1024 * 1024;
/// Years a certificate of ours is valid.
const YEARS: i32 = 10;

/// A certificate chain, the server's own first, and its key.
#[derive(Debug)]
pub struct Loaded {
    /// The chain.
    pub chain: Vec<CertificateDer<'static>>,
    /// The key. Its `Debug` form hides it.
    pub key: PrivateKeyDer<'static>,
}

/// Why a certificate or key could not be had: which file, what is wrong, what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFileError {
    /// The file.
    pub file: PathBuf,
    /// What is wrong with it, and the remedy.
    pub what: String,
}

impl fmt::Display for TlsFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file.display(), self.what)
    }
}

impl std::error::Error for TlsFileError {}

/// Reads a chain and a key: PKCS#8, PKCS#1 or SEC1. Blocks.
pub fn load(certificate: &Path, key: &Path) -> Result<Loaded, TlsFileError> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&read(certificate)?)
        .collect::<Result<_, _>>()
        .map_err(|e| error(certificate, format!("no PEM: {}", pem_error(&e))))?;
    if chain.is_empty() {
        return Err(error(
            certificate,
            "it holds no certificate; it should have -----BEGIN CERTIFICATE-----",
        ));
    }
    let key_der = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|e| match e {
        pem::Error::NoItemsFound => {
            error(key, "it holds no private key; it should have -----BEGIN PRIVATE KEY-----, without a passphrase")
        }
        e => error(key, format!("no PEM: {}", pem_error(&e))),
    })?;
    Ok(Loaded {
        chain,
        key: key_der,
    })
}

/// The self-signed P-256 certificate for these names and addresses, kept in `dir` (mode 0600) under the first of
/// them; made when it is not there. The key stays, so that clients that trusted it once need not again. Blocks.
pub fn self_signed(dir: &Path, names: &[String], now: Utc) -> Result<Loaded, TlsFileError> {
    let first = names.first().map_or("localhost", String::as_str);
    let certificate = dir.join(format!("{first}.certificate.pem"));
    let key = dir.join(format!("{first}.key.pem"));
    if certificate.exists() && key.exists() {
        return load(&certificate, &key);
    }
    let made = make(names, first, now);
    let (certificate_pem, key_pem) =
        made.map_err(|e| error(&certificate, format!("it cannot be made: {e}")))?;
    crate::offline::make_private_dir(dir).map_err(|e| error(dir, e.to_string()))?;
    for (path, content) in [(&key, &key_pem), (&certificate, &certificate_pem)] {
        // One without the other is of no use: a start that was cut off in between.
        let _ = fs::remove_file(path);
        files::create_new(path, content.as_bytes(), 0o600)
            .map_err(|e| error(path, format!("it cannot be written: {e}")))?;
    }
    load(&certificate, &key)
}

fn make(names: &[String], first: &str, now: Utc) -> Result<(String, String), rcgen::Error> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut params = CertificateParams::new(names)?;
    let today = now.civil();
    // A year back, for clients whose clocks are wrong; the first of a month exists in every year.
    params.not_before = rcgen::date_time_ymd(today.year - 1, today.month, 1);
    params.not_after = rcgen::date_time_ymd(today.year + YEARS, today.month, 1);
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, first);
    let certificate = params.self_signed(&key)?;
    Ok((certificate.pem(), key.serialize_pem()))
}

fn read(path: &Path) -> Result<Vec<u8>, TlsFileError> {
    let unreadable = |e: std::io::Error| match e.kind() {
        ErrorKind::NotFound => error(
            path,
            "there is no such file; paths are relative to the folder of mox.ron",
        ),
        ErrorKind::PermissionDenied => error(
            path,
            "it may not be read by this user; change its owner or mode",
        ),
        _ => error(path, format!("it cannot be read: {e}")),
    };
    let length = fs::metadata(path).map_err(unreadable)?.len();
    if length > FILE_MAX {
        return Err(error(
            path,
            format!("it has {length} bytes; certificates and keys have at most {FILE_MAX}"),
        ));
    }
    fs::read(path).map_err(unreadable)
}

fn error(file: &Path, what: impl Into<String>) -> TlsFileError {
    TlsFileError {
        file: file.to_owned(),
        what: what.into(),
    }
}

/// Without what stood in the file: it may be part of a key.
fn pem_error(e: &pem::Error) -> &'static str {
    match e {
        pem::Error::MissingSectionEnd { .. } => "the end line is missing; was the file cut off?",
        pem::Error::IllegalSectionStart { .. } => "its first line is damaged",
        pem::Error::Base64Decode(_) => "its base64 is damaged",
        _ => "it cannot be read",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn a_self_signed_certificate_is_made_once_kept_secret_and_loaded_again() {
        let dir = std::env::temp_dir().join(format!("mox-tls-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        let names = ["localhost".into(), "127.0.0.1".into(), "::1".into()];
        let now = Utc::from_secs(1_764_000_000);
        let first = self_signed(&dir, &names, now).unwrap();
        let again = self_signed(&dir, &names, now).unwrap();
        assert_eq!(first.chain, again.chain);
        assert_eq!(first.key, again.key);
        for file in fs::read_dir(&dir).unwrap() {
            assert_eq!(file.unwrap().metadata().unwrap().mode() & 0o777, 0o600);
        }
        assert_eq!(fs::metadata(&dir).unwrap().mode() & 0o777, 0o700);
        let (certificate, key) = (
            dir.join("localhost.certificate.pem"),
            dir.join("localhost.key.pem"),
        );
        let wrong = |c: &Path, k: &Path| {
            load(c, k)
                .unwrap_err()
                .to_string()
                .replace(dir.to_str().unwrap(), "DIR")
        };
        assert_eq!(
            wrong(&key, &certificate),
            "DIR/localhost.key.pem: it holds no certificate; it should have -----BEGIN CERTIFICATE-----"
        );
        assert_eq!(
            wrong(&certificate, &certificate),
            "DIR/localhost.certificate.pem: it holds no private key; it should have -----BEGIN PRIVATE KEY-----, without a passphrase"
        );
        assert_eq!(
            wrong(&dir.join("none"), &key),
            "DIR/none: there is no such file; paths are relative to the folder of mox.ron"
        );
        let text = fs::read_to_string(&key).unwrap();
        fs::write(dir.join("cut"), &text[..text.len() / 2]).unwrap();
        assert_eq!(
            wrong(&certificate, &dir.join("cut")),
            "DIR/cut: no PEM: the end line is missing; was the file cut off?"
        );
        fs::remove_dir_all(dir).unwrap();
    }
}
