//! AUTH, RFC 4954. What a mechanism says is between the client and the world.

use bytes::Bytes;
use mox_address::Reply;
use mox_machine::{Now, Secret};

use super::Ask;
use super::session::{Phase, Server};
use super::slots::{Kind, Slot};
use crate::wire::base64_decode;

/// The verb of every step of an exchange.
const AUTH: Bytes = Bytes::from_static(b"AUTH");

impl Server {
    /// AUTH is announced only when it can be used.
    pub(super) fn may_auth(&self) -> bool {
        self.config.mechanisms.iter().any(|name| self.offers(name))
            && (self.secure || self.config.auth_in_clear)
    }

    /// Channel binding needs a channel: the -PLUS variants (RFC 5802 section 6) exist only inside TLS. EXTERNAL (RFC 4422
    /// Appendix A) needs somebody whom the TLS layer knows.
    pub(super) fn offers(&self, mechanism: &str) -> bool {
        match mechanism {
            "EXTERNAL" => self.certified,
            _ => self.secure || !mechanism.ends_with("-PLUS"),
        }
    }

    pub(super) fn auth(&mut self, now: Now, verb: Bytes, mechanism: &[u8], initial: Option<&[u8]>) {
        if !self.hello {
            return self.out_of_order(now, verb, "EHLO comes first");
        }
        if self.config.mechanisms.is_empty() {
            return self.out_of_order(now, verb, "AUTH is not offered");
        }
        if self.authenticated {
            return self.out_of_order(now, verb, "Authenticated already");
        }
        if self.mail.is_some() {
            return self.out_of_order(now, verb, "Not inside a transaction");
        }
        if !self.may_auth() && !self.secure {
            let reply = Reply::new(538, 7, 11, "AUTH needs TLS first");
            return self.error(now, verb, reply);
        }
        let known = self
            .config
            .mechanisms
            .iter()
            .find(|known| known.as_bytes().eq_ignore_ascii_case(mechanism))
            .filter(|known| self.offers(known));
        let Some(&mechanism) = known else {
            let reply = Reply::new(504, 5, 4, "Mechanism not offered");
            return self.error(now, verb, reply);
        };
        self.mechanism = Bytes::from_static(mechanism.as_bytes());
        let response = match initial {
            None => None,
            // A single `=` is an empty response that is there.
            Some(b"=") => Some(Bytes::new()),
            Some(text) => match base64_decode(text) {
                Some(bytes) => Some(Bytes::from(bytes)),
                None => return self.bad_base64(now),
            },
        };
        self.sasl_ask(response, true);
    }

    /// The next line of the exchange.
    pub(super) fn sasl_line(&mut self, now: Now, line: &[u8]) {
        self.phase = Phase::Command;
        if line == b"*" {
            let reply = Reply::new(501, 5, 0, "Authentication cancelled");
            return self.auth_failed(now, reply);
        }
        match base64_decode(line) {
            Some(bytes) => self.sasl_ask(Some(Bytes::from(bytes)), false),
            None => self.bad_base64(now),
        }
    }

    fn sasl_ask(&mut self, response: Option<Bytes>, first: bool) {
        let id = self.ask(Ask::Sasl {
            mechanism: self.mechanism.clone(),
            response: response.map(Secret::new),
            first,
        });
        self.slots.push_back(Slot::asked(AUTH, Kind::Sasl, id));
    }

    fn bad_base64(&mut self, now: Now) {
        self.auth_failed(now, Reply::new(501, 5, 2, "Not base64"));
    }

    fn auth_failed(&mut self, now: Now, reply: Reply) {
        let reply = self.count_failure(reply);
        self.reply(now, AUTH, reply);
    }

    /// The reply to a failed exchange; the last one that is allowed ends the session.
    pub(super) fn count_failure(&mut self, reply: Reply) -> Reply {
        self.counts.auth_failures += 1;
        if self.counts.auth_failures < self.config.limits.auth_failures {
            return reply;
        }
        Reply::new(421, 7, 0, "Too many failed authentications")
    }
}
