//! The scenarios. What each is about begins with the rows of transport.md 2.2, 2.5 and 1 that it shows.

use super::super::one_server::ours;
use super::{
    AROUND, BOB, BROTHER, CLAIMED, COLLEAGUE, COLLEAGUE_UNLISTED, DMARC_REPORTER, FROM_NAMELESS,
    Ham, JUNK, Junk, LISTED, Mail, NAMELESS, NEARBY, OTHER, PLAIN, PUT_OFF, REFUSED, Refused,
    SISTER, SPARE, STRANGER, Scenario, TLS_REPORTER, for_the_list, lenient,
    lenient_but_not_for_others, lenient_but_not_in_clear, lenient_with_tokens, listed,
    listed_with_tokens, tls_only, without_filter,
};
use mox_server::decision::{Quarantine, Reason, Verdict};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        about: "D1 a list vouches for a message that its author's domain wants refused",
        set: for_the_list,
        mail: Mail {
            author: "From: <a@refusing.example>\r\n",
            ..LISTED
        },
        reason: Reason::ListAllow,
        ..PLAIN
    },
    Scenario {
        about: "D2 the author's domain wants it refused",
        mail: Mail {
            author: "From: <a@refusing.example>\r\n",
            ..LISTED
        },
        reply: "550 5.7.26 ",
        reason: Reason::DmarcPolicy,
        ..REFUSED
    },
    Scenario {
        about: "D2 the author's domain wants it put aside",
        mail: Mail {
            author: "From: <a@aside.example>\r\n",
            ..LISTED
        },
        verdict: Verdict::Junk,
        reason: Reason::DmarcQuarantine,
        ..PLAIN
    },
    Scenario {
        about: "D2 the author's domain wants it put aside, and Ann does not want it at all",
        set: |one| one.incoming.dmarc_quarantine = Quarantine::Refuse,
        mail: Mail {
            author: "From: <a@aside.example>\r\n",
            ..LISTED
        },
        reply: "550 5.7.26 ",
        reason: Reason::DmarcPolicy,
        ..REFUSED
    },
    Scenario {
        about: "D2 name servers do not tell whether the author's domain signed what it would have refused otherwise",
        mail: Mail {
            author: "From: <a@refusing.example>\r\n",
            signed_by: Some("refusing.example"),
            ..LISTED
        },
        reason: Reason::DmarcUnknown,
        ..PUT_OFF
    },
    Scenario {
        about: "D3 D8 a DMARC report that its author's domain vouches for",
        mail: DMARC_REPORTER,
        reason: Reason::Reporting,
        ..PLAIN
    },
    Scenario {
        about: "D3 a DMARC report in the name of another is a stranger's mail",
        mail: Mail {
            client: OTHER,
            sender: "x@strict.example",
            ..DMARC_REPORTER
        },
        reason: Reason::SpfPolicy,
        ..PUT_OFF
    },
    Scenario {
        about: "D4 D8 a TLS report that its author's domain signed, by a client that SPF does not name",
        mail: TLS_REPORTER,
        reason: Reason::Reporting,
        ..PLAIN
    },
    Scenario {
        about: "D4 a TLS report that somebody else signed is a stranger's mail",
        mail: Mail {
            signed_by: Some("signer.example"),
            ..TLS_REPORTER
        },
        reason: Reason::SpfPolicy,
        ..PUT_OFF
    },
    Scenario {
        about: "D5 what earlier mail was like cannot be read",
        before: &[(BOB, Ham)],
        is_unreadable: true,
        reason: Reason::ReputationError,
        ..PUT_OFF
    },
    Scenario {
        about: "D6 R1 the author's mail was wanted",
        before: &[(BOB, Ham)],
        reason: Reason::Msgfromfull,
        level: "from this author",
        ..PLAIN
    },
    Scenario {
        about: "D7 R1 the author's mail was junk",
        before: &[(BOB, Junk), (BOB, Junk)],
        reason: Reason::Msgfromfull,
        level: "from this author",
        ..PUT_OFF
    },
    Scenario {
        about: "D6 R1 one wanted message out of the last two is enough",
        before: &[(BOB, Ham), (BOB, Junk)],
        reason: Reason::Msgfromfull,
        level: "from this author",
        ..PLAIN
    },
    Scenario {
        about: "R1 unproved junk in an author's name decides nothing",
        before: &[(CLAIMED, Junk), (CLAIMED, Junk)],
        mail: CLAIMED,
        level: "from this author",
        ..PLAIN
    },
    Scenario {
        about: "R2 D7 what the author proved was junk, and this is not proved",
        before: &[(BOB, Junk), (BOB, Junk)],
        mail: CLAIMED,
        reason: Reason::Msgfromfull,
        level: "from this author, proved",
        ..PUT_OFF
    },
    Scenario {
        about: "R2 what the author proved was wanted, and this is not proved: it is looked at strictly",
        set: lenient,
        learned: true,
        before: &[(BOB, Ham), (BOB, Ham)],
        mail: Mail {
            body: JUNK,
            ..CLAIMED
        },
        reason: Reason::JunkContentStrict,
        level: "from this author, proved",
        ..PUT_OFF
    },
    Scenario {
        about: "R3 D6 Ann wrote to the author, whose domain sent junk",
        wrote: &["bob@far.example"],
        before: &[(COLLEAGUE, Junk), (COLLEAGUE, Junk), (COLLEAGUE, Junk)],
        reason: Reason::Msgtofull,
        level: "to this author",
        ..PLAIN
    },
    Scenario {
        about: "R3 Ann wrote to the author, and this is not proved: a stranger's, which SPF puts off",
        wrote: &["bob@far.example"],
        mail: Mail {
            sender: "x@strict.example",
            ..CLAIMED
        },
        reason: Reason::SpfPolicy,
        level: "to this author",
        ..PUT_OFF
    },
    Scenario {
        about: "R4 D6 the domain's mail was wanted",
        before: &[(COLLEAGUE, Ham)],
        reason: Reason::Msgfromdomain,
        level: "from this domain",
        ..PLAIN
    },
    Scenario {
        about: "R4 D7 three people of the domain sent junk",
        before: &[(COLLEAGUE, Junk), (COLLEAGUE, Junk), (COLLEAGUE, Junk)],
        reason: Reason::Msgfromdomain,
        level: "from this domain",
        ..PUT_OFF
    },
    Scenario {
        about: "R4 two people of the domain are not enough",
        before: &[(COLLEAGUE, Junk), (COLLEAGUE, Junk)],
        level: "from this domain",
        ..PLAIN
    },
    Scenario {
        about: "R5 D7 what the domain proved was junk, and this is not proved",
        before: &[(COLLEAGUE, Junk), (COLLEAGUE, Junk)],
        mail: CLAIMED,
        reason: Reason::Msgfromdomain,
        level: "from this domain, proved",
        ..PUT_OFF
    },
    Scenario {
        about: "R5 what the domain proved was wanted, which opens no door to what is not proved",
        set: listed,
        before: &[(COLLEAGUE_UNLISTED, Ham), (COLLEAGUE_UNLISTED, Ham)],
        mail: CLAIMED,
        reason: Reason::DnsBlocklisted,
        level: "from this domain, proved",
        ..PUT_OFF
    },
    Scenario {
        about: "R6 D6 Ann wrote to the domain",
        wrote: &["carl@far.example"],
        reason: Reason::Msgtodomain,
        level: "to this domain",
        ..PLAIN
    },
    Scenario {
        about: "R7 D6 the organization's mail was wanted",
        before: &[(SISTER, Ham)],
        mail: BROTHER,
        reason: Reason::Msgfromorgdomain,
        level: "from this organization",
        ..PLAIN
    },
    Scenario {
        about: "R7 D7 three people of the organization sent junk",
        before: &[(SISTER, Junk), (COLLEAGUE, Junk), (SISTER, Junk)],
        mail: BROTHER,
        reason: Reason::Msgfromorgdomain,
        level: "from this organization",
        ..PUT_OFF
    },
    Scenario {
        about: "R8 D7 what the organization proved was junk, and this is not proved",
        before: &[(SISTER, Junk), (SISTER, Junk)],
        mail: Mail {
            author: BROTHER.author,
            ..STRANGER
        },
        reason: Reason::Msgfromorgdomain,
        level: "from this organization, proved",
        ..PUT_OFF
    },
    Scenario {
        about: "R9 D6 Ann wrote to the organization",
        wrote: &["carl@a.far.example"],
        mail: BROTHER,
        reason: Reason::Msgtoorgdomain,
        level: "to this organization",
        ..PLAIN
    },
    Scenario {
        about: "R10 D6 who vouches for it vouched for what was wanted",
        before: &[(LISTED, Ham)],
        mail: LISTED,
        reason: Reason::Dkimspf,
        level: "vouched for by SPF",
        ..PLAIN
    },
    Scenario {
        about: "R10 D7 who signed it signed junk twice",
        before: &[
            (
                Mail {
                    signed_by: Some("signer.example"),
                    ..STRANGER
                },
                Junk,
            ),
            (
                Mail {
                    signed_by: Some("signer.example"),
                    ..STRANGER
                },
                Junk,
            ),
        ],
        mail: Mail {
            client: NAMELESS,
            signed_by: Some("signer.example"),
            ..STRANGER
        },
        reason: Reason::Dkimspf,
        level: "vouched for by signer.example",
        ..PUT_OFF
    },
    Scenario {
        about: "R10 one message of junk is not enough, but too much for a client without a name",
        before: &[(
            Mail {
                signed_by: Some("signer.example"),
                ..STRANGER
            },
            Junk,
        )],
        mail: Mail {
            client: NAMELESS,
            signed_by: Some("signer.example"),
            ..STRANGER
        },
        reason: Reason::Iprev,
        level: "vouched for by signer.example",
        ..PUT_OFF
    },
    Scenario {
        about: "R10 of two who vouch for it one vouched for junk and the other did not",
        before: &[
            (
                Mail {
                    signed_by: Some("signer.example"),
                    ..STRANGER
                },
                Junk,
            ),
            (
                Mail {
                    signed_by: Some("signer.example"),
                    ..STRANGER
                },
                Junk,
            ),
            (LISTED, Ham),
        ],
        mail: Mail {
            signed_by: Some("signer.example"),
            ..LISTED
        },
        level: "vouched for by signer.example",
        ..PLAIN
    },
    Scenario {
        about: "R11 D6 two messages of this address were wanted",
        before: &[(STRANGER, Ham), (STRANGER, Ham)],
        mail: STRANGER,
        reason: Reason::Ip1,
        level: "from this address",
        ..PLAIN
    },
    Scenario {
        about: "R11 D7 two messages of this address were junk",
        before: &[(STRANGER, Junk), (STRANGER, Junk)],
        mail: STRANGER,
        reason: Reason::Ip1,
        level: "from this address",
        ..PUT_OFF
    },
    Scenario {
        about: "R11 D6 five messages of addresses nearby were wanted",
        before: &[(FROM_NAMELESS, Ham); 5],
        mail: Mail {
            client: NEARBY,
            ..STRANGER
        },
        reason: Reason::Ip2,
        level: "from addresses nearby",
        ..PLAIN
    },
    Scenario {
        about: "R11 D10 four of them that were junk are not enough, but too many for a client without a name",
        before: &[(FROM_NAMELESS, Junk); 4],
        mail: Mail {
            client: NEARBY,
            ..STRANGER
        },
        reason: Reason::Iprev,
        level: "from addresses nearby",
        ..PUT_OFF
    },
    Scenario {
        about: "R11 D7 ten messages of addresses around were junk",
        before: &[(FROM_NAMELESS, Junk); 10],
        mail: Mail {
            client: AROUND,
            ..STRANGER
        },
        reason: Reason::Ip3,
        level: "from addresses around",
        ..PUT_OFF
    },
    Scenario {
        about: "R12 D15 nothing is known, and nothing speaks against it",
        mail: STRANGER,
        ..PLAIN
    },
    Scenario {
        about: "D9 SPF fails for a stranger",
        mail: Mail {
            sender: "x@strict.example",
            ..STRANGER
        },
        reason: Reason::SpfPolicy,
        ..PUT_OFF
    },
    Scenario {
        about: "D9 SPF fails for who brings what its author's domain signed, as for who forwards it: a stranger's mail like any other",
        mail: Mail {
            sender: "x@strict.example",
            signed_by: Some("far.example"),
            ..CLAIMED
        },
        ..PLAIN
    },
    Scenario {
        about: "D9 D12 SPF fails for what its author's domain signed, and its content is like junk",
        learned: true,
        mail: Mail {
            sender: "x@soft.example",
            signed_by: Some("far.example"),
            body: JUNK,
            ..CLAIMED
        },
        reason: Reason::JunkContent,
        ..PUT_OFF
    },
    Scenario {
        about: "D9 SPF fails for what somebody signed who is not the author",
        mail: Mail {
            sender: "x@strict.example",
            signed_by: Some("signer.example"),
            ..CLAIMED
        },
        reason: Reason::SpfPolicy,
        ..PUT_OFF
    },
    Scenario {
        about: "D9 SPF is in doubt about a stranger",
        mail: Mail {
            sender: "x@soft.example",
            ..STRANGER
        },
        reason: Reason::SpfPolicy,
        ..PUT_OFF
    },
    Scenario {
        about: "D9 SPF fails where of the address one message was wanted",
        before: &[(STRANGER, Ham)],
        mail: Mail {
            sender: "x@strict.example",
            ..STRANGER
        },
        reason: Reason::SpfPolicy,
        level: "from this address",
        ..PUT_OFF
    },
    Scenario {
        about: "D9 an author whose unproved mail was wanted is not put off for SPF",
        before: &[(CLAIMED, Ham)],
        mail: Mail {
            sender: "x@strict.example",
            ..CLAIMED
        },
        level: "from this author",
        ..PLAIN
    },
    Scenario {
        about: "D9 a notification is not put off for the name of its client",
        mail: Mail {
            hello: "EHLO strict.example",
            sender: "",
            ..STRANGER
        },
        ..PLAIN
    },
    Scenario {
        about: "D10 a client without a name is suspicious",
        set: lenient,
        learned: true,
        mail: Mail {
            body: JUNK,
            ..FROM_NAMELESS
        },
        reason: Reason::JunkContentStrict,
        ..PUT_OFF
    },
    Scenario {
        about: "D10 a client without a name of which one message was junk",
        before: &[(FROM_NAMELESS, Junk)],
        mail: FROM_NAMELESS,
        reason: Reason::Iprev,
        level: "from this address",
        ..PUT_OFF
    },
    Scenario {
        about: "D11 a token that we gave this author",
        set: listed_with_tokens,
        before: &[(BOB, Refused)],
        mail: Mail {
            subject: "Re: hello $token",
            ..BOB
        },
        reason: Reason::Subjectpass,
        ..PLAIN
    },
    Scenario {
        about: "D11 D14 a token that was given to somebody else",
        set: listed_with_tokens,
        before: &[(BOB, Refused)],
        mail: Mail {
            subject: "Re: hello $token",
            ..STRANGER
        },
        reason: Reason::DnsBlocklisted,
        ..PUT_OFF
    },
    Scenario {
        about: "D12 D17 a stranger's message that is like junk",
        learned: true,
        mail: Mail {
            body: JUNK,
            ..STRANGER
        },
        reason: Reason::JunkContent,
        ..PUT_OFF
    },
    Scenario {
        about: "D12 D15 a stranger's message that is not like junk",
        learned: true,
        mail: STRANGER,
        ..PLAIN
    },
    Scenario {
        about: "D12 A-05 a session in clear, which the account finds suspicious",
        set: lenient_but_not_in_clear,
        learned: true,
        mail: Mail {
            body: JUNK,
            ..STRANGER
        },
        reason: Reason::JunkContentStrict,
        ..PUT_OFF
    },
    Scenario {
        about: "D12 A-05 a message that names somebody else, which the account finds suspicious",
        set: lenient_but_not_for_others,
        learned: true,
        mail: Mail {
            body: JUNK,
            fields: "$others",
            ..STRANGER
        },
        reason: Reason::JunkContentStrict,
        ..PUT_OFF
    },
    Scenario {
        about: "D12 A-05 a message that names the recipient among others",
        set: lenient_but_not_for_others,
        learned: true,
        mail: Mail {
            body: JUNK,
            ..STRANGER
        },
        ..PLAIN
    },
    Scenario {
        about: "D12 a filter that has learned nothing refuses nothing",
        mail: Mail {
            body: JUNK,
            ..FROM_NAMELESS
        },
        ..PLAIN
    },
    Scenario {
        about: "D13 without a filter content is nothing",
        set: without_filter,
        learned: true,
        mail: Mail {
            body: JUNK,
            ..STRANGER
        },
        ..PLAIN
    },
    Scenario {
        about: "D14 D17 a stranger on a list",
        set: listed,
        mail: STRANGER,
        reason: Reason::DnsBlocklisted,
        ..PUT_OFF
    },
    Scenario {
        about: "D14 somebody known on a list",
        set: listed,
        before: &[(
            Mail {
                client: SPARE,
                ..BOB
            },
            Ham,
        )],
        reason: Reason::Msgfromfull,
        level: "from this author",
        ..PLAIN
    },
    Scenario {
        about: "D16 a proved stranger on a list is offered a token",
        set: listed_with_tokens,
        reply: "550 5.7.1 ",
        reason: Reason::GiveSubjectpass,
        ..REFUSED
    },
    Scenario {
        about: "D16 a proved stranger near the threshold is offered a token",
        set: lenient_with_tokens,
        learned: true,
        mail: Mail { body: JUNK, ..BOB },
        reply: "550 5.7.1 ",
        reason: Reason::GiveSubjectpass,
        ..REFUSED
    },
    Scenario {
        about: "D17 a stranger near the threshold who is not proved is put off",
        set: lenient_with_tokens,
        learned: true,
        mail: Mail {
            body: JUNK,
            ..STRANGER
        },
        reason: Reason::JunkContent,
        ..PUT_OFF
    },
    Scenario {
        about: "1.10 a sender whose domain takes no mail",
        mail: Mail {
            sender: "x@null.example",
            ..STRANGER
        },
        reply: "550 5.7.27 ",
        reason: Reason::SenderUnreachable,
        ..REFUSED
    },
    Scenario {
        about: "1.10 a sender without a domain",
        mail: Mail {
            sender: "x@[10.0.64.1]",
            ..STRANGER
        },
        reply: "550 5.7.0 ",
        reason: Reason::SenderUnreachable,
        ..REFUSED
    },
    Scenario {
        about: "1.10 name servers do not tell whether the sender could be answered",
        set: |one| one.resolvers = vec![ours(53)],
        mail: STRANGER,
        reply: "451 4.4.0 ",
        verdict: Verdict::Defer,
        reason: Reason::SenderUnsure,
        ..PLAIN
    },
    Scenario {
        about: "1.11 nobody has the address",
        mail: Mail {
            to: "nobody@ours.example",
            ..STRANGER
        },
        reply: "550 5.1.1 ",
        reason: Reason::UnknownRecipient,
        ..REFUSED
    },
    Scenario {
        about: "1.11 the domain is not ours",
        mail: Mail {
            to: "ann@elsewhere.example",
            ..STRANGER
        },
        reply: "550 5.7.1 ",
        reason: Reason::NotOurs,
        ..REFUSED
    },
    Scenario {
        about: "1.11 a session in clear where TLS is demanded",
        set: tls_only,
        mail: STRANGER,
        reply: "530 5.7.0 ",
        reason: Reason::TlsRequired,
        ..REFUSED
    },
    Scenario {
        about: "1.15 more than a hundred Received fields",
        mail: Mail {
            fields: "$received",
            ..BOB
        },
        reply: "550 5.4.6 ",
        reason: Reason::Loop,
        ..REFUSED
    },
    Scenario {
        about: "1.15 it was delivered here before",
        mail: Mail {
            fields: "Delivered-To: ann@ours.example\r\n",
            ..BOB
        },
        reply: "550 5.4.6 ",
        reason: Reason::Loop,
        ..REFUSED
    },
    Scenario {
        about: "1.15 nobody is its author",
        mail: Mail {
            author: "",
            ..STRANGER
        },
        reply: "550 5.7.1 ",
        reason: Reason::NoAuthor,
        ..REFUSED
    },
    Scenario {
        about: "1.7 the name in HELO has no address, for which nobody may be refused (RFC 5321 4.1.4)",
        mail: Mail {
            hello: "HELO nowhere.example",
            ..STRANGER
        },
        ..PLAIN
    },
];
