//! NOTIFY, RFC 5465.

use alloc::vec::Vec;

use super::cursor::{Cursor, Known, Malformed, ParseLimits, Parsed, syntax};
use super::fetch::FetchItem;
use super::multisearch::Source;

/// What a client wants to be told without asking.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NotifySet {
    /// STATUS: how the mailboxes are now is told first.
    pub status: bool,
    /// What is wanted of the selected mailbox; `None` when it is not named.
    pub selected: Option<SelectedEvents>,
    /// What is wanted of the others; all that name a mailbox count.
    pub others: Vec<(Source, Events)>,
}

/// What is wanted of the selected mailbox.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SelectedEvents {
    /// SELECTED-DELAYED: numbers change only where a command allows it.
    pub delayed: bool,
    /// Which events.
    pub events: Events,
    /// What is told of new messages.
    pub items: Vec<FetchItem>,
}

/// Kinds of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(clippy::struct_excessive_bools, reason = "a set of events")]
pub struct Events {
    /// MessageNew
    pub new: bool,
    /// MessageExpunge
    pub expunge: bool,
    /// FlagChange
    pub flags: bool,
    /// MailboxName
    pub name: bool,
    /// SubscriptionChange
    pub subscription: bool,
    /// MailboxMetadataChange
    pub metadata: bool,
    /// ServerMetadataChange, which is about no mailbox
    pub server_metadata: bool,
}

impl Events {
    /// What is in either.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self {
            new: self.new || other.new,
            expunge: self.expunge || other.expunge,
            flags: self.flags || other.flags,
            name: self.name || other.name,
            subscription: self.subscription || other.subscription,
            metadata: self.metadata || other.metadata,
            server_metadata: self.server_metadata || other.server_metadata,
        }
    }

    /// Something about messages is wanted.
    pub const fn of_messages(self) -> bool {
        self.new || self.expunge || self.flags
    }

    /// Nothing is wanted.
    pub const fn is_empty(self) -> bool {
        !(self.of_messages() || self.of_mailboxes())
    }

    /// Something about mailboxes themselves is wanted, or about the account.
    pub const fn of_mailboxes(self) -> bool {
        self.name || self.subscription || self.metadata || self.server_metadata
    }
}

/// Events there are, for whoever asks for others.
const BAD_EVENT: Malformed = Malformed::Refused(
    "BADEVENT (MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange MailboxMetadataChange ServerMetadataChange)",
    "there is no such event",
);

impl NotifySet {
    /// `SET [STATUS] (filter events) ...`, or `NONE`, which is `None`.
    pub(crate) fn parse(
        cursor: &mut Cursor<'_>,
        known: &Known<'_>,
        limits: &ParseLimits,
    ) -> Parsed<Option<Self>> {
        if cursor.eat_word("NONE") {
            return Ok(None);
        }
        if !cursor.eat_word("SET") {
            return syntax("SET or NONE was expected");
        }
        cursor.space()?;
        let mut set = Self::default();
        if cursor.eat_word("STATUS") {
            set.status = true;
            cursor.space()?;
        }
        loop {
            set.group(cursor, known, limits)?;
            // All of them are looked through for each mailbox.
            let groups = set.others.iter().map(|(source, _)| 1 + source.names());
            if groups.sum::<usize>() as u64 > u64::from(limits.items) {
                return Err(Malformed::Refused("LIMIT", "too many groups of events"));
            }
            if !cursor.eat(b' ') {
                break;
            }
        }
        Ok(Some(set))
    }

    fn group(
        &mut self,
        cursor: &mut Cursor<'_>,
        known: &Known<'_>,
        limits: &ParseLimits,
    ) -> Parsed<()> {
        cursor.expect(b'(', "a group of events was expected")?;
        let delayed = cursor.eat_word("SELECTED-DELAYED");
        let source = match delayed {
            true => Source::Selected,
            false => Source::parse(cursor, known.utf8, limits)?,
        };
        cursor.space()?;
        let (events, items) = events(cursor, limits)?;
        cursor.expect(b')', "the group of events is not closed")?;
        // RFC 5465 5.3: flags are told of messages that are known.
        if events.flags && !(events.new && events.expunge) {
            return syntax("FlagChange needs MessageNew and MessageExpunge");
        }
        if source != Source::Selected {
            if !items.is_empty() {
                return syntax("data items are for the selected mailbox");
            }
            self.others.push((source, events));
            return Ok(());
        }
        if self.selected.is_some() {
            return syntax("the selected mailbox stands here twice");
        }
        if events.of_mailboxes() {
            return syntax("the selected mailbox has events of messages only");
        }
        // RFC 5465 5: numbers would be wrong with one of them alone.
        if events.new != events.expunge {
            return syntax("MessageNew and MessageExpunge go together");
        }
        self.selected = Some(SelectedEvents {
            delayed,
            events,
            items,
        });
        Ok(())
    }
}

/// `NONE`, or events in parentheses, which some examples leave out.
fn events(cursor: &mut Cursor<'_>, limits: &ParseLimits) -> Parsed<(Events, Vec<FetchItem>)> {
    let (mut events, mut items) = (Events::default(), Vec::new());
    if cursor.eat_word("NONE") {
        return Ok((events, items));
    }
    let enclosed = cursor.eat(b'(');
    loop {
        let word = cursor.word().to_ascii_uppercase();
        let event = match &word[..] {
            b"MESSAGENEW" => &mut events.new,
            b"MESSAGEEXPUNGE" => &mut events.expunge,
            b"FLAGCHANGE" => &mut events.flags,
            b"MAILBOXNAME" => &mut events.name,
            b"SUBSCRIPTIONCHANGE" => &mut events.subscription,
            b"MAILBOXMETADATACHANGE" => &mut events.metadata,
            b"SERVERMETADATACHANGE" => &mut events.server_metadata,
            b"" => return syntax("an event was expected"),
            _ => return Err(BAD_EVENT),
        };
        *event = true;
        if !cursor.eat(b' ') {
            break;
        }
        if word == b"MESSAGENEW" && cursor.peek() == Some(b'(') {
            items = FetchItem::list(cursor, limits)?;
            if !cursor.eat(b' ') {
                break;
            }
        }
    }
    if enclosed {
        cursor.expect(b')', "the list of events is not closed")?;
    }
    Ok((events, items))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Parsed<Option<NotifySet>> {
        let mut cursor = Cursor::new(text.as_bytes());
        let set = NotifySet::parse(&mut cursor, &Known::NOTHING, &ParseLimits::default())?;
        cursor.end()?;
        Ok(set)
    }

    #[test]
    fn groups_are_read_with_and_without_parentheses_around_events() {
        let messages = Events {
            new: true,
            expunge: true,
            ..Events::default()
        };
        for text in [
            "SET STATUS (selected MessageNew (uid) MessageExpunge) (subtree Lists MessageNew)",
            "set status (SELECTED (messagenew (UID) messageexpunge)) (SUBTREE (Lists) (MessageNew))",
        ] {
            let set = parse(text).unwrap().unwrap();
            let selected = set.selected.unwrap();
            assert_eq!((set.status, selected.delayed), (true, false));
            assert_eq!(
                (selected.events, &selected.items[..]),
                (messages, &[FetchItem::Uid][..])
            );
            let new = Events {
                new: true,
                ..Events::default()
            };
            assert_eq!(
                set.others,
                [(Source::Subtree(["Lists".into()].into()), new)]
            );
        }
        assert_eq!(parse("NONE"), Ok(None));
        let set = parse("SET (selected-delayed NONE) (inboxes NONE) (personal (MailboxName))");
        let set = set.unwrap().unwrap();
        assert!(set.selected.unwrap().delayed && set.others[0].1.is_empty());
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for bad in [
            "",
            "SET",
            "SET STATUS",
            "SET (selected)",
            "SET (selected ())",
            "SET (selected (MessageNew))",
            "SET (selected (MessageNew (uid) MessageExpunge) (selected NONE)",
            "SET (selected NONE) (selected-delayed NONE)",
            "SET (selected (MailboxName))",
            "SET (personal (FlagChange))",
            "SET (personal (MessageNew (uid)))",
            "SET (personal (MessageNew)",
            "SET (nowhere (MessageNew))",
            "NONE x",
        ] {
            assert!(matches!(parse(bad), Err(Malformed::Syntax(_))), "{bad}");
        }
        let bad = parse("SET (personal (MessageNew AnnotationChange))");
        assert!(matches!(bad, Err(Malformed::Refused(code, _)) if code.starts_with("BADEVENT (")));
    }
}
