//! Who somebody is: the one place where passwords are judged, for every protocol.

use bytes::Bytes;
use mox_address::Reply;
use mox_driver::{Pool, Runtime};
use mox_machine::{Secret, Seed};
use mox_mailbox::AccountId;
use mox_sasl::{Credentials, Failure, Iterations, Mechanism, ServerExchange, Step};
use mox_server::{Directory, decode_credentials};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::node::Inner;

/// Successful password checks that are remembered; beyond it all are forgotten.
const REMEMBERED_MAX: usize = 4_096;

/// What judging passwords needs beside the store.
pub(crate) struct Authority {
    seed: Seed,
    /// What unknown users are made of: from the store, since a salt that changed with a restart would tell them from users.
    unknown: OnceLock<Seed>,
    exchanges: AtomicU64,
    /// Keyed hashes of user, stored credentials and password that were found right: deriving keys from a password
    /// costs milliseconds, and clients log in again and again. A changed password changes the hash.
    remembered: Mutex<BTreeSet<[u8; 32]>>,
}

/// Somebody who proved to be a user.
#[derive(Debug, Clone)]
pub(crate) struct Login {
    /// The name as typed.
    pub(crate) user: String,
    /// The account's name.
    pub(crate) account: String,
    /// The account.
    pub(crate) id: AccountId,
}

/// One AUTH or AUTHENTICATE exchange.
pub(crate) struct Exchange {
    server: ServerExchange,
    login: Option<Login>,
}

/// What came of a step.
pub(crate) enum Verdict {
    /// Send this and wait for the response.
    Challenge(Bytes),
    /// It is this user.
    Authenticated(Login),
    /// It is not.
    Refused(Refused),
}

/// Why somebody is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Unknown user, wrong password, or no password set: not told apart.
    Credentials,
    /// Not a message of the mechanism.
    Malformed,
    /// The store could not be read.
    Unavailable,
}

impl Refused {
    pub(crate) fn smtp_reply(self) -> Reply {
        match self {
            Self::Credentials => Reply::new(535, 7, 8, "authentication failed"),
            Self::Malformed => Reply::new(501, 5, 2, "this is not a message of the mechanism"),
            Self::Unavailable => Reply::new(454, 7, 0, "authentication is not possible now"),
        }
    }
}

impl Authority {
    pub(crate) fn new(seed: Seed) -> Self {
        Self {
            seed,
            unknown: OnceLock::new(),
            exchanges: AtomicU64::new(0),
            remembered: Mutex::default(),
        }
    }

    /// Takes the store's secret, before anybody is asked who they are.
    pub(crate) fn set_secret(&self, secret: &Secret<[u8; 32]>) {
        let _ = self.unknown.set(Seed::new(*secret.expose()));
    }

    /// The credentials of somebody who does not exist, whatever spelling of the name is tried.
    fn unknown(&self, directory: &Directory, user: &str) -> Credentials {
        let seed = self.unknown.get().unwrap_or(&self.seed);
        Credentials::fake(seed, &directory.login_form(user), Iterations::default())
    }

    /// Begins an exchange; `None` when the mechanism is not among those `offered` on this connection.
    pub(crate) fn exchange(
        &self,
        offered: &[Mechanism],
        mechanism: &[u8],
        exporter: Option<[u8; 32]>,
    ) -> Option<Box<Exchange>> {
        let mechanism = Mechanism::parse(mechanism).filter(|m| offered.contains(m))?;
        // A client that saw no -PLUS mechanism is not told that it missed one.
        let exporter = exporter.filter(|_| offered.iter().any(|m| m.is_bound()));
        if mechanism.is_bound() && exporter.is_none() {
            return None;
        }
        let n = self.exchanges.fetch_add(1, Ordering::Relaxed);
        let seed = self.seed.child("exchange", n);
        let server = ServerExchange::new(mechanism, &seed, exporter);
        Some(Box::new(Exchange {
            server,
            login: None,
        }))
    }

    fn is_remembered(&self, proof: &[u8; 32]) -> bool {
        self.remembered
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(proof)
    }

    fn remember(&self, proof: [u8; 32]) {
        let mut remembered = self
            .remembered
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if remembered.len() >= REMEMBERED_MAX {
            remembered.clear();
        }
        remembered.insert(proof);
    }
}

/// The next step of an exchange with the client's response.
pub(crate) async fn step<R: Runtime>(
    node: Arc<Inner<R>>,
    mut exchange: Box<Exchange>,
    response: Option<Secret<Bytes>>,
) -> (Box<Exchange>, Verdict) {
    let mut step = exchange
        .server
        .step(response.as_ref().map(|r| &r.expose()[..]));
    loop {
        step = match step {
            Step::Challenge(bytes) => return (exchange, Verdict::Challenge(bytes)),
            Step::NeedCredentials { user } => {
                let Ok(known) = find(&node, &user) else {
                    return (exchange, Verdict::Refused(Refused::Unavailable));
                };
                let password = exchange.server.password().cloned();
                let next = match password {
                    Some(password) => {
                        let right = is_right(&node, &known, &user, password).await;
                        exchange.server.verified(right)
                    }
                    None => exchange.server.credentials(&known.credentials),
                };
                exchange.login = known.login;
                next
            }
            Step::Done { .. } => {
                let verdict = match exchange.login.take() {
                    Some(login) => Verdict::Authenticated(login),
                    None => Verdict::Refused(Refused::Credentials),
                };
                return (exchange, verdict);
            }
            Step::Fail(why) => {
                let refused = match why {
                    Failure::Malformed => Refused::Malformed,
                    _ => Refused::Credentials,
                };
                return (exchange, Verdict::Refused(refused));
            }
        }
    }
}

/// A user name and a password, as IMAP's LOGIN has them.
pub(crate) async fn login<R: Runtime>(
    node: Arc<Inner<R>>,
    user: Bytes,
    password: Secret<Bytes>,
) -> Verdict {
    let refused = Verdict::Refused(Refused::Credentials);
    let Ok(user) = String::from_utf8(user.to_vec()) else {
        return refused;
    };
    let Ok(password) = String::from_utf8(password.expose().to_vec()) else {
        return refused;
    };
    let Ok(known) = find(&node, &user) else {
        return Verdict::Refused(Refused::Unavailable);
    };
    match is_right(&node, &known, &user, Secret::new(password)).await {
        true => known.login.map_or(refused, Verdict::Authenticated),
        false => refused,
    }
}

/// What is known of a user name, or what looks like it: an unknown user costs and shows the same as a known one.
struct Known {
    login: Option<Login>,
    credentials: Arc<Credentials>,
    row: Secret<Bytes>,
}

fn find<R: Runtime>(node: &Inner<R>, user: &str) -> Result<Known, mox_mailbox::ReadError> {
    let account = node.directory().login(user);
    let published = node.store.published();
    let row = match &account {
        Some(account) => mox_mailbox::account(&*published.view, account)?,
        None => None,
    };
    let credentials = row
        .as_ref()
        .and_then(|row| decode_credentials(&row.credentials));
    Ok(match (account, row, credentials) {
        (Some(account), Some(row), Some(credentials)) => Known {
            login: Some(Login {
                user: user.to_owned(),
                account,
                id: row.id,
            }),
            credentials: Arc::new(credentials),
            row: row.credentials,
        },
        _ => Known {
            login: None,
            credentials: Arc::new(node.authority.unknown(&node.directory(), user)),
            row: Secret::new(Bytes::new()),
        },
    })
}

async fn is_right<R: Runtime>(
    node: &Inner<R>,
    known: &Known,
    user: &str,
    password: Secret<String>,
) -> bool {
    let mut hasher = blake3::Hasher::new_keyed(node.authority.seed.child("password", 0).bytes());
    for part in [
        user.as_bytes(),
        known.row.expose(),
        password.expose().as_bytes(),
    ] {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    let proof = *hasher.finalize().as_bytes();
    if node.authority.is_remembered(&proof) {
        return true;
    }
    let credentials = known.credentials.clone();
    let work = Box::new(move || credentials.verify(password.expose()));
    let right = node.runtime.blocking(Pool::Compute, work).await && known.login.is_some();
    if right {
        node.authority.remember(proof);
    }
    right
}
