//! What a sender can do about a failure, by its status (RFC 3463, RFC 7505, RFC 7372, RFC 8689).

use mox_address::Enhanced;

/// One sentence; nothing where nobody knows. `is_ours`: no other server said it.
pub(super) fn advice(status: Enhanced, is_expired: bool, is_ours: bool) -> Option<&'static str> {
    let Enhanced(_, subject, detail) = status;
    let advice = match (subject, detail) {
        (1, 1 | 3 | 6) => {
            "What you can do: look whether the address is written right, and ask the recipient by other means for the one that holds now."
        }
        (1, 2 | 10) | (4, 4) => {
            "What you can do: look whether what stands behind the @ is written right; mail to that domain goes nowhere."
        }
        (1, 7 | 8) => {
            "What you can do: the server there does not accept your own address; ask your administrator to look at it."
        }
        (2, 1) => {
            "What you can do: the mailbox is closed; ask the recipient by other means for another address."
        }
        (2, 2) => {
            "What you can do: the mailbox is full; send it again later, or tell the recipient by other means."
        }
        (2, 3) | (3, 4) => {
            "What you can do: the message is too large there; send it without its attachments, or send a link to them."
        }
        (5, 3) => "What you can do: send it again to fewer recipients at a time.",
        (6, 7) => {
            "What you can do: the server there takes no address or header with characters beyond ASCII; write to another address of the recipient."
        }
        (6, _) => {
            "What you can do: send the message again in another form, for example as plain text without attachments."
        }
        (7, 10 | 30) => {
            "What you can do: the server there cannot encrypt as your message demands; send it again without that demand, if that is acceptable."
        }
        (7, 20..=29) => {
            "What you can do: the server there does not believe that the message is from you; forward this notification to your administrator."
        }
        (7, _) if is_ours => {
            "What you can do: ask your administrator: it was this server that did not send it."
        }
        (7, _) => {
            "What you can do: the server there refuses the message by its rules; ask the recipient by other means to have its administrator look at it, and forward this notification."
        }
        _ if is_expired => {
            "What you can do: send it again later, or tell the recipient by other means."
        }
        (3..=5, _) => {
            "What you can do: send it again later; if it fails again, forward this notification to your administrator."
        }
        _ => return None,
    };
    Some(advice)
}
