//! SCRAM's messages (RFC 5802 section 7), which both sides read and write.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mox_machine::Seed;

use crate::Failure;

/// The only channel binding (RFC 9266).
pub(crate) const BINDING: &str = "tls-exporter";
/// Octets of any message of either side.
pub(crate) const MESSAGE_MAX: usize = 4_096;
/// Characters of one side's nonce.
const NONCE_MIN: usize = 8;
const NONCE_MAX: usize = 512;

/// A fresh nonce: 18 random bytes as 24 characters.
pub(crate) fn nonce(seed: &Seed) -> String {
    let mut bytes = [0; 18];
    seed.rng().fill(&mut bytes);
    STANDARD.encode(bytes)
}

/// `c=`: the client's header, and the binding's data where there is one.
pub(crate) fn binding_attribute(gs2: &str, exporter: Option<&[u8; 32]>) -> String {
    let mut data = Vec::from(gs2.as_bytes());
    if let Some(exporter) = exporter {
        data.extend_from_slice(exporter);
    }
    STANDARD.encode(data)
}

/// What a client says first.
#[derive(Debug)]
pub(crate) struct ClientFirst {
    /// `n`, `y`, or `p=` with its name.
    pub(crate) flag: Flag,
    /// The name to act as; empty when not given.
    pub(crate) authzid: String,
    /// The header, both commas included.
    pub(crate) gs2: String,
    /// The message without the header: part of what is signed.
    pub(crate) bare: String,
    pub(crate) user: String,
    pub(crate) nonce: String,
}

/// The client and channel binding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Flag {
    /// It has none.
    None,
    /// It has, but believes that we have none.
    NotSeen,
    /// It uses this one.
    Used(String),
}

impl ClientFirst {
    pub(crate) fn parse(message: &[u8]) -> Result<Self, Failure> {
        let text = text(message)?;
        let (flag, rest) = text.split_once(',').ok_or(Failure::Malformed)?;
        let (authzid, bare) = rest.split_once(',').ok_or(Failure::Malformed)?;
        let gs2 = format!("{flag},{authzid},");
        let flag = match flag {
            "n" => Flag::None,
            "y" => Flag::NotSeen,
            _ => Flag::Used(String::from(
                flag.strip_prefix("p=").ok_or(Failure::Malformed)?,
            )),
        };
        let authzid = match authzid {
            "" => String::new(),
            given => unescape(given.strip_prefix("a=").ok_or(Failure::Malformed)?)?,
        };
        if bare.starts_with("m=") {
            return Err(Failure::ExtensionUnsupported);
        }
        let mut attributes = bare.split(',');
        let mut attribute = |name| {
            attributes
                .next()
                .and_then(|a| a.strip_prefix(name))
                .ok_or(Failure::Malformed)
        };
        let user = unescape(attribute("n=")?)?;
        let nonce = checked_nonce(attribute("r=")?)?;
        // Further attributes are optional extensions, to be ignored; but they must be attributes.
        if !attributes.all(is_attribute) {
            return Err(Failure::Malformed);
        }
        Ok(Self {
            flag,
            authzid,
            gs2,
            user,
            nonce: String::from(nonce),
            bare: String::from(bare),
        })
    }
}

/// What a server says first.
#[derive(Debug)]
pub(crate) struct ServerFirst {
    pub(crate) nonce: String,
    pub(crate) salt: Vec<u8>,
    pub(crate) iterations: u32,
}

impl ServerFirst {
    pub(crate) fn parse(message: &[u8], client_nonce: &str) -> Result<Self, Failure> {
        let text = text(message)?;
        if text.starts_with("m=") {
            return Err(Failure::ExtensionUnsupported);
        }
        let mut attributes = text.split(',');
        let mut attribute = |name| {
            attributes
                .next()
                .and_then(|a| a.strip_prefix(name))
                .ok_or(Failure::Malformed)
        };
        let nonce = checked_nonce(attribute("r=")?)?;
        let added = nonce.strip_prefix(client_nonce).unwrap_or_default();
        let salt = STANDARD
            .decode(attribute("s=")?)
            .map_err(|_| Failure::Malformed)?;
        let iterations = attribute("i=")?;
        // A nonce the server did not add to, or a short salt, would let one exchange be used for another.
        if added.len() < NONCE_MIN || salt.len() < 8 || iterations.starts_with(['+', '0']) {
            return Err(Failure::Malformed);
        }
        Ok(Self {
            nonce: String::from(nonce),
            salt,
            iterations: iterations.parse().map_err(|_| Failure::Malformed)?,
        })
    }
}

/// What a client says last.
#[derive(Debug)]
pub(crate) struct ClientFinal<'a> {
    /// `c=`, still in base64: it must be what we would have written.
    pub(crate) binding: &'a str,
    pub(crate) nonce: &'a str,
    pub(crate) proof: Vec<u8>,
    /// All before `,p=`: part of what is signed.
    pub(crate) without_proof: &'a str,
}

impl<'a> ClientFinal<'a> {
    pub(crate) fn parse(message: &'a [u8]) -> Result<Self, Failure> {
        let text = text(message)?;
        let (without_proof, proof) = text.rsplit_once(",p=").ok_or(Failure::Malformed)?;
        let mut attributes = without_proof.split(',');
        let mut attribute = |name| {
            attributes
                .next()
                .and_then(|a| a.strip_prefix(name))
                .ok_or(Failure::Malformed)
        };
        Ok(Self {
            binding: attribute("c=")?,
            nonce: attribute("r=")?,
            proof: STANDARD.decode(proof).map_err(|_| Failure::Malformed)?,
            without_proof,
        })
    }
}

/// A user name as SCRAM writes it: comma and equals sign are escaped.
pub(crate) fn escape(name: &str) -> String {
    name.replace('=', "=3D").replace(',', "=2C")
}

fn unescape(name: &str) -> Result<String, Failure> {
    let mut out = String::with_capacity(name.len());
    let mut parts = name.split('=');
    out.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let (c, rest) = match (part.strip_prefix("2C"), part.strip_prefix("3D")) {
            (Some(rest), _) => (',', rest),
            (_, Some(rest)) => ('=', rest),
            _ => return Err(Failure::Malformed),
        };
        out.push(c);
        out.push_str(rest);
    }
    Ok(out)
}

pub(crate) fn text(message: &[u8]) -> Result<&str, Failure> {
    if message.len() > MESSAGE_MAX {
        return Err(Failure::Malformed);
    }
    core::str::from_utf8(message)
        .ok()
        .filter(|text| !text.contains('\0'))
        .ok_or(Failure::Malformed)
}

/// RFC 5802 section 7: printable ASCII without the comma, which the callers have cut at.
fn checked_nonce(nonce: &str) -> Result<&str, Failure> {
    let fits = (NONCE_MIN..=NONCE_MAX).contains(&nonce.len())
        && nonce.bytes().all(|b| b.is_ascii_graphic());
    fits.then_some(nonce).ok_or(Failure::Malformed)
}

fn is_attribute(text: &str) -> bool {
    matches!(text.as_bytes(), [name, b'=', ..] if name.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_commas_and_equals_signs_survive() {
        for name in ["a,b=c", "=,", "=2C", "plain", "ü=,"] {
            assert_eq!(unescape(&escape(name)).unwrap(), name);
        }
        assert_eq!(escape("a,b=c"), "a=2Cb=3Dc");
        for bad in ["a=", "a=2c", "a=20", "=="] {
            assert_eq!(unescape(bad), Err(Failure::Malformed), "{bad}");
        }
    }
}
