//! Memory of TLS with other servers: that it is there no more is told, though mail goes on where nothing demands it.

use core::fmt;
use mox_driver::Runtime;
use mox_machine::Utc;
use mox_mailbox::{Reads, TlsHost};
use std::time::Duration;

use super::route::Hop;
use crate::node::Inner;
use crate::peer::Presented;
use crate::tls;

/// TLS with a host is noted again after this.
const NOTED_EVERY: Duration = Duration::from_secs(3600);
/// A host with which there was none for so long is forgotten.
pub(crate) const REMEMBERED: Duration = Duration::from_secs(90 * 24 * 3600);

/// When there was TLS with a host that has none now.
pub(super) struct Missed(TlsHost);

/// For people.
impl fmt::Display for Missed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.0.last.civil();
        let proven = match self.0.proven {
            true => ", with a certificate for its name",
            false => "",
        };
        write!(
            f,
            "TLS was there until {:04}-{:02}-{:02}{proven}",
            at.year, at.month, at.day
        )
    }
}

/// The host as it is remembered; none of those that are never spoken to in clear because TLS failed.
fn name_of(hop: &Hop) -> Option<String> {
    let may_be_in_clear = hop.smarthost_tls().is_none();
    may_be_in_clear.then(|| hop.name.to_ascii_lowercase())
}

fn remembered<R: Runtime>(node: &Inner<R>, host: &str) -> Option<TlsHost> {
    let read = mox_mailbox::tls_host(&*node.store.published().view, host);
    read.unwrap_or_else(|error| {
        tracing::warn!(target: "queue", host, %error, "when there was TLS with a host cannot be read");
        None
    })
}

/// Notes that there is TLS with a host, which presented this. To be called before it has a message: what it says of one is to be
/// recorded at once.
pub(super) async fn note<R: Runtime>(node: &Inner<R>, hop: &Hop, presented: Option<&Presented>) {
    let Some(host) = name_of(hop) else {
        return;
    };
    let now = node.runtime.now().utc;
    let is_known = |known: TlsHost| known.last <= now && now < known.last + NOTED_EVERY;
    if remembered(node, &host).is_some_and(is_known) {
        return;
    }
    let authorities = &node.config.mta_sts.authorities;
    let proven = presented.is_some_and(|presented| {
        presented.with_peer(&tls::provider(), authorities, |peer| peer.webpki.is_ok())
    });
    let noted = TlsHost { last: now, proven };
    let op = move |reads: &dyn Reads| mox_mailbox::note_tls(reads, &host, noted);
    if let Err(error) = node.store.run(op).await {
        tracing::warn!(target: "queue", host = hop.name, %error, "that there is TLS with a host could not be noted");
    }
}

/// What is remembered of a host with which there is no TLS now.
pub(super) fn missed<R: Runtime>(node: &Inner<R>, hop: &Hop) -> Option<Missed> {
    let known = remembered(node, &name_of(hop)?)?;
    let until: Utc = known.last + REMEMBERED;
    (node.runtime.now().utc < until).then_some(Missed(known))
}
