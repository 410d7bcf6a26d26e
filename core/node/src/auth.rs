//! Who somebody is: the one place where passwords are judged, for every protocol.

use bytes::Bytes;
use mox_address::Reply;
use mox_driver::{Pool, Runtime};
use mox_machine::{Secret, Seed};
use mox_mailbox::AccountId;
use mox_sasl::{Credentials, Failure, Iterations, Mechanism, ServerExchange, Step};
use mox_server::limiter::Limiter;
use mox_server::{Directory, TransactionIds, decode_credentials};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::limiters::{Attempt, Caller, slow_down};
use crate::node::Inner;

/// Password checks that are remembered, of right ones and of wrong ones; beyond it all are forgotten.
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
    /// The same of those that were found wrong: who says the same again learns nothing, and is not a guesser.
    wrong: Mutex<BTreeSet<[u8; 32]>>,
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
    /// SCRAM: what comes next is a proof, right or wrong.
    is_challenged: bool,
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
    /// Too many logins failed from there: nobody looked at the password.
    TooMany,
}

impl Refused {
    pub(crate) fn smtp_reply(self) -> Reply {
        match self {
            Self::Credentials => Reply::new(535, 7, 8, "authentication failed"),
            Self::Malformed => Reply::new(501, 5, 2, "this is not a message of the mechanism"),
            Self::Unavailable => Reply::new(454, 7, 0, "authentication is not possible now"),
            Self::TooMany => Reply::new(421, 7, 0, Limiter::FailedLogins.text()),
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
            wrong: Mutex::default(),
        }
    }

    /// Takes the store's secret, before anybody is asked who they are.
    pub(crate) fn set_secret(&self, secret: &Secret<[u8; 32]>) {
        let _ = self.unknown.set(Seed::new(*secret.expose()));
    }

    /// What makes tokens for the Subject of mail to an address; `None` before the store's secret is known.
    pub(crate) fn subject_key(&self, address: &str) -> Option<Secret<[u8; 32]>> {
        let seed = self.unknown.get()?.child("subject tokens", 0);
        Some(Secret::new(
            *blake3::keyed_hash(seed.bytes(), address.as_bytes()).as_bytes(),
        ))
    }

    /// By what the words of long messages are chosen. The store's secret decides, so that a message has the same ones for ever.
    pub(crate) fn words_key(&self) -> u64 {
        let seed = self.unknown.get().unwrap_or(&self.seed);
        let seed = seed.child("words", 0);
        let start = seed.bytes().first_chunk().copied();
        u64::from_be_bytes(start.unwrap_or_default())
    }

    /// Ids of transactions, which tell their second to whoever has the store's secret.
    pub(crate) fn transaction_ids(&self) -> TransactionIds {
        let seed = self.unknown.get().unwrap_or(&self.seed);
        TransactionIds::new(*seed.child("transaction ids", 0).bytes())
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
            is_challenged: false,
        }))
    }
}

type Proofs = Mutex<BTreeSet<[u8; 32]>>;

fn is_remembered(proofs: &Proofs, proof: &[u8; 32]) -> bool {
    let proofs = proofs.lock().unwrap_or_else(PoisonError::into_inner);
    proofs.contains(proof)
}

fn remember(proofs: &Proofs, proof: [u8; 32]) {
    let mut proofs = proofs.lock().unwrap_or_else(PoisonError::into_inner);
    if proofs.len() >= REMEMBERED_MAX {
        proofs.clear();
    }
    proofs.insert(proof);
}

/// The next step of an exchange with the client's response.
pub(crate) async fn step<R: Runtime>(
    node: Arc<Inner<R>>,
    caller: Caller,
    mut exchange: Box<Exchange>,
    response: Option<Secret<Bytes>>,
) -> (Box<Exchange>, Verdict) {
    let verdict = next(&node, caller, &mut exchange, response).await;
    if let Verdict::Refused(Refused::Credentials) = verdict {
        slow_down(&node, caller).await;
    }
    (exchange, verdict)
}

async fn next<R: Runtime>(
    node: &Arc<Inner<R>>,
    caller: Caller,
    exchange: &mut Exchange,
    response: Option<Secret<Bytes>>,
) -> Verdict {
    let mut attempt = None;
    if exchange.is_challenged {
        match begin(node, caller, exchange.login.as_ref()).await {
            Ok(begun) => attempt = Some(begun),
            Err(refused) => return Verdict::Refused(refused),
        }
    }
    // A proof is judged without a wait from here on: no two of them use up the same room.
    let mut step = exchange
        .server
        .step(response.as_ref().map(|r| &r.expose()[..]));
    loop {
        step = match step {
            Step::Challenge(bytes) => {
                if let Some(attempt) = attempt {
                    let is_proof = core::mem::replace(&mut exchange.is_challenged, false);
                    match (is_proof, exchange.server.refusal(), &exchange.login) {
                        // The salt was sent, and the proof comes.
                        (false, ..) => exchange.is_challenged = true,
                        (true, Some(Failure::WrongCredentials), _) => attempt.failed(node),
                        (true, None, Some(login)) => attempt.succeeded(node, &login.account),
                        (true, ..) => {}
                    }
                }
                return Verdict::Challenge(bytes);
            }
            Step::NeedCredentials { user } => {
                let Ok(known) = find(node, &user) else {
                    return Verdict::Refused(Refused::Unavailable);
                };
                exchange.login.clone_from(&known.login);
                match exchange.server.password().cloned() {
                    Some(password) => match judge(node, caller, &known, &user, password).await {
                        Ok(right) => exchange.server.verified(right),
                        Err(refused) => return Verdict::Refused(refused),
                    },
                    None => match begin(node, caller, known.login.as_ref()).await {
                        Ok(begun) => {
                            attempt = Some(begun);
                            exchange.server.credentials(&known.credentials)
                        }
                        Err(refused) => return Verdict::Refused(refused),
                    },
                }
            }
            Step::Done { .. } => {
                let login = exchange.login.take();
                if let (Some(attempt), Some(login)) = (attempt, &login) {
                    attempt.succeeded(node, &login.account);
                }
                let refused = Verdict::Refused(Refused::Credentials);
                return login.map_or(refused, Verdict::Authenticated);
            }
            Step::Fail(why) => {
                let refused = match why {
                    Failure::Malformed => Refused::Malformed,
                    _ => Refused::Credentials,
                };
                if let (Some(attempt), Refused::Credentials) = (attempt, refused) {
                    attempt.failed(node);
                }
                return Verdict::Refused(refused);
            }
        }
    }
}

/// An attempt to log in, once it may be judged.
async fn begin<R: Runtime>(
    node: &Inner<R>,
    caller: Caller,
    login: Option<&Login>,
) -> Result<Attempt, Refused> {
    let account = login.map(|login| &login.account[..]);
    let attempt = Attempt::begin(node, caller, account).await;
    attempt.map_err(|_| Refused::TooMany)
}

/// A user name and a password, as IMAP's LOGIN has them.
pub(crate) async fn login<R: Runtime>(
    node: Arc<Inner<R>>,
    caller: Caller,
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
    match judge(&node, caller, &known, &user, Secret::new(password)).await {
        Ok(true) => known.login.map_or(refused, Verdict::Authenticated),
        Ok(false) => {
            slow_down(&node, caller).await;
            refused
        }
        Err(why) => Verdict::Refused(why),
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

/// Whether a password is right, if it may be looked at: the one place where passwords are judged.
async fn judge<R: Runtime>(
    node: &Inner<R>,
    caller: Caller,
    known: &Known,
    user: &str,
    password: Secret<String>,
) -> Result<bool, Refused> {
    let authority = &node.authority;
    let mut hasher = blake3::Hasher::new_keyed(authority.seed.child("password", 0).bytes());
    for part in [
        user.as_bytes(),
        known.row.expose(),
        password.expose().as_bytes(),
    ] {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    let proof = *hasher.finalize().as_bytes();
    let attempt = begin(node, caller, known.login.as_ref()).await?;
    let account = known.login.as_ref().map(|login| &login.account[..]);
    if is_remembered(&authority.wrong, &proof) {
        return Ok(false);
    }
    let right = is_remembered(&authority.remembered, &proof) || {
        let credentials = known.credentials.clone();
        let work = Box::new(move || credentials.verify(password.expose()));
        node.runtime.blocking(Pool::Compute, work).await
    };
    match account.filter(|_| right) {
        Some(account) => {
            remember(&authority.remembered, proof);
            attempt.succeeded(node, account);
            Ok(true)
        }
        None => {
            remember(&authority.wrong, proof);
            attempt.failed(node);
            Ok(false)
        }
    }
}
