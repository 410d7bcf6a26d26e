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
use crate::server::{Flag, MarkHow};

/// Octets in a tag at most.
const TAG_MAX: usize = 200;
/// RFC 2971 3.3: pairs, octets of a name, octets of a value.
const ID_MAX: (usize, usize, usize) = (30, 30, 1_024);

/// The beginning of a command: enough to know whether it is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head<'a> {
    /// Its tag; `None` when it has none that could be repeated.
    pub tag: Option<&'a [u8]>,
    /// Its name, when that is known.
    pub verb: Option<Verb>,
    /// Its arguments, behind the space.
    pub args: Option<&'a [u8]>,
}

/// A command's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "named as in the RFCs")]
pub enum Verb {
    Capability,
    Noop,
    Logout,
    Id,
    StartTls,
    Authenticate,
    Login,
    Enable,
    Select,
    Examine,
    Create,
    Delete,
    Rename,
    Subscribe,
    Unsubscribe,
    List,
    Lsub,
    Namespace,
    Status,
    Append,
    Idle,
    Check,
    Close,
    Unselect,
    Expunge,
    UidExpunge,
    Search,
    UidSearch,
    Fetch,
    UidFetch,
    Store,
    UidStore,
    Copy,
    UidCopy,
    Move,
    UidMove,
    Replace,
    UidReplace,
    Unauthenticate,
    Compress,
    Notify,
    Sort,
    UidSort,
    Thread,
    UidThread,
    CancelUpdate,
    GetQuota,
    GetQuotaRoot,
    SetQuota,
    GetMetadata,
    SetMetadata,
    MultiSearch,
}

/// Where a command is allowed (RFC 3501 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allowed {
    /// Always.
    Any,
    /// Before login only.
    NotAuthenticated,
    /// After login.
    Authenticated,
    /// While a mailbox is selected.
    Selected,
}

#[rustfmt::skip]
const VERBS: [(Verb, &str, Allowed); 52] = [
    (Verb::Capability, "CAPABILITY", Allowed::Any),
    (Verb::Noop, "NOOP", Allowed::Any),
    (Verb::Logout, "LOGOUT", Allowed::Any),
    (Verb::Id, "ID", Allowed::Any),
    (Verb::StartTls, "STARTTLS", Allowed::NotAuthenticated),
    (Verb::Authenticate, "AUTHENTICATE", Allowed::NotAuthenticated),
    (Verb::Login, "LOGIN", Allowed::NotAuthenticated),
    (Verb::Enable, "ENABLE", Allowed::Authenticated),
    (Verb::Select, "SELECT", Allowed::Authenticated),
    (Verb::Examine, "EXAMINE", Allowed::Authenticated),
    (Verb::Create, "CREATE", Allowed::Authenticated),
    (Verb::Delete, "DELETE", Allowed::Authenticated),
    (Verb::Rename, "RENAME", Allowed::Authenticated),
    (Verb::Subscribe, "SUBSCRIBE", Allowed::Authenticated),
    (Verb::Unsubscribe, "UNSUBSCRIBE", Allowed::Authenticated),
    (Verb::List, "LIST", Allowed::Authenticated),
    (Verb::Lsub, "LSUB", Allowed::Authenticated),
    (Verb::Namespace, "NAMESPACE", Allowed::Authenticated),
    (Verb::Status, "STATUS", Allowed::Authenticated),
    (Verb::Append, "APPEND", Allowed::Authenticated),
    (Verb::Idle, "IDLE", Allowed::Authenticated),
    (Verb::Check, "CHECK", Allowed::Selected),
    (Verb::Close, "CLOSE", Allowed::Selected),
    (Verb::Unselect, "UNSELECT", Allowed::Selected),
    (Verb::Expunge, "EXPUNGE", Allowed::Selected),
    (Verb::UidExpunge, "UID EXPUNGE", Allowed::Selected),
    (Verb::Search, "SEARCH", Allowed::Selected),
    (Verb::UidSearch, "UID SEARCH", Allowed::Selected),
    (Verb::Fetch, "FETCH", Allowed::Selected),
    (Verb::UidFetch, "UID FETCH", Allowed::Selected),
    (Verb::Store, "STORE", Allowed::Selected),
    (Verb::UidStore, "UID STORE", Allowed::Selected),
    (Verb::Copy, "COPY", Allowed::Selected),
    (Verb::UidCopy, "UID COPY", Allowed::Selected),
    (Verb::Move, "MOVE", Allowed::Selected),
    (Verb::UidMove, "UID MOVE", Allowed::Selected),
    (Verb::Replace, "REPLACE", Allowed::Selected),
    (Verb::UidReplace, "UID REPLACE", Allowed::Selected),
    (Verb::Unauthenticate, "UNAUTHENTICATE", Allowed::Authenticated),
    (Verb::Compress, "COMPRESS", Allowed::Authenticated),
    (Verb::Notify, "NOTIFY", Allowed::Authenticated),
    (Verb::Sort, "SORT", Allowed::Selected),
    (Verb::UidSort, "UID SORT", Allowed::Selected),
    (Verb::Thread, "THREAD", Allowed::Selected),
    (Verb::UidThread, "UID THREAD", Allowed::Selected),
    (Verb::CancelUpdate, "CANCELUPDATE", Allowed::Selected),
    (Verb::GetQuota, "GETQUOTA", Allowed::Authenticated),
    (Verb::GetQuotaRoot, "GETQUOTAROOT", Allowed::Authenticated),
    (Verb::SetQuota, "SETQUOTA", Allowed::Authenticated),
    (Verb::GetMetadata, "GETMETADATA", Allowed::Authenticated),
    (Verb::SetMetadata, "SETMETADATA", Allowed::Authenticated),
    (Verb::MultiSearch, "ESEARCH", Allowed::Authenticated),
];

impl Verb {
    /// All there are.
    pub fn all() -> impl Iterator<Item = Self> {
        VERBS.iter().map(|(verb, ..)| *verb)
    }

    /// The one of this name, in any case: `FETCH`, `UID FETCH`.
    pub fn find(name: &[u8]) -> Option<Self> {
        let found = VERBS
            .iter()
            .find(|(_, n, _)| n.as_bytes().eq_ignore_ascii_case(name));
        found.map(|(verb, ..)| *verb)
    }

    /// In upper case.
    pub fn name(self) -> &'static str {
        VERBS
            .iter()
            .find(|(verb, ..)| *verb == self)
            .map_or("", |(_, name, _)| name)
    }

    /// Where it is allowed.
    pub fn allowed(self) -> Allowed {
        let found = VERBS.iter().find(|(verb, ..)| *verb == self);
        found.map_or(Allowed::Any, |(.., allowed)| *allowed)
    }

    /// Names messages by UID.
    pub fn is_uid(self) -> bool {
        self.name().starts_with("UID ")
    }

    /// Sequence numbers of its arguments or responses would be wrong if messages went meanwhile: no EXPUNGE may be
    /// sent before its tagged response (RFC 3501 7.4.1).
    pub const fn forbids_expunge(self) -> bool {
        matches!(
            self,
            Self::Fetch | Self::Store | Self::Search | Self::Sort | Self::Thread
        )
    }

    /// What happened in the selected mailbox is told with it, wanted or not: for NOTIFY (RFC 5465 3.1), and where messages go,
    /// so that the modification sequence that is told with them is that of everything before.
    pub const fn reports(self) -> bool {
        self.moves() || matches!(self, Self::Notify | Self::Expunge | Self::UidExpunge)
    }

    /// Takes messages out of the selected mailbox and puts others somewhere.
    pub const fn moves(self) -> bool {
        matches!(
            self,
            Self::Move | Self::UidMove | Self::Replace | Self::UidReplace
        )
    }

    /// Takes or tells message numbers (RFC 9586 3: refused once there are none any more).
    pub const fn has_numbers(self) -> bool {
        matches!(
            self,
            Self::Fetch
                | Self::Store
                | Self::Search
                | Self::Copy
                | Self::Move
                | Self::Replace
                | Self::Sort
                | Self::Thread
        )
    }

    /// Brings messages: its arguments are read as they come, see [`AppendReader`](super::AppendReader).
    pub const fn brings_message(self) -> bool {
        matches!(self, Self::Append | Self::Replace | Self::UidReplace)
    }
}

impl<'a> Head<'a> {
    /// Reads the beginning of a command; what is missing or unknown stays `None`.
    pub fn parse(line: &'a [u8]) -> Self {
        let mut cursor = Cursor::new(line);
        let tag = cursor.take_while(|b| (super::cursor::is_atom_char(b) || b == b']') && b != b'+');
        let mut head = Self {
            tag: None,
            verb: None,
            args: None,
        };
        if tag.is_empty() || tag.len() > TAG_MAX || !cursor.eat(b' ') {
            return head;
        }
        head.tag = Some(tag);
        let start = cursor.rest();
        let mut length = cursor.take_while(|b| b.is_ascii_alphabetic()).len();
        if start
            .get(..length)
            .is_some_and(|word| word.eq_ignore_ascii_case(b"UID"))
            && cursor.eat(b' ')
        {
            length += 1 + cursor.take_while(|b| b.is_ascii_alphabetic()).len();
        }
        match cursor.peek() {
            None => {}
            Some(b' ') => {
                cursor.eat(b' ');
                head.args = Some(cursor.rest());
            }
            Some(_) => return head,
        }
        head.verb = start.get(..length).and_then(Verb::find);
        head
    }
}

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
    use super::*;

    fn parse(line: &[u8]) -> Result<Command, Malformed> {
        let head = Head::parse(line);
        let verb = head.verb.ok_or(Malformed::Syntax("verb"))?;
        Command::parse(verb, head.args, &Known::NOTHING, &ParseLimits::default())
    }

    #[test]
    fn heads_name_what_can_be_known() {
        let head = Head::parse(b"a1 uid fetch 1 FLAGS");
        assert_eq!(
            (head.tag, head.verb, head.args),
            (
                Some(&b"a1"[..]),
                Some(Verb::UidFetch),
                Some(&b"1 FLAGS"[..])
            )
        );
        assert_eq!(Head::parse(b"a1 NOOP").args, None);
        assert_eq!(Head::parse(b"a1 XFOO").verb, None);
        assert_eq!(Head::parse(b"a1 UID").verb, None);
        assert_eq!(Head::parse(b"a1 UID NOOP").verb, None);
        assert_eq!(Head::parse(b"a1 NOOP\tx").verb, None);
        for bad in [
            &b""[..],
            b" NOOP",
            b"a+ NOOP",
            b"* NOOP",
            b"a\"b NOOP",
            b"NOOP",
        ] {
            assert_eq!(Head::parse(bad).tag, None, "{bad:?}");
        }
    }

    #[test]
    fn every_verb_is_listed_once_and_found_by_its_name() {
        for (verb, name, _) in VERBS {
            assert_eq!(Verb::find(name.to_ascii_lowercase().as_bytes()), Some(verb));
            assert_eq!(verb.name(), name);
        }
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
