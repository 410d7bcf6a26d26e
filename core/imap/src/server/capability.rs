//! CAPABILITY, ENABLE, ID: what is offered, and what a client has switched on.

use alloc::string::String;
use alloc::vec::Vec;
use mox_machine::Step;

use super::job::{Job, Next, Reply, Running};
use super::{Answer, Ask, Server, Threading};
use crate::wire::{Verb, put, write_string};

/// What a configuration can switch off. All but UNAUTHENTICATE (not while the stream is compressed) and the last two are offered
/// in every state unless it does.
pub const CAPABILITIES: [&str; 48] = [
    "IMAP4rev2",
    "LITERAL+",
    "ENABLE",
    "ID",
    "IDLE",
    "NAMESPACE",
    "UNSELECT",
    "UIDPLUS",
    "MOVE",
    "CHILDREN",
    "LIST-EXTENDED",
    "LIST-STATUS",
    "SPECIAL-USE",
    "CREATE-SPECIAL-USE",
    "ESEARCH",
    "SEARCHRES",
    "WITHIN",
    "CONDSTORE",
    "QRESYNC",
    "STATUS=SIZE",
    "BINARY",
    "UTF8=ACCEPT",
    "MULTIAPPEND",
    "CATENATE",
    "REPLACE",
    "PREVIEW",
    "SAVEDATE",
    "OBJECTID",
    "UIDONLY",
    "INPROGRESS",
    "UNAUTHENTICATE",
    "APPENDLIMIT",
    "SORT",
    "SORT=DISPLAY",
    "ESORT",
    "THREAD=ORDEREDSUBJECT",
    "THREAD=REFERENCES",
    "PARTIAL",
    "CONTEXT=SEARCH",
    "CONTEXT=SORT",
    "QUOTA",
    "QUOTA=RES-STORAGE",
    "METADATA",
    "MULTISEARCH",
    "NOTIFY",
    "SASL-IR",
    "MESSAGELIMIT",
    "COMPRESS=DEFLATE",
];

/// Whether a name, in any case, is one of [`CAPABILITIES`].
pub fn is_capability(name: &str) -> bool {
    let mut known = CAPABILITIES.into_iter();
    known.any(|capability| capability.eq_ignore_ascii_case(name))
}

/// What IMAP4rev2 consists of beside the commands of IMAP4rev1 (RFC 9051 Appendix E): without all of it, it is not offered.
const OF_REV2: [&str; 15] = [
    "LITERAL+",
    "STATUS=SIZE",
    "ENABLE",
    "IDLE",
    "NAMESPACE",
    "UNSELECT",
    "UIDPLUS",
    "MOVE",
    "LIST-EXTENDED",
    "LIST-STATUS",
    "SPECIAL-USE",
    "ESEARCH",
    "SEARCHRES",
    "BINARY",
    "SASL-IR",
];

/// What is nothing without others: where one of those is switched off, so is it.
const STANDS_ON: [(&str, &[&str]); 8] = [
    ("IMAP4rev2", &OF_REV2),
    ("QRESYNC", &["CONDSTORE", "ENABLE"]),
    ("UTF8=ACCEPT", &["ENABLE"]),
    ("UIDONLY", &["ENABLE"]),
    ("SORT=DISPLAY", &["SORT"]),
    ("ESORT", &["SORT"]),
    ("CONTEXT=SORT", &["SORT"]),
    ("QUOTA=RES-STORAGE", &["QUOTA"]),
];

/// What a client has enabled (RFC 5161), in this session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Modes {
    /// IMAP4rev2
    pub(super) rev2: bool,
    /// UTF8=ACCEPT
    pub(super) utf8: bool,
    /// CONDSTORE, by ENABLE or by any command that uses it
    pub(super) condstore: bool,
    /// QRESYNC
    pub(super) qresync: bool,
    /// UIDONLY
    pub(super) uid_only: bool,
}

impl Modes {
    /// Names and texts are UTF-8 on the wire.
    pub(super) const fn is_utf8(self) -> bool {
        self.utf8 || self.rev2
    }

    /// Expunges are told as VANISHED (RFC 7162 3.2.10, RFC 9586 3.3).
    pub(super) const fn tells_vanished(self) -> bool {
        self.qresync || self.uid_only
    }
}

/// The capability a command belongs to, if it is not part of IMAP4rev1.
const fn capability_of(verb: Verb) -> Option<&'static str> {
    Some(match verb {
        Verb::Id => "ID",
        Verb::Enable => "ENABLE",
        Verb::Namespace => "NAMESPACE",
        Verb::Idle => "IDLE",
        Verb::Unselect => "UNSELECT",
        Verb::UidExpunge => "UIDPLUS",
        Verb::Move | Verb::UidMove => "MOVE",
        Verb::Replace | Verb::UidReplace => "REPLACE",
        Verb::Unauthenticate => "UNAUTHENTICATE",
        Verb::Compress => "COMPRESS=DEFLATE",
        Verb::Notify => "NOTIFY",
        Verb::Sort | Verb::UidSort => "SORT",
        Verb::GetQuota | Verb::GetQuotaRoot | Verb::SetQuota => "QUOTA",
        Verb::GetMetadata | Verb::SetMetadata => "METADATA",
        Verb::MultiSearch => "MULTISEARCH",
        Verb::CancelUpdate => "CONTEXT=SEARCH",
        _ => return None,
    })
}

impl Server {
    /// Whether the configuration leaves a capability on.
    pub(super) fn offers(&self, capability: &str) -> bool {
        let off = |name: &str| {
            let mut without = self.config.without.iter().chain(&self.without);
            without.any(|w| w.eq_ignore_ascii_case(name))
        };
        let mut below = STANDS_ON.iter().filter(|(name, _)| *name == capability);
        let complete = below.all(|(_, on)| !on.iter().any(|name| off(name)));
        let configured = match capability {
            "COMPRESS=DEFLATE" => self.config.compress,
            // RFC 8437 4.1: compression would have to end with it.
            "UNAUTHENTICATE" => !self.compressed,
            "MESSAGELIMIT" => self.config.limits.messages > 0,
            _ => true,
        };
        complete && configured && !off(capability)
    }

    pub(super) fn knows(&self, verb: Verb) -> bool {
        match verb {
            Verb::Thread | Verb::UidThread => {
                let mut all = [Threading::OrderedSubject, Threading::References].into_iter();
                all.any(|algorithm| self.threads_by(algorithm))
            }
            _ => capability_of(verb).is_none_or(|capability| self.offers(capability)),
        }
    }

    pub(super) fn threads_by(&self, algorithm: Threading) -> bool {
        self.offers(match algorithm {
            Threading::OrderedSubject => "THREAD=ORDEREDSUBJECT",
            Threading::References => "THREAD=REFERENCES",
        })
    }

    pub(super) fn capabilities(&self) -> String {
        let mut list = String::from("IMAP4rev1");
        for name in CAPABILITIES.into_iter().filter(|name| self.offers(name)) {
            let now = match name {
                "SASL-IR" => !self.authenticated,
                "COMPRESS=DEFLATE" => self.authenticated && !self.compressed,
                _ => true,
            };
            if !now {
                continue;
            }
            list.push(' ');
            list.push_str(name);
            let limits = &self.config.limits;
            let limit = match name {
                "APPENDLIMIT" => Some(limits.append),
                "MESSAGELIMIT" => Some(limits.messages.into()),
                _ => None,
            };
            if let Some(limit) = limit {
                list.push_str(&alloc::format!("={limit}"));
            }
        }
        if self.authenticated {
            return list;
        }
        if !self.tls && self.config.starttls {
            list.push_str(" STARTTLS");
        }
        let mechanisms = self.config.mechanisms.iter();
        for mechanism in mechanisms.filter(|m| self.offers_mechanism(m)) {
            list.push_str(" AUTH=");
            list.push_str(mechanism);
        }
        if !self.takes_login() {
            list.push_str(" LOGINDISABLED");
        }
        list
    }

    pub(super) fn id(&mut self) -> Next {
        let out = self.out.text();
        out.extend_from_slice(b"* ID (\"name\" ");
        write_string(out, self.config.product.as_bytes());
        if !self.config.version.is_empty() {
            out.extend_from_slice(b" \"version\" ");
            write_string(out, self.config.version.as_bytes());
        }
        out.extend_from_slice(b")\r\n");
        Next::ok()
    }

    /// RFC 5161 3.1: what is not known is passed over.
    pub(super) fn enable(&mut self, names: &[Vec<u8>]) -> Next {
        let before = self.modes;
        let mut line = b"* ENABLED".to_vec();
        for name in names {
            let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
            const ENABLED: [&str; 5] = [
                "CONDSTORE",
                "QRESYNC",
                "UTF8=ACCEPT",
                "IMAP4rev2",
                "UIDONLY",
            ];
            let Some(known) = ENABLED.into_iter().find(|k| is(k) && self.offers(k)) else {
                continue;
            };
            let modes = &mut self.modes;
            let flag = match known {
                "CONDSTORE" => &mut modes.condstore,
                "QRESYNC" => &mut modes.qresync,
                "UTF8=ACCEPT" => &mut modes.utf8,
                "IMAP4rev2" => &mut modes.rev2,
                _ => &mut modes.uid_only,
            };
            *flag = true;
            line.push(b' ');
            line.extend_from_slice(known.as_bytes());
        }
        self.out.line(&line);
        // RFC 7162 3.2.3: it brings CONDSTORE with it.
        if (self.modes.condstore || self.modes.qresync) && !before.condstore {
            self.modes.condstore = false;
            self.use_condstore();
        }
        Next::ok()
    }

    /// A command uses CONDSTORE: from now on modification sequences are told (RFC 7162 3.1).
    pub(super) fn use_condstore(&mut self) {
        if self.modes.condstore {
            return;
        }
        self.modes.condstore = true;
        if let Some(selection) = &self.selected {
            let modseq = selection.modseq;
            put!(
                self.out.text(),
                "* OK [HIGHESTMODSEQ {modseq}] the last change\r\n"
            );
        }
    }

    pub(super) fn compress(&mut self, algorithm: &[u8], more: bool) -> Next {
        if algorithm != b"DEFLATE" {
            return Next::bad("DEFLATE was expected");
        }
        if self.compressed {
            return Next::no("COMPRESSIONACTIVE", "it is compressed already");
        }
        if more {
            return Next::bad("data after COMPRESS");
        }
        Next::Wait(self.ask(Ask::Compress), Job::Compress)
    }

    /// RFC 4978 3: everything behind the tagged OK is compressed.
    pub(super) fn compressed(&mut self, running: &Running, answer: Answer) -> Next {
        match answer {
            Answer::Accept => {}
            Answer::No(refusal) => return Next::Done(refusal.into()),
            _ => return Next::Done(Reply::unexpected()),
        }
        self.compressed = true;
        self.reply(&running.tag, Some(running.verb), &Reply::ok());
        self.out.push(Step::Compress);
        Next::Silent
    }
}
