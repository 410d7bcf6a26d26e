//! Logging in at a smarthost.

use bytes::Bytes;
use mox_machine::{Mono, Secret, Seed, TlsFacts};
use mox_sasl::{ClientExchange, Failure, ITERATIONS_ACCEPTED, Mechanism};
use mox_server::config::SmarthostTls;
use mox_smtp::wire::base64_encode;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::route::Way;
use crate::sync::{Mutex, MutexGuard, PoisonError};

/// After a smarthost refused our login nobody tries it again for so long: each failed one counts against our account there, and
/// against our address.
const LOGIN_REFUSED_FOR: Duration = Duration::from_secs(300);
/// What a server says of a login is not kept when it has so many characters in a row of what was sent.
const REPEATED_MIN: usize = 4;

/// What smarthosts said lately of our logins, by transport.
#[derive(Debug, Default)]
pub(crate) struct Logins(Mutex<BTreeMap<Arc<str>, (Mono, String)>>);

impl Logins {
    /// The login of a transport was refused with these words.
    pub(super) fn refused(&self, transport: &Arc<str>, text: &str, now: Mono) {
        let until = now + LOGIN_REFUSED_FOR;
        self.lock()
            .insert(transport.clone(), (until, text.to_owned()));
    }

    /// What the refusal of a transport's login said, if that was lately.
    pub(super) fn refused_lately(&self, transport: &Arc<str>, now: Mono) -> Option<String> {
        let mut all = self.lock();
        let (until, text) = all.get(transport)?;
        if *until > now {
            return Some(text.clone());
        }
        all.remove(transport);
        None
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, (Mono, String)>> {
        // Nothing panics while it is held, so poison means nothing.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As whom a session is to log in, and how far that is.
pub(super) struct Login {
    user: String,
    password: Secret<String>,
    mechanisms: Vec<Mechanism>,
    seed: Seed,
    exporter: Option<[u8; 32]>,
    exchange: Option<ClientExchange>,
    /// What was said in the exchange.
    said: Vec<Secret<Bytes>>,
    /// The server took it.
    is_in: bool,
}

impl Login {
    /// As what the way says; `None` where nobody logs in.
    pub(super) fn of(way: &Way, seed: impl FnOnce() -> Seed) -> Option<Self> {
        let Way::Smarthost(_, transport) = way else {
            return None;
        };
        let smarthost = transport.smarthost()?;
        let is_possible = |m: &&Mechanism| smarthost.tls != SmarthostTls::Off || !m.is_bound();
        let mechanisms = smarthost.mechanisms.iter().filter(is_possible);
        Some(Self {
            user: smarthost.login.as_ref()?.user.clone(),
            password: transport.password.clone()?,
            mechanisms: mechanisms.copied().collect(),
            seed: seed(),
            exporter: None,
            exchange: None,
            said: Vec::new(),
            is_in: false,
        })
    }

    /// The mechanisms that may be used, best first.
    pub(super) fn mechanisms(&self) -> Vec<&'static str> {
        self.mechanisms.iter().map(|m| m.name()).collect()
    }

    /// TLS is there, and the exchange can be bound to it.
    pub(super) const fn secured(&mut self, facts: &TlsFacts) {
        self.exporter = Some(facts.exporter);
    }

    /// Begins: what is said with AUTH, if anything is.
    pub(super) fn begin(&mut self, mechanism: &str) -> Result<Option<Secret<Bytes>>, Failure> {
        let mechanism = Mechanism::parse(mechanism.as_bytes()).ok_or(Failure::Malformed)?;
        // Who may not bind does not say that it could: a server with -PLUS would take that for an attack (RFC 5802 6).
        let may_bind = self.mechanisms.iter().any(|m| m.is_bound());
        let mut exchange = ClientExchange::new(
            mechanism,
            &self.user,
            &self.password,
            &self.seed,
            self.exporter.filter(|_| may_bind),
            ITERATIONS_ACCEPTED,
        )?;
        let first = exchange.first();
        self.exchange = Some(exchange);
        self.said.extend(first.clone());
        Ok(first)
    }

    /// The exchange, to be answered elsewhere: SCRAM derives keys.
    pub(super) const fn take(&mut self) -> Option<ClientExchange> {
        self.exchange.take()
    }

    /// The exchange as it is after an answer, and that.
    pub(super) fn put(&mut self, exchange: ClientExchange, said: &Secret<Bytes>) {
        self.exchange = Some(exchange);
        self.said.push(said.clone());
    }

    /// The server takes mail from us: it has to know by now who we are.
    ///
    /// # Errors
    /// When there was no exchange, or the server did not prove that it knows the password.
    pub(super) fn finish(&mut self) -> Result<(), Failure> {
        if !self.is_in {
            let mut exchange = self.exchange.take().ok_or(Failure::WrongCredentials)?;
            exchange.finish()?;
            self.is_in = true;
        }
        Ok(())
    }

    /// A server repeats in this what was said to it, as some do that do not understand a line: that is nothing to be kept.
    pub(super) fn is_repeated_in(&self, text: &str) -> bool {
        if text.contains(self.password.expose().as_str()) {
            return true;
        }
        let is_base64 = |c: char| c.is_ascii_alphanumeric() || "+/=".contains(c);
        let mut runs = text.split(|c| !is_base64(c));
        let said: Vec<String> = (self.said.iter())
            .map(|said| base64_encode(said.expose()))
            .collect();
        runs.any(|run| {
            let is_part = |said: &String| said.contains(run) || run.contains(said.as_str());
            run.len() >= REPEATED_MIN && said.iter().any(|said| !said.is_empty() && is_part(said))
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::transports::Transport;
    use mox_server::config::{self, OwnAddresses, Password, Smarthost};

    fn login(tls: SmarthostTls, mechanisms: &[Mechanism]) -> Login {
        let smarthost = Smarthost {
            host: "192.0.2.1".into(),
            port: 25,
            tls,
            login: Some(config::Login {
                user: "ann".into(),
                password: Password::File("unread".into()),
            }),
            mechanisms: mechanisms.to_vec(),
            ca: None,
            outgoing: OwnAddresses::default(),
        };
        let transport = Transport {
            kind: config::Transport::Smarthost(smarthost),
            password: Some(Secret::new("swordfish".into())),
            authorities: None,
        };
        let way = Way::Smarthost("provider".into(), Arc::new(transport));
        Login::of(&way, || Seed::from_number(1)).unwrap()
    }

    #[test]
    fn who_did_not_log_in_sends_nothing() {
        // In clear nothing can be bound, so nothing is left to log in by.
        let mut login = login(SmarthostTls::Off, &[Mechanism::ScramSha256Plus]);
        assert_eq!(login.mechanisms(), [""; 0]);
        assert_eq!(login.finish(), Err(Failure::WrongCredentials));
    }

    #[test]
    fn what_repeats_a_password_is_recognised() {
        let mut login = login(SmarthostTls::Starttls, &[Mechanism::Plain]);
        login.begin("PLAIN").unwrap();
        assert_eq!(login.finish(), Ok(()));
        // In a session with several messages it is asked again.
        assert_eq!(login.finish(), Ok(()));
        for text in [
            "Command unrecognized: \"AUTH PLAIN AGFubgBzd29yZGZpc2g=\"",
            "Syntax error near bgBzd29yZG",
            "swordfish? no",
        ] {
            assert!(login.is_repeated_in(text), "{text}");
        }
        for text in ["authentication failed for ann", "no", "try later, id 8aTq"] {
            assert!(!login.is_repeated_in(text), "{text}");
        }
    }

    #[test]
    fn a_refused_login_is_remembered_for_some_minutes() {
        let (logins, name) = (Logins::default(), Arc::<str>::from("provider"));
        let at = |secs: u64| Mono(0) + Duration::from_secs(secs);
        assert_eq!(logins.refused_lately(&name, at(0)), None);
        logins.refused(&name, "535 no", at(0));
        assert_eq!(logins.refused_lately(&name, at(299)).unwrap(), "535 no");
        assert_eq!(logins.refused_lately(&"other".into(), at(1)), None);
        assert_eq!(logins.refused_lately(&name, at(300)), None);
    }
}
