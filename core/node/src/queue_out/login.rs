//! Logging in at a smarthost.

use bytes::Bytes;
use mox_machine::{Secret, Seed, TlsFacts};
use mox_sasl::{ClientExchange, Failure, ITERATIONS_ACCEPTED, Mechanism};
use mox_server::config::SmarthostTls;

use super::route::Way;

/// As whom a session is to log in, and how far that is.
pub(super) struct Login {
    user: String,
    password: Secret<String>,
    mechanisms: Vec<Mechanism>,
    seed: Seed,
    exporter: Option<[u8; 32]>,
    exchange: Option<ClientExchange>,
}

impl Login {
    /// As what the way says; `None` where nobody logs in.
    pub(super) fn of(way: &Way, seed: impl FnOnce() -> Seed) -> Option<Self> {
        let Way::Smarthost(transport) = way else {
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
        Ok(first)
    }

    /// The exchange, to be answered elsewhere: SCRAM derives keys.
    pub(super) const fn take(&mut self) -> Option<ClientExchange> {
        self.exchange.take()
    }

    /// The exchange as it is after an answer.
    pub(super) fn put(&mut self, exchange: ClientExchange) {
        self.exchange = Some(exchange);
    }

    /// The server says that we are in.
    pub(super) fn finish(&mut self) -> Result<(), Failure> {
        match self.exchange.take() {
            Some(mut exchange) => exchange.finish(),
            None => Ok(()),
        }
    }
}
