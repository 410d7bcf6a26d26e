//! The server's side of an exchange.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use mox_machine::{Secret, Seed};

use crate::credentials::Credentials;
use crate::hash::{self, Hash};
use crate::prepare::{PASSWORD_MAX, USER_MAX, prepare_user};
use crate::scram::{self, ClientFinal, ClientFirst, Flag};
use crate::{Failure, Mechanism};

/// What the server's side wants next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Send this to the client (base64 is the protocol's affair) and call [`ServerExchange::step`] with its response.
    Challenge(Bytes),
    /// Look this user up and call [`ServerExchange::credentials`]; for an unknown user with [`Credentials::fake`].
    NeedCredentials {
        /// The name as typed, prepared (NFC); case is kept.
        user: String,
    },
    /// The client is this user, as typed in [`Step::NeedCredentials`].
    Done {
        /// The name.
        user: String,
    },
    /// It is over.
    Fail(Failure),
}

/// One exchange on the server's side: [`step`](Self::step) with each response until `Done` or `Fail`.
#[derive(Debug)]
pub struct ServerExchange {
    mechanism: Mechanism,
    /// Our part of the nonce.
    nonce: String,
    exporter: Option<Secret<[u8; 32]>>,
    /// EXTERNAL: who the client's certificate says it is.
    identity: Option<String>,
    state: State,
}

#[derive(Debug)]
enum State {
    Start,
    /// CRAM-MD5: the client was sent this; its digest comes.
    Digest {
        challenge: String,
    },
    /// CRAM-MD5: the digest is there, the credentials are not.
    Compare {
        challenge: String,
        user: String,
        digest: Secret<Vec<u8>>,
    },
    /// LOGIN: the password comes.
    Password {
        user: String,
    },
    /// PLAIN and LOGIN: both are there, the credentials are not.
    Verify {
        user: String,
        password: Secret<String>,
    },
    /// SCRAM: the credentials come.
    Salt(ClientFirst),
    /// SCRAM: the proof comes.
    Proof {
        client: ClientFirst,
        server_first: String,
        stored_key: Secret<Vec<u8>>,
        server_key: Secret<Vec<u8>>,
    },
    /// SCRAM: the client proved itself and was sent our proof; it answers with nothing.
    Confirm {
        user: String,
    },
    /// SCRAM: the client was sent why not; whatever it says now, it is refused.
    Refused(Failure),
    Over,
}

impl ServerExchange {
    /// A new exchange; the nonce comes from `seed`. `exporter` is the connection's `tls-exporter` value, `Some` exactly
    /// when -PLUS mechanisms were offered on this connection.
    pub fn new(mechanism: Mechanism, seed: &Seed, exporter: Option<[u8; 32]>) -> Self {
        Self::with_nonce(mechanism, scram::nonce(seed), exporter)
    }

    /// EXTERNAL, for a client whose certificate was verified and says that it is `identity`. An exchange for EXTERNAL that
    /// comes from [`new`](Self::new) refuses everybody.
    pub fn external(identity: &str) -> Result<Self, Failure> {
        let mut exchange = Self::with_nonce(Mechanism::External, String::new(), None);
        exchange.identity = Some(prepare_user(identity)?);
        Ok(exchange)
    }

    pub(crate) fn with_nonce(
        mechanism: Mechanism,
        nonce: String,
        exporter: Option<[u8; 32]>,
    ) -> Self {
        Self {
            mechanism,
            nonce,
            exporter: exporter.map(Secret::new),
            identity: None,
            state: State::Start,
        }
    }

    /// The mechanism.
    pub fn mechanism(&self) -> Mechanism {
        self.mechanism
    }

    /// The client's response, decoded; `None` when the exchange was begun without an initial response.
    ///
    /// Out of turn (after the end, or while credentials are wanted) it ends the exchange as malformed.
    pub fn step(&mut self, response: Option<&[u8]>) -> Step {
        let step = match core::mem::replace(&mut self.state, State::Over) {
            State::Start => self.start(response),
            State::Digest { challenge } => {
                self.digest_given(challenge, response.unwrap_or_default())
            }
            State::Password { user } => self.password_given(user, response.unwrap_or_default()),
            State::Proof {
                client,
                server_first,
                stored_key,
                server_key,
            } => Ok(self.proof(
                &client,
                &server_first,
                stored_key.expose(),
                server_key.expose(),
                response.unwrap_or_default(),
            )),
            State::Confirm { user } => match response {
                None | Some([]) => Ok(Step::Done { user }),
                Some(_) => Err(Failure::Malformed),
            },
            State::Refused(failure) => Err(failure),
            State::Verify { .. } | State::Compare { .. } | State::Salt(_) | State::Over => {
                Err(Failure::Malformed)
            }
        };
        step.unwrap_or_else(|failure| {
            self.state = State::Over;
            Step::Fail(failure)
        })
    }

    /// The password that waits for [`credentials`](Self::credentials), with PLAIN and LOGIN: for a cache of successes,
    /// see [`verified`](Self::verified).
    pub fn password(&self) -> Option<&Secret<String>> {
        match &self.state {
            State::Verify { password, .. } => Some(password),
            _ => None,
        }
    }

    /// SCRAM: why the client is refused, once that was told to it and it may still say something (RFC 5802 section 3).
    pub fn refusal(&self) -> Option<&Failure> {
        match &self.state {
            State::Refused(failure) => Some(failure),
            _ => None,
        }
    }

    /// The credentials that [`Step::NeedCredentials`] wanted. With PLAIN and LOGIN this derives keys from the password,
    /// which takes milliseconds: run it as Compute.
    pub fn credentials(&mut self, credentials: &Credentials) -> Step {
        match core::mem::replace(&mut self.state, State::Over) {
            State::Verify { user, password } => {
                let right = credentials.verify(password.expose());
                self.state = State::Verify { user, password };
                self.verified(right)
            }
            State::Compare {
                challenge,
                user,
                digest,
            } => match credentials.answers(challenge.as_bytes(), digest.expose()) {
                true => Step::Done { user },
                false => Step::Fail(Failure::WrongCredentials),
            },
            State::Salt(client) => self.salt(client, credentials),
            _ => Step::Fail(Failure::Malformed),
        }
    }

    /// In place of [`credentials`](Self::credentials), with PLAIN and LOGIN: somebody else knows whether
    /// [`password`](Self::password) is this user's.
    pub fn verified(&mut self, right: bool) -> Step {
        match core::mem::replace(&mut self.state, State::Over) {
            State::Verify { user, .. } if right => Step::Done { user },
            State::Verify { .. } => Step::Fail(Failure::WrongCredentials),
            _ => Step::Fail(Failure::Malformed),
        }
    }

    fn start(&mut self, response: Option<&[u8]>) -> Result<Step, Failure> {
        match (self.mechanism, response) {
            (Mechanism::Login, None) => {
                self.state = State::Start;
                Ok(Step::Challenge(Bytes::from_static(b"Username:")))
            }
            // RFC 2195 2: in the form of a message identifier.
            (Mechanism::CramMd5, None) => {
                let challenge = format!("<{}@mox>", self.nonce);
                self.state = State::Digest {
                    challenge: challenge.clone(),
                };
                Ok(Step::Challenge(Bytes::from(challenge)))
            }
            (_, None) => {
                self.state = State::Start;
                Ok(Step::Challenge(Bytes::new()))
            }
            // The server begins.
            (Mechanism::CramMd5, Some(_)) => Err(Failure::Malformed),
            (Mechanism::External, Some(authzid)) => self.as_certified(authzid),
            (Mechanism::Login, Some(user)) => {
                let user = prepare_user(string(user)?)?;
                self.state = State::Password { user };
                Ok(Step::Challenge(Bytes::from_static(b"Password:")))
            }
            (Mechanism::Plain, Some(message)) => {
                let (user, password) = plain(message)?;
                Ok(self.verify(user, password))
            }
            (_, Some(message)) => self.client_first(message),
        }
    }

    fn password_given(&mut self, user: String, password: &[u8]) -> Result<Step, Failure> {
        let password = string(password)?;
        if password.len() > PASSWORD_MAX {
            return Err(Failure::Malformed);
        }
        Ok(self.verify(user, password))
    }

    /// RFC 4422 Appendix A: as whom the client wants to act; nothing is as who it is.
    fn as_certified(&self, authzid: &[u8]) -> Result<Step, Failure> {
        let user = self.identity.clone().ok_or(Failure::WrongCredentials)?;
        if !authzid.is_empty() && prepare_user(string(authzid)?)? != user {
            return Err(Failure::WrongCredentials);
        }
        Ok(Step::Done { user })
    }

    /// RFC 2195 2: the name, a space, and the digest in lower case.
    fn digest_given(&mut self, challenge: String, response: &[u8]) -> Result<Step, Failure> {
        if response.len() > USER_MAX + 1 + 32 {
            return Err(Failure::Malformed);
        }
        let (user, digest) = string(response)?
            .rsplit_once(' ')
            .ok_or(Failure::Malformed)?;
        let user = prepare_user(user)?;
        self.state = State::Compare {
            challenge,
            user: user.clone(),
            digest: Secret::new(digest.as_bytes().to_vec()),
        };
        Ok(Step::NeedCredentials { user })
    }

    fn verify(&mut self, user: String, password: &str) -> Step {
        self.state = State::Verify {
            user: user.clone(),
            password: Secret::new(String::from(password)),
        };
        Step::NeedCredentials { user }
    }

    fn client_first(&mut self, message: &[u8]) -> Result<Step, Failure> {
        let mut client = ClientFirst::parse(message)?;
        // RFC 5802 section 6.
        match (&client.flag, self.mechanism.is_bound(), &self.exporter) {
            (Flag::Used(name), true, Some(_)) if name == scram::BINDING => {}
            (Flag::Used(_), true, Some(_)) => return Err(Failure::BindingTypeUnsupported),
            (Flag::Used(_), false, _) | (_, true, _) => return Err(Failure::BindingUnsupported),
            (Flag::NotSeen, false, Some(_)) => return Err(Failure::BindingDowngrade),
            (Flag::None | Flag::NotSeen, false, _) => {}
        }
        client.user = prepare_user(&client.user)?;
        if !client.authzid.is_empty() && prepare_user(&client.authzid)? != client.user {
            return Err(Failure::WrongCredentials);
        }
        let user = client.user.clone();
        self.state = State::Salt(client);
        Ok(Step::NeedCredentials { user })
    }

    fn salt(&mut self, client: ClientFirst, credentials: &Credentials) -> Step {
        let Some(keys) = credentials.keys(self.mechanism) else {
            return Step::Fail(Failure::Malformed);
        };
        let server_first = format!(
            "r={}{},s={},i={}",
            client.nonce,
            self.nonce,
            STANDARD.encode(&keys.salt),
            keys.iterations
        );
        self.state = State::Proof {
            client,
            server_first: server_first.clone(),
            stored_key: Secret::new(keys.stored_key.clone()),
            server_key: Secret::new(keys.server_key.clone()),
        };
        Step::Challenge(Bytes::from(server_first))
    }

    /// The server's last message, for better or worse.
    fn proof(
        &mut self,
        client: &ClientFirst,
        server_first: &str,
        stored_key: &[u8],
        server_key: &[u8],
        message: &[u8],
    ) -> Step {
        let exporter = match client.flag {
            Flag::Used(_) => self.exporter.as_ref().map(Secret::expose),
            Flag::None | Flag::NotSeen => None,
        };
        let nonce = format!("{}{}", client.nonce, self.nonce);
        let signature = self
            .mechanism
            .hash()
            .map_or(Err(Failure::Malformed), |hash| {
                let last = ClientFinal::parse(message)?;
                let binding = scram::binding_attribute(&client.gs2, exporter);
                if !hash::equal(last.binding.as_bytes(), binding.as_bytes()) {
                    return Err(Failure::BindingMismatch);
                }
                if last.nonce != nonce {
                    return Err(Failure::WrongCredentials);
                }
                let signed = format!("{},{server_first},{}", client.bare, last.without_proof);
                check(hash, stored_key, &last.proof, &signed)?;
                Ok(hash.hmac(server_key, signed.as_bytes()))
            });
        let (state, message) = match signature {
            Ok(signature) => (
                State::Confirm {
                    user: client.user.clone(),
                },
                format!("v={}", STANDARD.encode(signature)),
            ),
            Err(failure) => (
                State::Refused(failure),
                format!("e={}", failure.scram_word()),
            ),
        };
        self.state = state;
        Step::Challenge(Bytes::from(message))
    }
}

/// RFC 5802 section 3: the proof is ClientKey XOR ClientSignature, and H(ClientKey) is what we stored.
fn check(hash: Hash, stored_key: &[u8], proof: &[u8], signed: &str) -> Result<(), Failure> {
    let signature = hash.hmac(stored_key, signed.as_bytes());
    if proof.len() != signature.len() {
        return Err(Failure::WrongCredentials);
    }
    let client_key = hash::xor(proof, &signature);
    if hash::equal(&hash.digest(&client_key), stored_key) {
        Ok(())
    } else {
        Err(Failure::WrongCredentials)
    }
}

/// RFC 4616: `[authzid] NUL authcid NUL passwd`.
fn plain(message: &[u8]) -> Result<(String, &str), Failure> {
    if message.len() > 2 * USER_MAX + PASSWORD_MAX + 2 {
        return Err(Failure::Malformed);
    }
    let mut parts = string(message)?.split('\0');
    let (Some(authzid), Some(user), Some(password), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Failure::Malformed);
    };
    if user.is_empty() || password.is_empty() {
        return Err(Failure::Malformed);
    }
    let user = prepare_user(user)?;
    if !authzid.is_empty() && prepare_user(authzid)? != user {
        return Err(Failure::WrongCredentials);
    }
    Ok((user, password))
}

fn string(bytes: &[u8]) -> Result<&str, Failure> {
    core::str::from_utf8(bytes).map_err(|_| Failure::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Credentials as the exchanges of the RFCs have them: user, password `pencil`, 4096 iterations.
    fn known(salt: &str) -> Credentials {
        let salt: Vec<u8> = STANDARD.decode(salt).unwrap();
        Credentials::with_salt("pencil", &salt, 4_096)
    }

    #[test]
    fn the_exchange_of_rfc_2195_comes_out_as_printed() {
        let stored = Credentials::with_salt("tanstaaftanstaaf", b"salt", 1);
        let user = String::from("tim");
        for (digest, end) in [
            (
                "tim b913a602c7eda7a495b4e6e7334d3890",
                Step::Done { user: user.clone() },
            ),
            (
                "tim b913a602c7eda7a495b4e6e7334d3891",
                Step::Fail(Failure::WrongCredentials),
            ),
        ] {
            let mut server =
                ServerExchange::with_nonce(Mechanism::CramMd5, String::from("nonce"), None);
            assert_eq!(server.step(None), Step::Challenge("<nonce@mox>".into()));
            server.state = State::Digest {
                challenge: "<1896.697170952@postoffice.reston.mci.net>".into(),
            };
            assert_eq!(
                server.step(Some(digest.as_bytes())),
                Step::NeedCredentials { user: user.clone() }
            );
            assert_eq!(server.credentials(&stored), end);
        }
    }

    #[test]
    fn the_exchanges_of_rfc_5802_and_7677_come_out_as_printed() {
        let cases = [
            (
                Mechanism::ScramSha1,
                "3rfcNHYJY1ZVvWVs7j",
                "QSXCR+Q6sek8bf92",
                "n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
                "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
                "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
                "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
            ),
            (
                Mechanism::ScramSha256,
                "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
                "W22ZaJ0SNY7soEsUEjb6gQ==",
                "n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
                "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
                "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
                "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
            ),
        ];
        for (mechanism, nonce, salt, c1, s1, c2, s2) in cases {
            let mut server = ServerExchange::with_nonce(mechanism, nonce.into(), None);
            let user = String::from("user");
            assert_eq!(
                server.step(Some(c1.as_bytes())),
                Step::NeedCredentials { user: user.clone() }
            );
            assert_eq!(server.credentials(&known(salt)), Step::Challenge(s1.into()));
            assert_eq!(server.step(Some(c2.as_bytes())), Step::Challenge(s2.into()));
            assert_eq!(server.step(Some(b"")), Step::Done { user });
            assert_eq!(server.step(Some(b"")), Step::Fail(Failure::Malformed));
        }
    }
}
