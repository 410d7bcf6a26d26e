//! Private keys of DKIM: made, read from PEM, and published.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mox_dkim::{Ed25519Key, KeyError, KeyRecord, RsaKey, Sign};
use mox_server::DnsData;
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject;
use serde_json::json;

use crate::args::authentication::DkimTxt;
use crate::facts::{domain_name, print, print_json};
use crate::failure::Failure;
use crate::files::read_at_most;

/// Octets of a key file at most.
const FILE_MAX: u64 = 1 << 20;
/// What to do about a file that holds no key, or one in another form.
const CONVERT: &str = "moxctl dkim genrsa and gened25519 make such keys, openssl pkcs8 -topk8 -nocrypt converts others";

/// A new Ed25519 key, as PEM.
pub(crate) fn make_ed25519() -> Result<String, Failure> {
    let key = Ed25519Key::generate().and_then(|key| key.to_pkcs8());
    Ok(pem(&key.map_err(|e| Failure::Failed(e.to_string()))?))
}

/// A new RSA key, as PEM.
pub(crate) fn make_rsa() -> Result<String, Failure> {
    let key = RsaKey::generate().and_then(|key| key.to_pkcs8());
    Ok(pem(&key.map_err(|e| Failure::Failed(e.to_string()))?))
}

/// PEM, RFC 7468.
fn pem(pkcs8: &[u8]) -> String {
    let mut text = String::from("-----BEGIN PRIVATE KEY-----\n");
    for (n, letter) in STANDARD.encode(pkcs8).chars().enumerate() {
        if n > 0 && n % 64 == 0 {
            text.push('\n');
        }
        text.push(letter);
    }
    text.push_str("\n-----END PRIVATE KEY-----\n");
    text
}

/// Why a file gives no key that signs: what is wrong, and the remedy.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unusable {
    pub(crate) what: String,
    pub(crate) remedy: String,
}

/// Reads a private key from a PEM file.
pub(crate) fn read(path: &Path) -> Result<Arc<dyn Sign>, Failure> {
    let pem = read_at_most(path, FILE_MAX)?;
    parse(&pem).map_err(|Unusable { what, remedy }| {
        Failure::Failed(format!("{}: {what}; {remedy}", path.display()))
    })
}

/// Reads a private key that the server signs with: of a file that is not for everybody's eyes.
pub(crate) fn load(path: &Path) -> Result<Arc<dyn Sign>, Unusable> {
    let unusable = |what: String, remedy: &str| Unusable {
        what,
        remedy: remedy.into(),
    };
    let mode = match fs::metadata(path) {
        Ok(found) if found.is_file() => found.mode(),
        Ok(_) => {
            let what = format!("{} is no file", path.display());
            return Err(unusable(what, "name the file of a private key"));
        }
        Err(e) if e.kind() == ErrorKind::NotFound => {
            return Err(unusable(
                format!("there is no file {}", path.display()),
                "correct the name, or make a key with moxctl dkim gened25519 or genrsa",
            ));
        }
        Err(e) => {
            let what = format!("{} cannot be read: {e}", path.display());
            return Err(unusable(what, "give it to the user of the server"));
        }
    };
    if mode & 0o007 != 0 {
        return Err(unusable(
            format!("everybody on this machine may use {}", path.display()),
            &format!("run: chmod 600 {}", path.display()),
        ));
    }
    let pem = read_at_most(path, FILE_MAX);
    let pem = pem.map_err(|e| unusable(e.to_string(), "give it to the user of the server"))?;
    parse(&pem).map_err(|Unusable { what, remedy }| {
        unusable(format!("{}: {what}", path.display()), &remedy)
    })
}

fn parse(pem: &[u8]) -> Result<Arc<dyn Sign>, Unusable> {
    let unusable = |what: &dyn core::fmt::Display, remedy: &str| Unusable {
        what: what.to_string(),
        remedy: remedy.into(),
    };
    let der = PrivatePkcs8KeyDer::from_pem_slice(pem).map_err(|_| {
        unusable(
            &"it holds no private key; it should have -----BEGIN PRIVATE KEY-----",
            CONVERT,
        )
    })?;
    let der = der.secret_pkcs8_der();
    if let Ok(key) = Ed25519Key::from_pkcs8(der) {
        return Ok(Arc::new(key));
    }
    match RsaKey::from_pkcs8(der) {
        Ok(key) => Ok(Arc::new(key)),
        Err(e @ KeyError::TooShort) => {
            Err(unusable(&e, "make a longer one with moxctl dkim genrsa"))
        }
        Err(e) => Err(unusable(&e, CONVERT)),
    }
}

/// The record for a key on stdin.
pub(crate) fn print_record(txt: &DkimTxt) -> Result<(), Failure> {
    let key = read(Path::new("-"))?;
    let record = KeyRecord::of_key(key.public_key());
    let record = record.to_string();
    let domain = domain_name(&txt.domain)?.to_string();
    let name = KeyRecord::question(&txt.selector, &domain).ok_or_else(|| {
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
    print(format!("{name}. TXT {}\n", DnsData::Txt(record)))
}
