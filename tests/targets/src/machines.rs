//! Each machine with a small world.

use bytes::Bytes;
use core::cell::Cell;
use mox_address::{Domain, Host, Path, Reply};
use mox_imap::server as imap;
use mox_machine::{Now, Secret, Seed, Utc};
use mox_smtp::{client, server};
use mox_uids::UidSet;

#[path = "../../../core/imap/examples/blocking.rs"]
#[allow(
    dead_code,
    unfulfilled_lint_expectations,
    reason = "its world is used, not its sockets"
)]
mod folder;

use crate::session::{Case, check};
use crate::source::Source;

struct SmtpServer {
    config: server::Config,
    refuse: u8,
}

impl Case for SmtpServer {
    type Session = server::Server;

    fn session(&self, now: Now) -> server::Server {
        server::Server::new(self.config.clone(), now)
    }

    fn words(&self) -> &'static [&'static [u8]] {
        &[
            b"EHLO c.example\r\n", b"HELO c\r\n", b"LHLO c\r\n", b"MAIL FROM:<a@c.example>\r\n", b"MAIL FROM:<>\r\n", b"MAIL FROM:<a@c.example> SIZE=100 BODY=8BITMIME SMTPUTF8\r\n",
            b"RCPT TO:<b@mx.example>\r\n", b"RCPT TO:<b@mx.example>\r\n", b"RCPT TO:<no@mx.example>\r\n", b"RCPT TO:<postmaster>\r\n", b"DATA\r\n", b"DATA\r\n", b"Subject: x\r\n\r\nbody\r\n",
            b"\r\n.\r\n", b".\r\n", b"..\r\n", b"BDAT 5\r\n", b"12345", b"BDAT 0 LAST\r\n", b"BDAT 3 LAST\r\nabc", b"RSET\r\n", b"NOOP\r\n", b"VRFY a\r\n", b"HELP\r\n",
            b"QUIT\r\n", b"AUTH PLAIN AHUAaHVudGVyMg==\r\n", b"AUTH PLAIN\r\n", b"AUTH LOGIN\r\n", b"*\r\n", b"dQ==\r\n", b"STARTTLS\r\n", b"\n", b"\r", b"\0", b"x", b"EHLO",
            b"MAIL FROM:<a@c.example> SIZE=99999999\r\n", b"BDAT x\r\n", b"a line that is longer than the limit for lines of commands, or so it should be by now\r\n",
        ]
    }

    fn answer(&self, ask: &server::Ask) -> Option<server::Answer> {
        Some(match ask {
            server::Ask::Sasl { response, .. } => match response {
                None => server::Answer::Challenge(Bytes::new()),
                Some(response) if response.expose() == &b"\0u\0hunter2"[..] => {
                    server::Answer::Authenticated("u".into())
                }
                Some(_) => server::Answer::Reply(Reply::new(535, 7, 8, "Wrong")),
            },
            server::Ask::Sender { from: None, .. } if self.refuse & 1 != 0 => {
                server::Answer::Reply(Reply::new(451, 3, 0, "Later"))
            }
            server::Ask::Recipient { to, .. } if to.to_string() == "no@mx.example" => {
                server::Answer::Reply(Reply::new(550, 1, 1, "Unknown"))
            }
            server::Ask::Commit { .. } if self.refuse & 2 != 0 => {
                server::Answer::Reply(Reply::new(452, 3, 1, "Full"))
            }
            server::Ask::Commit { .. } => server::Answer::Stored { id: "1".into() },
            _ => server::Answer::Accept,
        })
    }

    fn stray(&self) -> server::Answer {
        server::Answer::Accept
    }

    fn body(ask: &server::Ask) -> Option<&[u8]> {
        match ask {
            server::Ask::Body(piece) => Some(piece),
            _ => None,
        }
    }

    fn is_cut_blind(&self) -> bool {
        !self.config.starttls
    }
}

pub fn smtp_server(data: &[u8]) {
    let mut source = Source::new(data);
    let mut config = server::Config::new(Domain::parse("mx.example", false).unwrap());
    config.mode = source.pick(&[
        server::Mode::Delivery,
        server::Mode::Submission,
        server::Mode::Lmtp,
    ]);
    let bits = source.octet();
    config.starttls = bits & 7 == 0;
    config.mechanisms = if bits & 8 == 0 {
        vec!["PLAIN", "LOGIN"]
    } else {
        vec![]
    };
    config.auth_in_clear = bits & 16 == 0;
    config.max_size = source.pick(&[1_000, 40]);
    config.limits.recipients = source.pick(&[100, 2]);
    config.limits.messages = source.pick(&[100, 2]);
    config.limits.errors = source.pick(&[100, 10, 3]);
    config.limits.useless = source.pick(&[100, 5]);
    let case = SmtpServer {
        config,
        refuse: source.octet(),
    };
    check(&case, &mut source);
}

struct SmtpClient {
    config: client::Config,
    transaction: client::Transaction,
    message: Bytes,
    /// Messages still to be sent in this run.
    left: Cell<u32>,
}

impl Case for SmtpClient {
    type Session = client::Client;

    fn session(&self, now: Now) -> client::Client {
        self.left.set(3);
        client::Client::new(self.config.clone(), now)
    }

    fn words(&self) -> &'static [&'static [u8]] {
        &[
            b"220 mx ESMTP\r\n",
            b"250-mx\r\n",
            b"250-PIPELINING\r\n",
            b"250-SIZE 1000\r\n",
            b"250-8BITMIME\r\n",
            b"250-SMTPUTF8\r\n",
            b"250-AUTH PLAIN LOGIN\r\n",
            b"250-CHUNKING\r\n",
            b"250 OK\r\n",
            b"250 OK\r\n",
            b"250 2.1.0 fine\r\n",
            b"354 go\r\n",
            b"354 go\r\n",
            b"550 5.1.1 no\r\n",
            b"451 4.3.0 later\r\n",
            b"421 4.3.2 closing\r\n",
            b"334 \r\n",
            b"235 2.7.0 in\r\n",
            b"535 5.7.8 no\r\n",
            b"221 bye\r\n",
            b"250-STARTTLS\r\n",
            b"220 ready\r\n",
            b"502 what\r\n",
            b"250",
            b"-",
            b"\r\n",
            b"junk\r\n",
            b"\n",
            b"552 5.3.4 big\r\n",
        ]
    }

    fn answer(&self, ask: &client::Ask) -> Option<client::Answer> {
        Some(match ask {
            client::Ask::Next(_) => match self.left.get().checked_sub(1) {
                None => client::Answer::Quit,
                Some(left) => {
                    self.left.set(left);
                    client::Answer::Send(self.transaction.clone())
                }
            },
            client::Ask::Sasl {
                challenge: None, ..
            } => client::Answer::Response(Some(Secret::new(Bytes::from_static(b"\0u\0hunter2")))),
            client::Ask::Sasl { .. } => client::Answer::Failed,
            client::Ask::Piece { offset, max } => {
                let from = usize::try_from(*offset).unwrap();
                assert!(from <= self.message.len() && *max > 0);
                client::Answer::Piece(self.message.slice(from..self.message.len().min(from + max)))
            }
        })
    }

    fn stray(&self) -> client::Answer {
        client::Answer::Quit
    }

    fn body(_: &client::Ask) -> Option<&[u8]> {
        None
    }

    fn is_cut_blind(&self) -> bool {
        // What was not asked for is noticed when it comes: a client may have said more by then.
        false
    }
}

pub fn smtp_client(data: &[u8]) {
    let mut source = Source::new(data);
    let name = Host::Domain(Domain::parse("c.example", false).unwrap());
    let mut config = client::Config::new(name);
    config.tls = source.pick(&[
        client::Tls::Never,
        client::Tls::IfOffered,
        client::Tls::Required,
    ]);
    config.mechanisms = if source.one_in(2) {
        vec!["PLAIN"]
    } else {
        vec![]
    };
    config.limits.piece = source.pick(&[65_536, 7]);
    config.limits.pipeline = source.pick(&[100, 2]);
    let message = Bytes::from_static(b"Subject: x\r\n\r\n.dot\r\nbody\r\n");
    let path = |text| Path::parse(text, false).unwrap();
    let transaction = client::Transaction {
        from: (!source.one_in(4)).then(|| path("a@c.example")),
        to: (0..1 + source.below(4))
            .map(|_| path("b@mx.example"))
            .collect(),
        size: message.len() as u64,
        eight_bit: source.one_in(4),
        utf8: source.one_in(8),
        ..client::Transaction::default()
    };
    check(
        &SmtpClient {
            config,
            transaction,
            message,
            left: Cell::new(0),
        },
        &mut source,
    );
}

struct ImapServer {
    config: imap::Config,
    messages: Vec<folder::Message>,
    refuse: u8,
}

impl Case for ImapServer {
    type Session = mox_imap::Server;

    fn session(&self, _: Now) -> mox_imap::Server {
        mox_imap::Server::new(self.config.clone(), Seed::from_number(1))
    }

    fn words(&self) -> &'static [&'static [u8]] {
        &[
            b"a LOGIN me secret\r\n",
            b"a LOGIN u hunter2\r\n",
            b"a LOGIN me secret\r\nb SELECT INBOX\r\n",
            b"b EXAMINE INBOX\r\n",
            b"b SELECT INBOX (CONDSTORE)\r\n",
            b"c FETCH 1:* (UID FLAGS ENVELOPE)\r\n",
            b"c FETCH 1 BODY[]\r\n",
            b"c UID FETCH 1:* (BODY.PEEK[HEADER.FIELDS (SUBJECT)] BODYSTRUCTURE)\r\n",
            b"c FETCH * (RFC822.SIZE INTERNALDATE BODY[TEXT]<0.5>)\r\n",
            b"d STORE 1 +FLAGS (\\Seen x)\r\n",
            b"d UID STORE 1:2 FLAGS.SILENT ()\r\n",
            b"e SEARCH UNSEEN\r\n",
            b"e UID SEARCH RETURN (COUNT) ALL\r\n",
            b"f COPY 1:* Archive\r\n",
            b"f UID MOVE 1 Archive\r\n",
            b"g EXPUNGE\r\n",
            b"g APPEND INBOX {5}\r\n",
            b"g APPEND INBOX (\\Seen) {5+}\r\nabcde\r\n",
            b"abcde\r\n",
            b"h LIST \"\" *\r\n",
            b"h STATUS INBOX (MESSAGES UIDNEXT)\r\n",
            b"i IDLE\r\n",
            b"DONE\r\n",
            b"j NOOP\r\n",
            b"j CHECK\r\n",
            b"k CLOSE\r\n",
            b"k UNSELECT\r\n",
            b"l LOGOUT\r\n",
            b"m CREATE x\r\n",
            b"m ENABLE UIDONLY IMAP4rev2 UTF8=ACCEPT\r\n",
            b"b SELECT INBOX (QRESYNC (1 1 1:9))\r\n",
            b"c UID FETCH 1:* FLAGS (CHANGEDSINCE 1 VANISHED)\r\n",
            b"c UID FETCH 1 (BINARY.SIZE[1] BINARY[1] PREVIEW SAVEDATE EMAILID)\r\n",
            b"e UID SEARCH RETURN (SAVE MIN) $\r\n",
            b"g APPEND INBOX CATENATE (TEXT {2+}\r\nab URL \"/INBOX/;uid=1\")\r\n",
            b"g APPEND INBOX CATENATE (URL /a/;uid=1 TEXT {3}\r\n",
            b"g UID REPLACE 1 INBOX {3+}\r\nabc\r\n",
            b"r UNAUTHENTICATE\r\n",
            b" {3}\r\n",
            b" URL {3+}\r\n",
            b")\r\n",
            b"m ENABLE CONDSTORE QRESYNC\r\n",
            b"n AUTHENTICATE PLAIN AHUAaHVudGVyMg==\r\n",
            b"n AUTHENTICATE PLAIN\r\n",
            b"*\r\n",
            b"o STARTTLS\r\n",
            b"p ID NIL\r\n",
            b"x",
            b"{3}\r\n",
            b"{9999}\r\n",
            b"{3+}\r\n",
            b"\r\n",
            b"\n",
            b"\r",
            b"\"",
            b"q CAPABILITY\r\n",
            // Most commands mean something only behind these.
            b"a LOGIN me secret\r\nb SELECT INBOX\r\n",
            b"a LOGIN me secret\r\nb SELECT INBOX\r\n",
            b"a LOGIN me secret\r\nm ENABLE QRESYNC\r\nb SELECT INBOX\r\n",
            b"s NOTIFY SET STATUS (selected (MessageNew (UID BODY.PEEK[TEXT]) MessageExpunge FlagChange)) (subtree a (MessageNew MessageExpunge))\r\n",
            b"s NOTIFY SET (selected-delayed (MessageNew MessageExpunge)) (personal (MailboxName SubscriptionChange))\r\n",
            b"s NOTIFY NONE\r\n",
            b"s NOTIFY SET (inboxes (AnnotationChange))\r\n",
            b"t SORT (REVERSE SIZE SUBJECT) UTF-8 ALL\r\n",
            b"t UID SORT RETURN (PARTIAL -1:-2 COUNT UPDATE) (ARRIVAL) US-ASCII UNSEEN\r\n",
            b"t THREAD REFERENCES UTF-8 ALL\r\n",
            b"t UID THREAD ORDEREDSUBJECT UTF-8 NOT 2\r\n",
            b"u GETMETADATA (DEPTH infinity MAXSIZE 5) INBOX (/private/comment /shared/x)\r\n",
            b"u GETMETADATA \"\" /shared/comment\r\n",
            b"u SETMETADATA INBOX (/private/comment {3}\r\n",
            b"u SETMETADATA INBOX (/private/comment \"x\" /private/y NIL)\r\n",
            b"v ESEARCH IN (selected subtree a mailboxes (INBOX b)) RETURN (COUNT ALL) UNSEEN\r\n",
            b"v ESEARCH IN (personal) RETURN (MIN) UID 1:2\r\n",
            b"v ESEARCH FLAGGED\r\n",
            b"w COMPRESS DEFLATE\r\n",
            b"w COMPRESS x\r\n",
            b"a LOGIN me secret\r\nw COMPRESS DEFLATE\r\n",
            b"x GETQUOTA \"\"\r\n",
            b"x GETQUOTAROOT INBOX\r\n",
            b"x SETQUOTA \"\" (STORAGE 5)\r\n",
            b"e SEARCH RETURN (UPDATE COUNT) UNSEEN\r\n",
            b"f UID SEARCH RETURN (UPDATE PARTIAL 1:2) ALL\r\n",
            b"e SEARCH RETURN (CONTEXT PARTIAL -2:-1 SAVE) FUZZY ALL\r\n",
            b"y CANCELUPDATE \"e\"\r\n",
            b"y CANCELUPDATE \"e\" \"f\"\r\n",
            b"c UID FETCH 1:* (FLAGS) (PARTIAL -1:-2)\r\n",
            b"e SEARCH UIDAFTER 1 UIDBEFORE 3\r\n",
            b"d STORE 1:* +FLAGS (\\Deleted)\r\n",
            b"h LIST (SUBSCRIBED) \"\" (* %) RETURN (STATUS (MESSAGES SIZE) CHILDREN)\r\n",
        ]
    }

    fn answer(&self, ask: &imap::Ask) -> Option<imap::Answer> {
        let refused = || {
            imap::Answer::No(imap::Refusal {
                code: Some("OVERQUOTA"),
                text: "full".into(),
            })
        };
        let mailbox = |name: &str| imap::MailboxInfo {
            name: name.into(),
            subscribed: name != "a/b",
            exists: true,
            special_use: None,
        };
        Some(match ask {
            // When something changes is nobody's business here: it would change what is said.
            imap::Ask::Observe { .. } => return None,
            imap::Ask::Mailboxes => {
                imap::Answer::Mailboxes(["Archive", "INBOX", "a", "a/b"].map(mailbox).into())
            }
            imap::Ask::Select { name, .. } if name == "INBOX" => {
                match folder::answer(&self.messages, ask.clone()) {
                    Some(imap::Answer::Selected(selected)) => {
                        imap::Answer::Selected(imap::Selected {
                            keywords: vec!["x".into()],
                            writable: self.refuse & 8 == 0,
                            ..selected
                        })
                    }
                    other => return other,
                }
            }
            imap::Ask::Status { name, .. } if name != "INBOX" && self.refuse & 16 == 0 => {
                imap::Answer::Status(imap::StatusFigures {
                    validity: 7,
                    next: 1,
                    modseq: 1,
                    ..imap::StatusFigures::default()
                })
            }
            imap::Ask::Sort { among, .. } => imap::Answer::Sorted {
                uids: among.iter().collect::<Vec<_>>().into_iter().rev().collect(),
                modseq: None,
            },
            imap::Ask::Quota { .. } => imap::Answer::Quota {
                octets: 5_000,
                most: (self.refuse & 32 == 0).then_some(10_000),
            },
            imap::Ask::Annotations { .. } => imap::Answer::Annotations(vec![
                ("/private/comment".into(), Bytes::from_static(b"x \r\n\0y")),
                ("/shared/x/y".into(), Bytes::from_static(b"long enough")),
            ]),
            imap::Ask::Annotate { .. } => imap::Answer::Done,
            imap::Ask::Append { .. } if self.refuse & 1 != 0 => refused(),
            imap::Ask::Commit { .. } if self.refuse & 2 != 0 => refused(),
            imap::Ask::Insert { .. } if self.refuse & 4 != 0 => imap::Answer::Missing,
            imap::Ask::Append { .. } | imap::Ask::Piece(_) | imap::Ask::Insert { .. } => {
                imap::Answer::Accept
            }
            imap::Ask::Compress => imap::Answer::Accept,
            imap::Ask::Unauthenticate => imap::Answer::Done,
            imap::Ask::Vanished { .. } => imap::Answer::Vanished(UidSet::from_runs([2..=3, 9..=9])),
            imap::Ask::Commit { .. } => imap::Answer::Appended {
                validity: 1,
                uids: UidSet::from_runs([9..=9]),
            },
            imap::Ask::Edit(_) => imap::Answer::Done,
            imap::Ask::Copy { uids, .. } => imap::Answer::Copied {
                validity: 1,
                from: uids.clone(),
                to: uids.clone(),
            },
            imap::Ask::Mark { .. } => imap::Answer::Marked {
                rows: Vec::new(),
                others: UidSet::new(),
                modified: UidSet::new(),
                changed: Vec::new(),
            },
            imap::Ask::Expunge { .. } => imap::Answer::Expunged {
                uids: UidSet::new(),
                modseq: 1,
            },
            imap::Ask::Changes { since, .. } => imap::Answer::Changes(imap::Changes {
                upto: *since,
                next: 4,
                ..Default::default()
            }),
            imap::Ask::Sasl { response: None, .. } => imap::Answer::Challenge(Bytes::new()),
            imap::Ask::Sasl {
                response: Some(response),
                ..
            } if response.expose() == &b"\0u\0hunter2"[..] => {
                imap::Answer::Authenticated("u".into())
            }
            ask => return folder::answer(&self.messages, ask.clone()),
        })
    }

    fn stray(&self) -> imap::Answer {
        imap::Answer::Accept
    }

    fn body(ask: &imap::Ask) -> Option<&[u8]> {
        match ask {
            imap::Ask::Piece(piece) => Some(piece),
            _ => None,
        }
    }

    fn is_cut_blind(&self) -> bool {
        // So are those behind COMPRESS.
        !self.config.starttls && !self.config.compress
    }
}

pub fn imap_server(data: &[u8]) {
    let mut source = Source::new(data);
    let bits = source.octet();
    let mut config = imap::Config {
        clear_auth: true,
        starttls: bits & 7 == 0,
        compress: bits & 0x90 == 0,
        ..imap::Config::default()
    };
    if bits & 32 != 0 {
        config.limits.messages = 2;
    }
    if bits & 64 != 0 {
        config.limits.contexts = 1;
        (
            config.limits.search_mailboxes,
            config.limits.notify_mailboxes,
        ) = (1, 2);
    }
    if bits & 8 == 0 {
        (config.limits.append, config.limits.literal) = (20, 10);
        (config.limits.line, config.limits.line_unauthenticated) = (200, 100);
    }
    let message = |n: u32| {
        let text = format!(
            "From: a@b.example\r\nSubject: m{n}\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none\r\n--b--\r\n"
        );
        folder::Message::new(text, Utc::from_secs(1_767_323_045))
    };
    let messages = (1..=3).map(message).collect();
    check(
        &ImapServer {
            config,
            messages,
            refuse: source.octet(),
        },
        &mut source,
    );
}
