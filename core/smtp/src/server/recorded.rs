//! What a tape keeps of an SMTP server's asks, answers and events.

use bytes::Bytes;
use mox_address::Reply;
use mox_machine::{Recordable, Secret};

use super::{Answer, Ask, Event, MailParams, Server};
use crate::weight;

impl Recordable for Server {
    fn piece(ask: &Ask) -> Option<usize> {
        match ask {
            Ask::Body(piece) => Some(piece.len()),
            _ => None,
        }
    }

    fn ask_weight(ask: &Ask) -> usize {
        match ask {
            Ask::Hello { name, .. } => name.len(),
            Ask::Sasl { mechanism, .. } => mechanism.len(),
            Ask::Sender { from, params } => {
                from.as_ref().map_or(0, weight::path)
                    + params.auth.as_ref().map_or(0, Bytes::len)
                    + weight::text(params.dsn.envelope_id.as_deref())
            }
            Ask::Recipient { to, params } => {
                weight::path(to) + weight::text(params.original.as_deref())
            }
            Ask::Body(piece) => piece.len(),
            Ask::Commit { .. } => 0,
        }
    }

    fn answer_weight(answer: &Answer) -> usize {
        match answer {
            Answer::Accept => 0,
            Answer::Reply(reply) | Answer::SlowReply(reply) => reply.text.len(),
            Answer::Each(replies) => replies
                .iter()
                .map(|r| size_of::<Reply>() + r.text.len())
                .sum(),
            Answer::Challenge(octets) => octets.len(),
            Answer::Authenticated(text)
            | Answer::Begun { id: text }
            | Answer::Stored { id: text } => text.len(),
        }
    }

    fn event_weight(event: &Event) -> usize {
        match event {
            Event::Refused { verb, reply } => verb.len() + reply.text.len(),
            Event::Unfit { reply, .. } => reply.text.len(),
            Event::Reset | Event::Protocol(_) | Event::Closed(_) => 0,
        }
    }

    /// Without what the client said to prove who it is.
    fn keep_ask(ask: &Ask) -> Ask {
        match ask {
            Ask::Hello { name, extended } => Ask::Hello {
                name: Bytes::copy_from_slice(name),
                extended: *extended,
            },
            Ask::Sasl {
                mechanism,
                response,
                first,
            } => Ask::Sasl {
                mechanism: Bytes::copy_from_slice(mechanism),
                response: response.as_ref().map(|_| Secret::new(Bytes::new())),
                first: *first,
            },
            Ask::Sender { from, params } => Ask::Sender {
                from: from.clone(),
                params: MailParams {
                    auth: params.auth.as_deref().map(Bytes::copy_from_slice),
                    ..params.clone()
                },
            },
            Ask::Body(piece) => Ask::Body(Bytes::copy_from_slice(piece)),
            other => other.clone(),
        }
    }

    fn keep_answer(answer: &Answer) -> Answer {
        match answer {
            Answer::Challenge(octets) => Answer::Challenge(Bytes::copy_from_slice(octets)),
            other => other.clone(),
        }
    }
}

#[cfg(test)]
#[allow(clippy::panic, reason = "tests")]
mod tests {
    use super::*;
    use alloc::vec;
    use mox_address::Path;

    #[test]
    fn asks_and_events_weigh_what_they_hold() {
        let text = "x".repeat(1_000);
        let hello = Ask::Hello {
            name: Bytes::from(text.clone()),
            extended: true,
        };
        assert_eq!(Server::ask_weight(&hello), 1_000);
        let Ok(to) = Path::parse("ann@b.example", false) else {
            panic!("no path");
        };
        let recipient = Ask::Recipient {
            to,
            params: Default::default(),
        };
        assert!(Server::ask_weight(&recipient) >= "annb.example".len());
        let refused = Event::Refused {
            verb: Bytes::new(),
            reply: Reply::plain(500, text.clone()),
        };
        assert_eq!(Server::event_weight(&refused), 1_000);
        let each = Answer::Each(vec![Reply::plain(250, text); 5]);
        assert!(Server::answer_weight(&each) > 5_000);
    }

    #[test]
    fn what_is_kept_holds_no_buffer_of_others_and_no_password() {
        let buffer = Bytes::from_static(&[b'x'; 10_000]);
        let hello = Ask::Hello {
            name: buffer.slice(..3),
            extended: true,
        };
        let Ask::Hello { name, .. } = Server::keep_ask(&hello) else {
            panic!("another ask");
        };
        assert_eq!(&name[..], b"xxx");
        assert_ne!(name.as_ptr(), buffer.as_ptr());
        let sasl = Ask::Sasl {
            mechanism: buffer.slice(..3),
            response: Some(Secret::new(buffer.slice(..3))),
            first: true,
        };
        let Ask::Sasl { response, .. } = Server::keep_ask(&sasl) else {
            panic!("another ask");
        };
        assert!(response.is_some_and(|r| r.expose().is_empty()));
    }
}
