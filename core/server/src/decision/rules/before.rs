//! What is decided without a look at the message: the sender, the recipient, and that it can be taken for nobody.

use super::super::decide::{Reason, Verdict, Weight};
use super::super::facts::{Message, Stage, Standing};
use super::super::text;
use super::{Outcome, Trial, defer, refuse};

impl Trial<'_> {
    /// A reverse-path that nobody could answer: transport.md 1.10.
    pub(super) fn sender(&mut self) -> Option<Outcome> {
        let sender = &self.facts.sender;
        let evidence = vec![("sender", sender.clone())];
        if let Some(why) = &self.facts.sender_unreachable {
            let code = match sender.ends_with(']') {
                true => (550, 7, 0),
                false => (550, 7, 27),
            };
            self.note("sender", evidence, Weight::Decides, why);
            let reason = Reason::SenderUnreachable;
            return Some(refuse(reason, code, text::SENDER_UNREACHABLE));
        }
        if self.facts.stage != Stage::SenderUnsure {
            return None;
        }
        let because = "name servers did not tell where mail for the sender's domain goes";
        self.note("sender", evidence, Weight::Decides, because);
        Some(Outcome {
            code: (451, 4, 0),
            text: text::SENDER_UNSURE.into(),
            ..defer(Reason::SenderUnsure)
        })
    }

    /// What was sent can be taken for nobody: RFC 5321 4.5.3.1.7, 2.3.8, RFC 5322 2.2.
    pub(super) fn unfit(&mut self) -> Option<Outcome> {
        let (reason, code, because, said) = match self.recipient.standing {
            Standing::TooBig => (
                Reason::TooBig,
                (552, 3, 4),
                "it is larger than any message may be",
                text::TOO_BIG,
            ),
            Standing::BareLineEnd => (
                Reason::BareLineEnd,
                (550, 5, 2),
                "a line in it ends in bare LF, or holds a bare CR",
                text::BARE_LINE_END,
            ),
            Standing::Nul => (Reason::Nul, (554, 6, 0), "it has a NUL", text::NUL),
            Standing::NoRoom => {
                let because = "there was no room on the disk, or too much was under way";
                self.note("message", Vec::new(), Weight::Decides, because);
                return Some(Outcome {
                    code: (452, 3, 1),
                    text: text::NO_ROOM.into(),
                    ..defer(Reason::NoRoom)
                });
            }
            _ => return None,
        };
        self.note("message", Vec::new(), Weight::Decides, because);
        Some(refuse(reason, code, said))
    }

    /// transport.md 1.11.
    pub(super) fn standing(&mut self) -> Option<Outcome> {
        let evidence = vec![("recipient", self.recipient.address.clone())];
        let (verdict, reason, code, why, text) = match self.recipient.standing {
            // Unfit ones do not come here.
            Standing::Known
            | Standing::TooBig
            | Standing::BareLineEnd
            | Standing::Nul
            | Standing::NoRoom => {
                let because = "the address is an account's";
                self.note("recipient", evidence, Weight::For, because);
                return None;
            }
            Standing::UnknownLocalPart => (
                Verdict::Refuse,
                Reason::UnknownRecipient,
                (550, 1, 1),
                "nobody has this address",
                text::UNKNOWN_RECIPIENT,
            ),
            Standing::NotOurs => (
                Verdict::Refuse,
                Reason::NotOurs,
                (550, 7, 1),
                "the domain is not one of ours",
                text::NOT_OURS,
            ),
            // RFC 3207 4.
            Standing::LacksTls => (
                Verdict::Refuse,
                Reason::TlsRequired,
                (530, 7, 0),
                "mail is taken after STARTTLS only, but for reports about TLS",
                text::TLS_REQUIRED,
            ),
            Standing::Unreachable => (
                Verdict::Defer,
                Reason::AccountUnreachable,
                (451, 3, 0),
                "the account is not there yet",
                text::ACCOUNT_UNREACHABLE,
            ),
            // RFC 5321 4.5.3.1.10: 452 puts off this recipient alone.
            Standing::MailboxFull => (
                Verdict::Defer,
                Reason::MailboxFull,
                (452, 2, 2),
                "the account's quota has no room for it",
                text::MAILBOX_FULL,
            ),
        };
        self.note("recipient", evidence, Weight::Decides, why);
        Some(Outcome {
            verdict,
            reason,
            code,
            text: text.into(),
        })
    }

    /// RFC 5321 6.3, RFC 9228.
    pub(super) fn loops(&mut self, message: &Message) -> Option<Outcome> {
        let why = message.loops.as_deref();
        let why = why.or(self.recipient.loops.as_deref())?;
        self.note("loop", Vec::new(), Weight::Decides, why);
        Some(refuse(Reason::Loop, (550, 4, 6), why))
    }
}
