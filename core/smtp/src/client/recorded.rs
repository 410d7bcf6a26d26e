//! What a tape keeps of an SMTP client's asks, answers and events.

use alloc::string::String;
use bytes::Bytes;
use mox_machine::{Recordable, Secret};

use super::{Answer, Ask, Client, Ending, Event, Outcome};
use crate::weight;
use crate::wire::RcptDsn;

impl Recordable for Client {
    fn piece(_: &Ask) -> Option<usize> {
        None
    }

    fn ask_weight(ask: &Ask) -> usize {
        match ask {
            Ask::Next(offer) => offer
                .mechanisms
                .iter()
                .map(|name| size_of::<String>() + name.len())
                .sum(),
            Ask::Sasl { .. } | Ask::Piece { .. } => 0,
        }
    }

    fn answer_weight(answer: &Answer) -> usize {
        match answer {
            Answer::Send(transaction) => {
                let paths = transaction.from.iter().chain(&transaction.to);
                let original =
                    |dsn: &RcptDsn| size_of::<RcptDsn>() + weight::text(dsn.original.as_deref());
                paths.map(weight::path).sum::<usize>()
                    + transaction.rcpt_dsn.iter().map(original).sum::<usize>()
                    + weight::text(transaction.dsn.envelope_id.as_deref())
            }
            Answer::Piece(octets) => octets.len(),
            Answer::Response(response) => response.as_ref().map_or(0, |r| r.expose().len()),
            Answer::Quit | Answer::Failed => 0,
        }
    }

    fn event_weight(event: &Event) -> usize {
        let said = |outcome: &Outcome| outcome.reply.as_ref().map_or(0, |reply| reply.text.len());
        match event {
            Event::Greeted(reply) | Event::TlsRefused(reply) => reply.text.len(),
            Event::Recipient { outcome, .. } | Event::Closed(Ending::Failed(outcome)) => {
                said(outcome)
            }
            Event::Exchanged { command, reply } => {
                command.len() + reply.as_ref().map_or(0, |reply| reply.text.len())
            }
            Event::Ending { .. } | Event::Finished | Event::Closed(Ending::Quit) => 0,
        }
    }

    /// Without the challenge of an exchange, which is half of what proves who we are.
    fn keep_ask(ask: &Ask) -> Ask {
        match ask {
            Ask::Sasl {
                mechanism,
                challenge,
            } => Ask::Sasl {
                mechanism,
                challenge: challenge.as_ref().map(|_| Secret::new(Bytes::new())),
            },
            other => other.clone(),
        }
    }

    fn keep_answer(answer: &Answer) -> Answer {
        match answer {
            Answer::Piece(octets) => Answer::Piece(Bytes::copy_from_slice(octets)),
            Answer::Response(Some(response)) => {
                let octets = Bytes::copy_from_slice(response.expose());
                Answer::Response(Some(Secret::new(octets)))
            }
            other => other.clone(),
        }
    }
}
