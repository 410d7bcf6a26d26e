//! Commands: their names, the states they are allowed in, and their arguments.

use alloc::vec::Vec;
use bytes::Bytes;
use mox_machine::Secret;

use super::cursor::{Cursor, Known, Malformed, ParseLimits, Parsed, syntax};
use super::fetch::FetchArgs;
use super::flags::{flag_list, flags};
use super::list::{ListArgs, StatusItem};
use super::metadata::{GetMetadata, SetMetadata};
use super::multisearch::MultiSearchArgs;
use super::notify::NotifySet;
use super::search::{SearchArgs, ThreadArgs};
use super::select::SelectParams;
use super::sequence::SequenceSet;
use super::verb::Verb;
use crate::server::{Flag, MarkHow};

/// RFC 2971 3.3: pairs, octets of a name, octets of a value.
const ID_MAX: (usize, usize, usize) = (30, 30, 1_024);

/// A command with its arguments. APPEND and REPLACE have their own reader, [`AppendReader`](super::AppendReader),
/// because their messages stream.
#[derive(Debug, Clone, PartialEq)]
#[expect(
    missing_docs,
    reason = "named as in the RFCs; the arguments are documented where they have a type"
)]
pub enum Command {
    Capability,
    Noop,
    Logout,
    Id(Vec<IdPair>),
    StartTls,
    Authenticate {
        /// In upper case.
        mechanism: Bytes,
        /// The initial response, still base64 (`=` is the empty one).
        initial: Option<Secret<Bytes>>,
    },
    Login {
        user: Bytes,
        password: Secret<Bytes>,
    },
    Enable(Vec<Vec<u8>>),
    Select {
        mailbox: Vec<u8>,
        read_only: bool,
        params: SelectParams,
    },
    Create {
        mailbox: Vec<u8>,
        /// RFC 6154 USE: attributes as typed.
        special_use: Vec<Vec<u8>>,
    },
    Delete(Vec<u8>),
    Rename {
        from: Vec<u8>,
        to: Vec<u8>,
    },
    Subscribe {
        mailbox: Vec<u8>,
        on: bool,
    },
    List(ListArgs),
    Lsub(ListArgs),
    Namespace,
    Status {
        mailbox: Vec<u8>,
        items: Vec<StatusItem>,
    },
    Idle,
    Check,
    Close,
    Unselect,
    Unauthenticate,
    /// The algorithm in upper case.
    Compress(Vec<u8>),
    /// `None` is NOTIFY NONE.
    Notify(Option<NotifySet>),
    Expunge(Option<SequenceSet>),
    /// SEARCH, or SORT.
    Search(SearchArgs),
    Thread(ThreadArgs),
    /// The root's name.
    GetQuota(Vec<u8>),
    /// The mailbox.
    GetQuotaRoot(Vec<u8>),
    SetQuota,
    GetMetadata(GetMetadata),
    SetMetadata(SetMetadata),
    /// ESEARCH
    MultiSearch(MultiSearchArgs),
    /// Tags of commands.
    CancelUpdate(Vec<Vec<u8>>),
    Fetch(FetchArgs),
    Store(StoreArgs),
    Copy {
        set: SequenceSet,
        mailbox: Vec<u8>,
        remove: bool,
    },
}

/// A field of ID and its value.
pub type IdPair = (Vec<u8>, Option<Vec<u8>>);

/// The arguments of STORE and UID STORE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreArgs {
    /// Which messages.
    pub set: SequenceSet,
    /// How the flags change.
    pub how: MarkHow,
    /// .SILENT
    pub silent: bool,
    /// The flags.
    pub flags: Vec<Flag>,
    /// CONDSTORE
    pub unchanged_since: Option<u64>,
}

impl Command {
    /// Searches with message numbers: no message may go before the answer (RFC 7162 3.2.10.2, RFC 9051 7.5.1).
    pub fn searches_numbers(&self) -> bool {
        match self {
            Self::Search(args) => args.numbers,
            Self::MultiSearch(args) => args.search.numbers,
            Self::Thread(args) => args.numbers,
            _ => false,
        }
    }

    /// Reads the arguments of a command.
    pub fn parse(
        verb: Verb,
        args: Option<&[u8]>,
        known: &Known<'_>,
        limits: &ParseLimits,
    ) -> Result<Self, Malformed> {
        let Some(args) = args else {
            return Self::without_arguments(verb);
        };
        let mut cursor = Cursor::new(args);
        let c = &mut cursor;
        let command = match verb {
            Verb::Id => Self::Id(id_pairs(c)?),
            Verb::Authenticate => {
                let mechanism = c.atom()?.to_ascii_uppercase().into();
                let initial = if c.eat(b' ') {
                    let raw = c.take_while(|b| b.is_ascii_graphic());
                    Some(Secret::new(Bytes::copy_from_slice(raw)))
                } else {
                    None
                };
                Self::Authenticate { mechanism, initial }
            }
            Verb::Login => {
                let user = Bytes::copy_from_slice(&c.astring()?);
                c.space()?;
                let password = Secret::new(Bytes::copy_from_slice(&c.astring()?));
                Self::Login { user, password }
            }
            Verb::Enable => {
                let mut names = Vec::new();
                loop {
                    names.push(c.atom()?.to_vec());
                    if !c.eat(b' ') {
                        break;
                    }
                }
                Self::Enable(names)
            }
            Verb::Select | Verb::Examine => {
                let mailbox = c.astring()?.into_owned();
                Self::Select {
                    mailbox,
                    read_only: verb == Verb::Examine,
                    params: SelectParams::parse(c, limits)?,
                }
            }
            Verb::Create => {
                let mailbox = c.astring()?.into_owned();
                let special_use = if c.eat(b' ') {
                    use_attributes(c)?
                } else {
                    Vec::new()
                };
                Self::Create {
                    mailbox,
                    special_use,
                }
            }
            Verb::Delete => Self::Delete(c.astring()?.into_owned()),
            Verb::Rename => {
                let from = c.astring()?.into_owned();
                c.space()?;
                Self::Rename {
                    from,
                    to: c.astring()?.into_owned(),
                }
            }
            Verb::Subscribe | Verb::Unsubscribe => Self::Subscribe {
                mailbox: c.astring()?.into_owned(),
                on: verb == Verb::Subscribe,
            },
            Verb::List => return ListArgs::parse(c, known.utf8, limits).map(Self::List),
            Verb::Lsub => return ListArgs::parse_lsub(c, known.utf8).map(Self::Lsub),
            Verb::Status => {
                let mailbox = c.astring()?.into_owned();
                c.space()?;
                Self::Status {
                    mailbox,
                    items: StatusItem::list(c)?,
                }
            }
            Verb::UidExpunge => Self::Expunge(Some(SequenceSet::parse(c, known, limits)?)),
            Verb::Search | Verb::UidSearch => {
                return SearchArgs::parse(c, known, limits).map(Self::Search);
            }
            Verb::Sort | Verb::UidSort => {
                return SearchArgs::parse_sort(c, known, limits).map(Self::Search);
            }
            Verb::Thread | Verb::UidThread => {
                return ThreadArgs::parse(c, known, limits).map(Self::Thread);
            }
            Verb::GetQuota => Self::GetQuota(c.astring()?.into_owned()),
            Verb::GetQuotaRoot => Self::GetQuotaRoot(c.astring()?.into_owned()),
            Verb::MultiSearch => {
                return MultiSearchArgs::parse(c, known, limits).map(Self::MultiSearch);
            }
            Verb::GetMetadata => Self::GetMetadata(GetMetadata::parse(c, limits)?),
            Verb::SetMetadata => Self::SetMetadata(SetMetadata::parse(c, limits)?),
            Verb::SetQuota => {
                set_quota(c)?;
                Self::SetQuota
            }
            Verb::CancelUpdate => {
                let mut tags = Vec::new();
                loop {
                    tags.push(c.string()?.into_owned());
                    if !c.eat(b' ') {
                        break;
                    }
                }
                Self::CancelUpdate(tags)
            }
            Verb::Fetch | Verb::UidFetch => {
                return FetchArgs::parse(c, known, limits).map(Self::Fetch);
            }
            Verb::Store | Verb::UidStore => Self::Store(store(c, known, limits)?),
            Verb::Notify => Self::Notify(NotifySet::parse(c, known, limits)?),
            Verb::Compress => Self::Compress(c.atom()?.to_ascii_uppercase()),
            Verb::Copy | Verb::UidCopy | Verb::Move | Verb::UidMove => {
                let set = SequenceSet::parse(c, known, limits)?;
                c.space()?;
                let mailbox = c.astring()?.into_owned();
                Self::Copy {
                    set,
                    mailbox,
                    remove: matches!(verb, Verb::Move | Verb::UidMove),
                }
            }
            Verb::Append | Verb::Replace | Verb::UidReplace => {
                return syntax("a message literal was expected");
            }
            Verb::Capability
            | Verb::Noop
            | Verb::Logout
            | Verb::StartTls
            | Verb::Namespace
            | Verb::Idle
            | Verb::Check
            | Verb::Close
            | Verb::Unselect
            | Verb::Unauthenticate
            | Verb::Expunge => return syntax("this command has no arguments"),
        };
        cursor.end()?;
        Ok(command)
    }

    fn without_arguments(verb: Verb) -> Result<Self, Malformed> {
        Ok(match verb {
            Verb::Capability => Self::Capability,
            Verb::Noop => Self::Noop,
            Verb::Logout => Self::Logout,
            Verb::StartTls => Self::StartTls,
            Verb::Namespace => Self::Namespace,
            Verb::Idle => Self::Idle,
            Verb::Check => Self::Check,
            Verb::Close => Self::Close,
            Verb::Unselect => Self::Unselect,
            Verb::Unauthenticate => Self::Unauthenticate,
            Verb::Expunge => Self::Expunge(None),
            _ => return syntax("arguments are missing"),
        })
    }
}

/// `NIL` or `("name" "value" "name" NIL)`, RFC 2971 3.3.
fn id_pairs(c: &mut Cursor<'_>) -> Parsed<Vec<IdPair>> {
    let (pairs_max, name_max, value_max) = ID_MAX;
    let mut pairs = Vec::new();
    if c.eat_word("NIL") {
        return Ok(pairs);
    }
    c.expect(b'(', "a list of pairs was expected")?;
    while !c.eat(b')') {
        if !pairs.is_empty() {
            c.space()?;
        }
        let name = c.string()?.into_owned();
        c.space()?;
        let value = c.nstring()?.map(alloc::borrow::Cow::into_owned);
        let too_long = name.len() > name_max || value.as_ref().is_some_and(|v| v.len() > value_max);
        if pairs.len() >= pairs_max || too_long {
            return syntax("the identification is too long");
        }
        pairs.push((name, value));
    }
    Ok(pairs)
}

/// `root (STORAGE 512)`, RFC 9208 4.1.3.
fn set_quota(c: &mut Cursor<'_>) -> Parsed<()> {
    c.astring()?;
    c.space()?;
    c.expect(b'(', "a list of resources was expected")?;
    if c.eat(b')') {
        return Ok(());
    }
    loop {
        c.atom()?;
        c.space()?;
        c.number64()?;
        if !c.eat(b' ') {
            break;
        }
    }
    c.expect(b')', "the list of resources is not closed")
}

/// `(USE (\Sent))`, RFC 6154 3.
fn use_attributes(c: &mut Cursor<'_>) -> Parsed<Vec<Vec<u8>>> {
    const WHAT: &str = "there is no such create parameter";
    c.expect(b'(', WHAT)?;
    if !c.eat_word("USE") {
        return syntax(WHAT);
    }
    c.space()?;
    c.expect(b'(', "a list of attributes was expected")?;
    let mut attributes = Vec::new();
    while !c.eat(b')') {
        if !attributes.is_empty() {
            c.space()?;
        }
        c.expect(b'\\', "an attribute was expected")?;
        let mut attribute = b"\\".to_vec();
        attribute.extend_from_slice(c.atom()?);
        attributes.push(attribute);
    }
    c.expect(b')', "the list of create parameters is not closed")?;
    Ok(attributes)
}

fn store(c: &mut Cursor<'_>, known: &Known<'_>, limits: &ParseLimits) -> Parsed<StoreArgs> {
    let set = SequenceSet::parse(c, known, limits)?;
    c.space()?;
    let mut unchanged_since = None;
    if c.eat(b'(') {
        if !c.eat_word("UNCHANGEDSINCE") {
            return syntax("there is no such store modifier");
        }
        c.space()?;
        unchanged_since = Some(c.number64()?);
        c.expect(b')', "the list of store modifiers is not closed")?;
        c.space()?;
    }
    let how = if c.eat(b'+') {
        MarkHow::Add
    } else if c.eat(b'-') {
        MarkHow::Remove
    } else {
        MarkHow::Set
    };
    let silent = match &c.word().to_ascii_uppercase()[..] {
        b"FLAGS" => false,
        b"FLAGS.SILENT" => true,
        _ => return syntax("FLAGS was expected"),
    };
    c.space()?;
    let flags = if c.peek() == Some(b'(') {
        flag_list(c, limits)?
    } else {
        flags(c, limits)?
    };
    Ok(StoreArgs {
        set,
        how,
        silent,
        flags,
        unchanged_since,
    })
}

#[cfg(test)]
mod tests {
    use super::super::verb::Head;
    use super::*;

    fn parse(line: &[u8]) -> Result<Command, Malformed> {
        let head = Head::parse(line);
        let verb = head.verb.ok_or(Malformed::Syntax("verb"))?;
        Command::parse(verb, head.args, &Known::NOTHING, &ParseLimits::default())
    }

    #[test]
    fn arguments_may_be_literals_and_extra_text_is_refused() {
        assert_eq!(
            parse(b"A001 LOGIN {11+}\r\nFRED FOOBAR {7+}\r\nfat man"),
            Ok(Command::Login {
                user: Bytes::from_static(b"FRED FOOBAR"),
                password: Secret::new(Bytes::from_static(b"fat man")),
            })
        );
        for bad in [
            &b"a NOOP "[..],
            b"a LOGIN x",
            b"a LOGIN x y z",
            b"a SELECT",
            b"a SELECT ",
            b"a SELECT a (FOO)",
            b"a RENAME a",
            b"a STATUS a ()",
            b"a STATUS a (FOO)",
            b"a STORE 1 FLAGS",
            b"a STORE 1 FOO (x)",
            b"a COPY 1",
            b"a ID (\"a\")",
            b"a ID",
            b"a ENABLE",
            b"a CREATE a (USE \\Sent)",
            b"a UID EXPUNGE",
            b"a EXPUNGE 1",
        ] {
            assert!(
                matches!(parse(bad), Err(Malformed::Syntax(_))),
                "{}",
                bad.escape_ascii()
            );
        }
        for good in [
            &b"a ID NIL"[..],
            b"a ID (\"name\" \"x\" \"y\" NIL)",
            b"a ID ()",
            b"a STORE 1 +FLAGS.SILENT \\Seen x",
            b"a STORE 1 FLAGS ()",
            b"a STORE 1 (UNCHANGEDSINCE 5) -FLAGS (x)",
            b"a CREATE a (USE (\\Sent \\Drafts))",
            b"a select INBOX (condstore)",
            b"a AUTHENTICATE PLAIN =",
            b"a EXPUNGE",
            b"a UID EXPUNGE 1:*",
            b"a MOVE 1,2 x",
        ] {
            assert!(parse(good).is_ok(), "{}", good.escape_ascii());
        }
    }
}
