//! Date and Message-ID.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mox_address::Domain;
use mox_machine::{Seed, Utc};

/// A date as RFC 5322 3.3 writes it, in UTC: `Fri, 02 Jan 2026 03:04:05 +0000`.
pub fn date_rfc5322(date: Utc) -> String {
    let c = date.civil();
    format!(
        "{}, {:02} {} {:04} {:02}:{:02}:{:02} +0000",
        date.weekday().name(),
        c.day,
        c.month_name(),
        c.year,
        c.hour,
        c.minute,
        c.second
    )
}

/// A message id with its brackets, unique because `seed` is: `<22 characters@hostname>`.
pub fn message_id(seed: &Seed, hostname: &Domain) -> String {
    let host = hostname.to_ascii().unwrap_or_else(|_| hostname.clone());
    format!("<{}@{host}>", token(seed))
}

/// 128 random bits as 22 characters of base64url.
pub(crate) fn token(seed: &Seed) -> String {
    let mut bytes = [0; 16];
    seed.rng().fill(&mut bytes);
    URL_SAFE_NO_PAD.encode(bytes)
}
