//! Private keys of DKIM: made, read from PEM, and published.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mox_dkim::{Ed25519Key, KeyRecord, RsaKey, Sign};
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject;
use serde_json::json;

use crate::args::authentication::DkimTxt;
use crate::facts::{print, print_json};
use crate::failure::Failure;
use crate::files::read_at_most;

/// Octets of a key file at most.
const FILE_MAX: u64 = 1 << 20;
/// Octets of one string of a TXT record.
const STRING: usize = 255;

pub(crate) fn make_ed25519() -> Result<(), Failure> {
    let key = Ed25519Key::generate().and_then(|key| key.to_pkcs8());
    print_key(&key.map_err(|e| Failure::Failed(e.to_string()))?)
}

pub(crate) fn make_rsa() -> Result<(), Failure> {
    let key = RsaKey::generate().and_then(|key| key.to_pkcs8());
    print_key(&key.map_err(|e| Failure::Failed(e.to_string()))?)
}

/// PEM, RFC 7468.
fn print_key(pkcs8: &[u8]) -> Result<(), Failure> {
    let mut text = String::from("-----BEGIN PRIVATE KEY-----\n");
    for (n, letter) in STANDARD.encode(pkcs8).chars().enumerate() {
        if n > 0 && n % 64 == 0 {
            text.push('\n');
        }
        text.push(letter);
    }
    text.push_str("\n-----END PRIVATE KEY-----\n");
    print(text)
}

/// Reads a private key from a PEM file.
pub(crate) fn read(path: &Path) -> Result<Box<dyn Sign>, Failure> {
    let wrong = |why: &dyn core::fmt::Display| {
        Failure::Failed(format!(
            "{}: {why}; moxctl dkim genrsa and gened25519 make such keys, openssl pkcs8 -topk8 -nocrypt converts others",
            path.display()
        ))
    };
    let pem = read_at_most(path, FILE_MAX)?;
    let der = PrivatePkcs8KeyDer::from_pem_slice(&pem).map_err(|_| {
        wrong(&"it holds no private key; it should have -----BEGIN PRIVATE KEY-----")
    })?;
    let der = der.secret_pkcs8_der();
    if let Ok(key) = Ed25519Key::from_pkcs8(der) {
        return Ok(Box::new(key));
    }
    match RsaKey::from_pkcs8(der) {
        Ok(key) => Ok(Box::new(key)),
        Err(e) => Err(wrong(&e)),
    }
}

/// The record for a key on stdin.
pub(crate) fn print_record(txt: &DkimTxt) -> Result<(), Failure> {
    let key = read(Path::new("-"))?;
    let record = KeyRecord::of_key(key.public_key());
    let record = record.to_string();
    let name = KeyRecord::question(&txt.selector, &txt.domain).ok_or_else(|| {
        Failure::Usage(format!(
            "{:?} and {:?} make no domain name; write them like 2026a and example.org",
            txt.selector, txt.domain
        ))
    })?;
    let name = name.name();
    if txt.json {
        return print_json(&json!({ "name": name.to_string(), "record": record }));
    }
    // The record is ASCII without quotes.
    let strings = record.as_bytes().chunks(STRING).map(|string| {
        let string = String::from_utf8_lossy(string);
        format!(" \"{string}\"")
    });
    print(format!("{name}. TXT{}\n", strings.collect::<String>()))
}
