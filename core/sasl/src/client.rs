//! The client's side of an exchange.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use core::ops::RangeInclusive;
use mox_machine::{Secret, Seed};

use crate::hash;
use crate::md5::HmacMd5;
use crate::prepare::{prepare_password, prepare_user};
use crate::scram::{self, ServerFirst};
use crate::{Failure, Mechanism};

/// The iteration counts a client should accept: fewer make a stolen exchange cheap to attack, more are an attack on us.
pub const ITERATIONS_ACCEPTED: RangeInclusive<u32> = 2_048..=1_000_000;

/// One exchange on the client's side: [`first`](Self::first), then [`step`](Self::step) with each challenge, then
/// [`finish`](Self::finish) when the server says that we are in.
#[derive(Debug)]
pub struct ClientExchange {
    mechanism: Mechanism,
    user: String,
    password: Secret<String>,
    nonce: String,
    /// SCRAM's header.
    gs2: String,
    /// For the mechanisms that are bound.
    exporter: Option<Secret<[u8; 32]>>,
    iterations: RangeInclusive<u32>,
    state: State,
}

#[derive(Debug)]
enum State {
    Start,
    /// PLAIN, LOGIN, CRAM-MD5 and EXTERNAL: all was said.
    Said,
    /// LOGIN: the password is wanted.
    Password,
    /// SCRAM: salt and nonce come.
    Salt,
    /// SCRAM: the server's proof comes.
    Proof(Secret<Vec<u8>>),
    /// SCRAM: the server proved itself.
    Proved,
    Over,
}

impl ClientExchange {
    /// A new exchange; the nonce comes from `seed`. `exporter` is the connection's `tls-exporter` value where there is one:
    /// a -PLUS mechanism needs it, and without -PLUS it tells the server that we did not see -PLUS offered, so that it
    /// notices when somebody removed it. `iterations` is usually [`ITERATIONS_ACCEPTED`].
    ///
    /// EXTERNAL takes no password, and `user` may be empty: then the certificate alone says who we are.
    pub fn new(
        mechanism: Mechanism,
        user: &str,
        password: &Secret<String>,
        seed: &Seed,
        exporter: Option<[u8; 32]>,
        iterations: RangeInclusive<u32>,
    ) -> Result<Self, Failure> {
        let gs2 = match (mechanism.is_bound(), exporter) {
            (true, None) => return Err(Failure::BindingUnsupported),
            (true, Some(_)) => format!("p={},,", scram::BINDING),
            (false, Some(_)) => String::from("y,,"),
            (false, None) => String::from("n,,"),
        };
        let (user, password) = match mechanism {
            Mechanism::External if user.is_empty() => (String::new(), String::new()),
            Mechanism::External => (prepare_user(user)?, String::new()),
            _ => (prepare_user(user)?, prepare_password(password.expose())?),
        };
        Ok(Self {
            mechanism,
            user,
            password: Secret::new(password),
            nonce: scram::nonce(seed),
            gs2,
            exporter: exporter.filter(|_| mechanism.is_bound()).map(Secret::new),
            iterations,
            state: State::Start,
        })
    }

    /// The initial response, for protocols that take it with the command; `None` where the server speaks first (LOGIN
    /// and CRAM-MD5).
    /// Without this call the first, empty challenge is answered with it.
    pub fn first(&mut self) -> Option<Secret<Bytes>> {
        if !matches!(self.state, State::Start) || self.mechanism.server_begins() {
            return None;
        }
        let message = match self.mechanism {
            Mechanism::Plain => {
                self.state = State::Said;
                format!("\0{}\0{}", self.user, self.password.expose())
            }
            Mechanism::External => {
                self.state = State::Said;
                self.user.clone()
            }
            _ => {
                self.state = State::Salt;
                format!("{}{}", self.gs2, self.first_bare())
            }
        };
        Some(Secret::new(Bytes::from(message)))
    }

    /// The response to a challenge. SCRAM's second one derives keys, which takes milliseconds: run it as Compute.
    pub fn step(&mut self, challenge: &[u8]) -> Result<Secret<Bytes>, Failure> {
        if matches!(self.state, State::Start) && !self.mechanism.server_begins() {
            return self.first().ok_or(Failure::Malformed);
        }
        let message = match core::mem::replace(&mut self.state, State::Over) {
            State::Start if self.mechanism == Mechanism::CramMd5 => {
                self.state = State::Said;
                let digest = HmacMd5::keyed(self.password.expose().as_bytes()).of(challenge);
                Bytes::from(format!("{} {}", self.user, hash::hex(&digest)))
            }
            // The prompts' words vary from server to server, their order does not.
            State::Start => {
                self.state = State::Password;
                Bytes::from(self.user.clone())
            }
            State::Password => {
                self.state = State::Said;
                Bytes::from(self.password.expose().clone())
            }
            State::Salt => Bytes::from(self.prove(challenge)?),
            State::Proof(signature) => {
                let text = scram::text(challenge)?;
                if text.starts_with("e=") {
                    return Err(Failure::WrongCredentials);
                }
                let value = text
                    .strip_prefix("v=")
                    .and_then(|v| v.split(',').next())
                    .and_then(|v| STANDARD.decode(v).ok())
                    .ok_or(Failure::Malformed)?;
                if !hash::equal(&value, signature.expose()) {
                    return Err(Failure::ServerNotAuthentic);
                }
                self.state = State::Proved;
                Bytes::new()
            }
            State::Said | State::Proved | State::Over => return Err(Failure::Malformed),
        };
        Ok(Secret::new(message))
    }

    /// The server says that we are in. With SCRAM it must have proved by now that it knows the password too.
    pub fn finish(&mut self) -> Result<(), Failure> {
        match core::mem::replace(&mut self.state, State::Over) {
            State::Said | State::Proved => Ok(()),
            _ => Err(Failure::ServerNotAuthentic),
        }
    }

    fn first_bare(&self) -> String {
        format!("n={},r={}", scram::escape(&self.user), self.nonce)
    }

    fn prove(&mut self, server_first: &[u8]) -> Result<String, Failure> {
        let hash = self.mechanism.hash().ok_or(Failure::Malformed)?;
        let server = ServerFirst::parse(server_first, &self.nonce)?;
        if !self.iterations.contains(&server.iterations) {
            return Err(Failure::Iterations);
        }
        let binding =
            scram::binding_attribute(&self.gs2, self.exporter.as_ref().map(Secret::expose));
        let without_proof = format!("c={binding},r={}", server.nonce);
        let signed = format!(
            "{},{},{without_proof}",
            self.first_bare(),
            scram::text(server_first)?
        );
        let salted = hash.hi(
            self.password.expose().as_bytes(),
            &server.salt,
            server.iterations,
        );
        let client_key = hash.hmac(&salted, b"Client Key");
        let stored_key = hash.digest(&client_key);
        let proof = hash::xor(&client_key, &hash.hmac(&stored_key, signed.as_bytes()));
        let server_key = hash.hmac(&salted, b"Server Key");
        self.state = State::Proof(Secret::new(hash.hmac(&server_key, signed.as_bytes())));
        Ok(format!("{without_proof},p={}", STANDARD.encode(proof)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exchanges_of_rfc_5802_and_7677_come_out_as_printed() {
        let cases = [
            (
                Mechanism::ScramSha1,
                "fyko+d2lbbFgONRv9qkxdawL",
                "n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
                "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
                "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
                "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
            ),
            (
                Mechanism::ScramSha256,
                "rOprNGfwEbeRWgbNEkqO",
                "n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
                "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
                "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
                "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
            ),
        ];
        for (mechanism, nonce, c1, s1, c2, s2) in cases {
            let password = Secret::new(String::from("pencil"));
            let mut client = ClientExchange::new(
                mechanism,
                "user",
                &password,
                &Seed::from_number(1),
                None,
                ITERATIONS_ACCEPTED,
            )
            .unwrap();
            client.nonce = nonce.into();
            assert_eq!(client.first().unwrap().expose(), c1);
            assert_eq!(client.step(s1.as_bytes()).unwrap().expose(), c2);
            assert_eq!(client.step(s2.as_bytes()).unwrap().expose(), "");
            assert_eq!(client.finish(), Ok(()));
        }
    }
}
