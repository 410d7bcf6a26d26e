//! STARTTLS, LOGIN, AUTHENTICATE, UNAUTHENTICATE.

use alloc::vec::Vec;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use mox_machine::{Secret, Step};

use super::capability::Modes;
use super::job::{Job, Next, Reply, Running};
use super::{Answer, Ask, CloseReason, Event, Phase, Server};
use crate::wire::put;

impl Server {
    pub(super) fn may_show_password(&self) -> bool {
        self.tls || self.config.clear_auth
    }

    /// LOGIN shows the password as PLAIN and LOGIN of SASL do: it is not taken where there are only better mechanisms.
    pub(super) fn takes_login(&self) -> bool {
        let mechanisms = &self.config.mechanisms;
        let shown = |m: &alloc::string::String| matches!(m.as_str(), "PLAIN" | "LOGIN");
        self.may_show_password() && (mechanisms.is_empty() || mechanisms.iter().any(shown))
    }

    pub(super) fn offers_mechanism(&self, mechanism: &str) -> bool {
        match mechanism {
            "PLAIN" | "LOGIN" | "XOAUTH2" | "OAUTHBEARER" => self.may_show_password(),
            // RFC 4422 Appendix A: without a certificate there is nobody to be.
            "EXTERNAL" => self.certified,
            _ => self.tls || !mechanism.ends_with("-PLUS"),
        }
    }

    /// RFC 3501 6.2.1. What was sent behind the command in clear could be an attacker's: nothing of it is obeyed.
    pub(super) fn start_tls(&mut self, running: &Running, more_input: bool) -> Next {
        if self.tls {
            return Next::bad("TLS is active already");
        }
        if !self.config.starttls {
            return Next::bad("TLS is not available");
        }
        if more_input {
            self.reply(
                &running.tag,
                Some(running.verb),
                &Reply::bad("data after STARTTLS"),
            );
            self.close(CloseReason::Violation, Some("data after STARTTLS"));
            return Next::ok();
        }
        self.reply(&running.tag, Some(running.verb), &Reply::ok());
        self.phase = Phase::Upgrading;
        self.out.push(Step::StartTls);
        Next::ok()
    }

    pub(super) fn login(&mut self, user: Bytes, password: Secret<Bytes>) -> Next {
        if !self.takes_login() {
            return match self.may_show_password() {
                true => Next::no("CANNOT", "LOGIN is switched off, use AUTHENTICATE"),
                false => Next::no("PRIVACYREQUIRED", "use TLS first"),
            };
        }
        Next::Wait(self.ask(Ask::Login { user, password }), Job::Login)
    }

    /// RFC 3501 6.2.2 and RFC 4959.
    pub(super) fn authenticate(
        &mut self,
        mechanism: Bytes,
        initial: Option<Secret<Bytes>>,
    ) -> Next {
        let known = self
            .config
            .mechanisms
            .iter()
            .any(|m| m.as_bytes() == mechanism);
        if !known {
            return Next::no("CANNOT", "there is no such mechanism");
        }
        if !core::str::from_utf8(&mechanism).is_ok_and(|m| self.offers_mechanism(m)) {
            return match self.tls {
                true => Next::no("CANNOT", "this mechanism needs a client certificate"),
                false => Next::no("PRIVACYREQUIRED", "use TLS first"),
            };
        }
        let response = match initial {
            None => None,
            Some(initial) if initial.expose() == "=" => Some(Secret::new(Bytes::new())),
            Some(initial) => match STANDARD.decode(initial.expose()) {
                Ok(decoded) => Some(Secret::new(decoded.into())),
                Err(_) => return Next::bad("the response is not base64"),
            },
        };
        let job = Job::Sasl(mechanism.to_vec());
        Next::Wait(
            self.ask(Ask::Sasl {
                mechanism,
                response,
                first: true,
            }),
            job,
        )
    }

    /// The client's response to a challenge.
    pub(super) fn sasl_line(&mut self, mechanism: Vec<u8>, line: &[u8]) -> Next {
        if line == b"*" {
            return Next::bad("cancelled");
        }
        let Ok(decoded) = STANDARD.decode(line) else {
            return Next::bad("the response is not base64");
        };
        let ask = Ask::Sasl {
            mechanism: mechanism.clone().into(),
            response: Some(Secret::new(decoded.into())),
            first: false,
        };
        Next::Wait(self.ask(ask), Job::Sasl(mechanism))
    }

    /// `mechanism` is `None` for LOGIN.
    pub(super) fn sasl_answer(&mut self, mechanism: Option<Vec<u8>>, answer: Answer) -> Next {
        match (answer, mechanism) {
            (Answer::Challenge(challenge), Some(mechanism)) => {
                let encoded = STANDARD.encode(&challenge);
                put!(self.out.text(), "+ {encoded}\r\n");
                Next::Go(Job::Sasl(mechanism))
            }
            (Answer::AuthenticatedWithout { user, without }, mechanism) => {
                self.without = without;
                self.sasl_answer(mechanism, Answer::Authenticated(user))
            }
            (Answer::Authenticated(user), _) => {
                self.authenticated = true;
                self.is_active();
                self.out.push(Step::Event(Event::Authenticated(user)));
                Next::Done(Reply::ok_with(alloc::format!(
                    "CAPABILITY {}",
                    self.capabilities()
                )))
            }
            (Answer::No(refusal), _) => {
                self.auth_failures = self.auth_failures.saturating_add(1);
                Next::Done(refusal.into())
            }
            _ => Next::Done(Reply::unexpected()),
        }
    }

    /// RFC 8437 2: the session is as it was before login; TLS stays.
    pub(super) fn unauthenticate(&mut self) -> Next {
        self.unselect();
        self.end_notify();
        self.notified = false;
        Next::Wait(self.ask(Ask::Unauthenticate), Job::Unauthenticate)
    }

    pub(super) fn unauthenticated(&mut self, answer: Answer) -> Next {
        match answer {
            Answer::Done => {
                self.authenticated = false;
                self.modes = Modes::default();
                self.without.clear();
                if let Some(now) = self.now {
                    self.active = now.mono;
                }
                Next::ok()
            }
            Answer::No(refusal) => Next::Done(refusal.into()),
            _ => Next::Done(Reply::unexpected()),
        }
    }
}
