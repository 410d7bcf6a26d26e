//! The beginning of a command: its tag, its name, and where it is allowed.

use super::cursor::Cursor;

/// Octets in a tag at most.
const TAG_MAX: usize = 200;

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

#[cfg(test)]
mod tests {
    use super::*;

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
}
