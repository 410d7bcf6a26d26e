//! The ways for mail to leave, and which of them a message takes.

use mox_address::{Domain, Path};
use mox_driver::Runtime;
use mox_machine::Secret;
use mox_mailbox::{Owner, QueueEntry, QueueMessage, ReadError, Reads};
use mox_queue::NextHop;
use mox_server::config::{OutgoingAddresses, Smarthost, Transport as Kind};
use mox_server::routes::{DIRECT, Leaving, RELAY, ROUTES};
use rustls::RootCertStore;
use std::sync::Arc;

use crate::a_labels::domain_of;
use crate::config::{Config, Outgoing};
use crate::node::Inner;

/// A way for mail to leave, with what its configuration does not hold itself.
#[derive(Debug, Clone)]
pub struct Transport {
    /// Which.
    pub kind: Kind,
    /// The password, where there is a login: read from its file.
    pub password: Option<Secret<String>>,
    /// Who vouches for the certificate of a smarthost; those of [`MtaSts`](crate::MtaSts) where nobody in particular does.
    pub authorities: Option<Arc<RootCertStore>>,
}

impl Transport {
    pub(crate) const fn smarthost(&self) -> Option<&Smarthost> {
        match &self.kind {
            Kind::Smarthost(smarthost) => Some(smarthost),
            Kind::Socks5(_) | Kind::Fail(_) => None,
        }
    }
}

impl Transport {
    /// From which addresses it is reached, where those of all others are `common`.
    pub(crate) fn addresses(&self, common: OutgoingAddresses) -> OutgoingAddresses {
        match &self.kind {
            Kind::Smarthost(smarthost) => common.with(&smarthost.outgoing),
            Kind::Socks5(socks) => common.with(&socks.outgoing),
            Kind::Fail(_) => common,
        }
    }
}

impl Config {
    /// The transport of what no route leads anywhere.
    const fn usual_transport(&self) -> &'static str {
        match self.outgoing {
            Outgoing::Relay(_) => RELAY,
            Outgoing::Direct | Outgoing::Sink(_) => DIRECT,
        }
    }

    /// All that a transport takes goes to one server, for whomever it is.
    pub(crate) fn leads_to_one_server(&self, transport: &str) -> bool {
        match self.transports.get(transport) {
            Some(named) => named.smarthost().is_some(),
            None => transport == RELAY && matches!(self.outgoing, Outgoing::Relay(_)),
        }
    }

    /// What an administrator may choose: each transport there is, and the routes.
    pub(crate) fn transport_names(&self) -> Vec<&str> {
        let usual = self.usual_transport();
        let mut names = vec![ROUTES, DIRECT];
        names.extend(Some(usual).filter(|usual| *usual != DIRECT));
        names.extend(self.transports.keys().map(String::as_str));
        names
    }
}

/// Who takes an entry next, and the number of whose it is: 0 is the server itself.
pub(crate) fn next_hop<R: Runtime>(
    node: &Inner<R>,
    view: &dyn Reads,
    entry: &QueueEntry,
) -> Result<(NextHop, u64), ReadError> {
    let is_said = !entry.transport.is_empty() || node.directory().routes().is_empty();
    // Rows of messages are large: those of a long queue are not read without need.
    let (message, owner) = match entry.owner {
        Some(Owner::Server) if is_said => (None, None),
        Some(Owner::Account(id)) if is_said => (None, Some(id)),
        _ => {
            let message = mox_mailbox::queue_message(view, entry.message)?;
            let owner = message.as_ref().and_then(|message| message.account);
            (message, owner)
        }
    };
    let account = match owner {
        // Its name would not count.
        Some(id) if !is_said => mox_mailbox::account_by_id(view, id)?,
        _ => None,
    };
    let owner = owner.map_or(0, |id| u64::from(id.0));
    let account = account.as_ref().map(|account| account.name.as_str());
    let transport = transport_of(node, entry, message.as_ref(), account);
    if node.config.leads_to_one_server(&transport) {
        return Ok((NextHop::Transport(transport.into()), owner));
    }
    let to = entry.recipients.first();
    // Its servers are the same by either of its names.
    let domain = to.map(|to| domain_of(&to.address)).unwrap_or_default();
    Ok((NextHop::Domain(domain.into()), owner))
}

/// By which transport an entry is tried next; `account` is the name of the message's.
pub(crate) fn transport_of<R: Runtime>(
    node: &Inner<R>,
    entry: &QueueEntry,
    message: Option<&QueueMessage>,
    account: Option<&str>,
) -> String {
    if !entry.transport.is_empty() {
        return entry.transport.clone();
    }
    let directory = node.directory();
    if directory.routes().is_empty() {
        return node.config.usual_transport().to_owned();
    }
    let from = message.map_or("", |message| message.reverse_path.as_str());
    let to = entry
        .recipients
        .first()
        .map_or("", |to| to.address.as_str());
    let leaving = Leaving {
        account,
        from: &domain(from),
        to: &domain(to),
        attempts: entry.attempts_made,
    };
    let found = directory.routes().find(&leaving);
    let usual = || node.config.usual_transport();
    found.unwrap_or_else(usual).to_owned()
}

/// The domain of an address in A-labels, as routes have it.
fn domain(address: &str) -> String {
    let path = Path::parse(address, true).ok();
    let ascii = path.as_ref().and_then(Path::domain).map(Domain::to_ascii);
    match ascii {
        Some(Ok(domain)) => domain.as_str().to_owned(),
        _ => String::new(),
    }
}
