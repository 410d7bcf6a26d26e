//! What the other side is told. Nobody who is refused as junk is told why: the id behind these texts is for those who ask us.

pub(super) const TAKEN: &str = "taken";
pub(super) const NOT_NOW: &str = "the message cannot be taken now, try again later";
pub(super) const SENDER_UNREACHABLE: &str =
    "the domain of the sender takes no mail, so nobody could answer";
pub(super) const SENDER_UNSURE: &str =
    "it cannot be seen now whether the sender's domain takes mail, try again later";
pub(super) const TLS_REQUIRED: &str = "STARTTLS comes first";
pub(super) const TOO_BIG: &str = "the message is too big";
pub(super) const BARE_LINE_END: &str = "bare CR or LF in the message";
pub(super) const NUL: &str = "NUL in the message";
pub(super) const NO_ROOM: &str = "there is no room for the message now, try again later";
pub(super) const MAILBOX_FULL: &str = "the mailbox is full, try again later";
pub(super) const UNKNOWN_RECIPIENT: &str = "no such user here";
pub(super) const NOT_OURS: &str = "relaying denied: this is not one of our domains";
pub(super) const ACCOUNT_UNREACHABLE: &str = "this account cannot be reached now";
pub(super) const NO_AUTHOR: &str = "the message needs one From field with an address";
pub(super) const DMARC_POLICY: &str =
    "the domain in From does not vouch for this message and wants such mail refused (DMARC)";
pub(super) const GIVE_TOKEN: &str =
    "the message looks like junk; to have it read, send it again with this in the Subject:";
