//! A server that offers STARTTLS and cannot do it.

use rustls::ServerConfig;
use std::sync::Arc;
use std::time::Duration;

use super::{Act, Manner, Seen, Stage};

/// What is wrong with its TLS.
#[derive(Debug, Clone)]
pub enum Flaw {
    /// Says 454 to STARTTLS.
    Refuses,
    /// Says nothing to STARTTLS.
    Ignores,
    /// Says 220, waits for the handshake to begin, then says what is not TLS.
    Garbage,
    /// Says 220, then a reply in clear at once, as an attacker in the middle does (RFC 3207 6).
    Injects,
    /// Says 220, then nothing.
    Hangs,
    /// Says 220, then closes.
    Closes,
    /// Makes the handshake with this certificate, then closes at once.
    Leaves(Arc<ServerConfig>),
    /// Makes the handshake with this certificate (of somebody else, expired, ...), then goes on.
    Presents(Arc<ServerConfig>),
}

/// Offers STARTTLS, with a [`Flaw`]; in clear it is plain.
#[derive(Debug, Clone)]
pub struct BrokenTls(pub Flaw);

impl Manner for BrokenTls {
    fn at(&mut self, seen: &Seen<'_>) -> Option<Vec<Act>> {
        const GO: &[u8] = b"220 2.0.0 go ahead\r\n";
        let go = || Act::Say(GO.to_vec());
        match seen.stage {
            Stage::Hello => {
                let offering = Seen {
                    offers_tls: true,
                    ..*seen
                };
                Some(offering.plain())
            }
            Stage::StartTls => Some(match &self.0 {
                Flaw::Refuses => vec![Act::reply("454 4.7.0 TLS not available now")],
                Flaw::Ignores => vec![Act::Hang],
                Flaw::Garbage => vec![
                    go(),
                    Act::Pause(Duration::from_secs(5)),
                    Act::Say(b"this is not a handshake\r\n".to_vec()),
                    Act::Hang,
                ],
                Flaw::Injects => vec![Act::Say([GO, b"250 injected\r\n"].concat())],
                Flaw::Hangs => vec![go(), Act::Hang],
                Flaw::Closes => vec![go(), Act::Close],
                Flaw::Leaves(config) => {
                    vec![go(), Act::Handshake(Some(config.clone())), Act::Close]
                }
                Flaw::Presents(config) => vec![go(), Act::Handshake(Some(config.clone()))],
            }),
            _ => None,
        }
    }
}
