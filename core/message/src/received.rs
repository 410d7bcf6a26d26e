//! The Received field, RFC 5321 4.4.

use std::net::IpAddr;

use mox_address::{Domain, Host, Path};
use mox_machine::{TlsFacts, Utc};

use crate::fold::Folded;
use crate::identity::date_rfc5322;
use crate::trace::with_a_labels;

/// What a Received field tells: one is written for each recipient.
#[derive(Debug, Clone)]
pub struct Received<'a> {
    /// Who sent it.
    pub from: ReceivedFrom<'a>,
    /// This host's name.
    pub by: &'a Domain,
    /// The address the connection came to.
    pub by_ip: Option<IpAddr>,
    /// How it came.
    pub protocol: Protocol,
    /// TLS, where it was used: version and cipher are told in a comment.
    pub tls: Option<&'a TlsFacts>,
    /// Names the transaction in our log, opaque to others; ASCII letters, digits, `-` and `_`.
    pub id: &'a str,
    /// The recipient as given in RCPT; left out where one copy serves several.
    pub recipient: Option<&'a Path>,
    /// When it came.
    pub date: Utc,
}

/// Who sent a message.
#[derive(Debug, Clone, Copy)]
pub enum ReceivedFrom<'a> {
    /// Another server, on port 25.
    Peer {
        /// The name of its EHLO or HELO, as sent: a domain, an address literal, or anything else.
        hello: &'a str,
        /// The name its address has in DNS: the confirmed one, or else the first; `None` when it has none.
        reverse: Option<&'a str>,
        /// Its address.
        ip: IpAddr,
    },
    /// A user of ours who submitted it: name and address of the client are nobody's business.
    Submission,
}

/// The protocol's variant, from which the `with` keyword follows (RFC 3848, RFC 6531 4.3). TLS adds an `S` by
/// [`Received::tls`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Protocol {
    /// The client said EHLO.
    pub extended: bool,
    /// The transaction uses SMTPUTF8.
    pub utf8: bool,
    /// The client authenticated.
    pub authenticated: bool,
}

impl Received<'_> {
    /// The field with its line end, folded at 78 columns.
    pub fn write(&self) -> String {
        let utf8 = self.protocol.utf8;
        let mut field = Folded::new("Received");
        match self.from {
            ReceivedFrom::Peer { hello, reverse, ip } => {
                field.token("from");
                let name = write_name(&mut field, hello, utf8);
                let literal = Host::Literal(ip).to_string();
                let reverse = reverse
                    .map(|r| printable(r.strip_suffix('.').unwrap_or(r), utf8))
                    .filter(|r| !r.is_empty() && !r.eq_ignore_ascii_case(&name.shown));
                match reverse {
                    Some(reverse) => field
                        .token(&format!("({reverse}"))
                        .token(&format!("{literal})")),
                    None => field.token(&format!("({literal})")),
                };
                name.write_comment(&mut field);
            }
            ReceivedFrom::Submission => {
                field.token("from");
                write_name(&mut field, self.by.as_str(), utf8).write_comment(&mut field);
            }
        }
        field.token("by");
        let by = write_name(&mut field, self.by.as_str(), utf8);
        if let Some(ip) = self.by_ip {
            field.token(&format!("({})", Host::Literal(ip)));
        }
        by.write_comment(&mut field);
        field.token("via").token("tcp");
        field.token("with").token(&self.keyword());
        field.token("id").token(&printable(self.id, false));
        if let Some(tls) = self.tls {
            let version = tls.version_name();
            field
                .token(&format!("({version}"))
                .token(&format!("{})", cipher_name(tls.cipher)));
        }
        // The semicolon belongs to the token before it.
        let recipient = self
            .recipient
            .map(|path| format!("<{}>;", with_a_labels(path)));
        match recipient {
            Some(recipient) => field.token("for").token(&recipient),
            None => field.token(";"),
        };
        field.token(&date_rfc5322(self.date)).finish()
    }

    fn keyword(&self) -> String {
        let Protocol {
            extended,
            utf8,
            authenticated,
        } = self.protocol;
        let mut keyword = String::from(match (utf8, extended) {
            (true, _) => "UTF8SMTP",
            (false, true) => "ESMTP",
            (false, false) => "SMTP",
        });
        if self.tls.is_some() {
            keyword.push('S');
        }
        if authenticated {
            keyword.push('A');
        }
        keyword
    }
}

/// A name as it was written, and what a comment behind it adds.
struct Name {
    shown: String,
    a_label: Option<String>,
}

impl Name {
    fn write_comment(&self, field: &mut Folded) {
        if let Some(a_label) = &self.a_label {
            field.token(&format!("({a_label})"));
        }
    }
}

/// Writes a name: a domain in U-labels when `utf8`, with its A-labels to be told in a comment; in A-labels otherwise.
fn write_name(field: &mut Folded, name: &str, utf8: bool) -> Name {
    let ascii = Domain::parse(name, true).and_then(|d| d.to_ascii()).ok();
    let name = match ascii {
        Some(ascii) => {
            let unicode = ascii.to_unicode();
            if utf8 && !unicode.is_ascii() {
                Name {
                    shown: unicode,
                    a_label: Some(ascii.to_string()),
                }
            } else {
                Name {
                    shown: ascii.to_string(),
                    a_label: None,
                }
            }
        }
        None => Name {
            shown: printable(name, utf8),
            a_label: None,
        },
    };
    field.token(&name.shown);
    name
}

/// What peers call themselves, made safe to stand in a field: no white space, control character or one that would end a
/// comment or the field; cut to the length of a domain.
fn printable(name: &str, utf8: bool) -> String {
    let safe = |c: char| match c {
        '(' | ')' | '<' | '>' | ';' | ',' | '\\' | '"' | '@' => '?',
        c if c.is_ascii_graphic() => c,
        c if utf8 && !c.is_ascii() && !c.is_control() && !c.is_whitespace() => c,
        _ => '?',
    };
    name.chars().take(Domain::MAX).map(safe).collect()
}

/// The suites rustls has, by their IANA names; others by number.
fn cipher_name(cipher: u16) -> String {
    let name = match cipher {
        0x1301 => "TLS_AES_128_GCM_SHA256",
        0x1302 => "TLS_AES_256_GCM_SHA384",
        0x1303 => "TLS_CHACHA20_POLY1305_SHA256",
        0xc02b => "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        0xc02c => "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        0xc02f => "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        0xc030 => "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        0xcca8 => "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        0xcca9 => "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        other => return format!("0x{other:04x}"),
    };
    name.to_owned()
}
