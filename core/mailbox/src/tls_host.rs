//! When there was TLS with other servers: so that its absence is noticed.

use mox_machine::Utc;
use serde::{Deserialize, Serialize};

use crate::edit::Edit;
use crate::known::{self, Known};
use crate::rows::utc;
use crate::{Batch, Progress, ReadError, Reads, Stop};

/// Hosts that are remembered; beyond it those go with which there was TLS longest ago.
pub const TLS_HOSTS_MAX: u64 = 10_000;
/// Octets of all of them.
const OCTETS_MAX: u64 = 1024 * 1024;

/// A host with which there was TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsHost {
    /// When there was, the last time that it was noted.
    #[serde(with = "utc")]
    pub last: Utc,
    /// Its certificate was for its name, by a public authority.
    pub proven: bool,
}

impl Known for TlsHost {
    const KIND: u8 = 2;
    const ROWS_MAX: u64 = TLS_HOSTS_MAX;
    const OCTETS_MAX: u64 = OCTETS_MAX;

    fn used(&self) -> Utc {
        self.last
    }
}

/// What is remembered of a host: its name in lower case, or its address.
pub fn tls_host(reads: &dyn Reads, host: &str) -> Result<Option<TlsHost>, ReadError> {
    known::get(reads, host)
}

/// Remembers that there was TLS with a host.
pub fn note_tls(reads: &dyn Reads, host: &str, noted: TlsHost) -> Result<(Batch, ()), Stop> {
    let mut edit = Edit::new(reads, noted.last);
    known::put(&mut edit, host, &noted)?;
    Ok((edit.finish()?, ()))
}

/// Forgets some of the hosts with which there was TLS last before this. Run it again until it says `Done`.
pub fn purge_tls_hosts(reads: &dyn Reads, before: Utc) -> Result<(Batch, Progress), Stop> {
    let mut edit = Edit::new(reads, before);
    let progress = match known::purge::<TlsHost>(&mut edit, before)? {
        true => Progress::More(()),
        false => Progress::Done,
    };
    Ok((edit.finish()?, progress))
}
