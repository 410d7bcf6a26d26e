//! The configuration files that quickstart writes: each setting with what it means, beside its value.

use mox_address::Domain;
use mox_server::config::Dkim;

/// `mox.ron` for a machine that receives mail from the Internet.
pub(crate) fn static_file(hostname: &Domain, account: &str, user: &str) -> String {
    format!(
        r#"// mox.ron: what the server reads once, when it starts. After a change: moxctl config test, then restart it.
// Domains, accounts and addresses are in domains.ron beside this file.
//
// This is RON: text in "quotes", lists in [brackets], maps in {{braces}}, settings in (parentheses), with commas
// between. What follows two slashes is a comment. Settings that begin with // below show what else can be set,
// with the value that holds while they are not.
(
    // Where mail, the queue and generated keys are kept. Relative to the folder of this file.
    data_dir: "../data",

    // The user that the server becomes after it was started as root and has opened its ports.
    user: {user:?},

    // A folder in which users other than root may leave mail with moxctl sendmail, of mode 1730: docs/sending.md says how to make it.
    // sendmail_spool: "/var/spool/mox",

    // The full name of this machine. It must have an address in DNS (A, AAAA), and the name of that address
    // (PTR) should be this one again: many servers refuse mail otherwise.
    hostname: {hostname:?},

    // How much is logged: error, warn, info (one line for each message), debug or trace.
    log_level: info,

    // Another level for parts of the server, by the name that stands in the log lines.
    // log_levels: {{"smtp": debug}},

    // Who listens where. The names of listeners are yours to choose.
    listeners: {{
        "public": (
            // Addresses of this machine; these two stand for all.
            ips: ["0.0.0.0", "::"],

            // Another host name for greetings here.
            // hostname: {hostname:?},

            // Where the TLS certificate comes from: self_signed makes one at the first start (mail programs will
            // warn about it), files([(certificate: "chain.pem", key: "key.pem")]) reads yours, off has none.
            tls: self_signed,

            // Proxies that say for whom they connect (PROXY protocol, version 2), by address or network. Then nobody else may
            // connect here.
            // trusted_proxies: ["10.0.0.5", "192.0.2.0/24"],

            // Bytes of a message at most.
            max_message_size: 104857600,

            // Mail from other servers, port 25. With require_starttls: true it is taken after STARTTLS only, but for reports about
            // TLS; RFC 3207 forbids that on public servers.
            smtp: (port: 25, require_starttls: false),

            // Lists of addresses in DNS that are asked about strangers who bring mail; who is on one is put off.
            // dnsbls: ["bl.example.org"],

            // Mail programs send here, TLS from the first byte, port 465.
            submissions: (port: 465),

            // The same with STARTTLS, port 587. no_require_starttls: true would take passwords in clear.
            submission: (port: 587, no_require_starttls: false),

            // Mail programs read here, TLS from the first byte, port 993.
            imaps: (port: 993),

            // The same with STARTTLS, port 143. Not needed by today's mail programs.
            // imap: (port: 143, no_require_starttls: false),

            // How mail programs may prove who they are, for submission and IMAP. These are the usual ones; CRAM-MD5 can be
            // added for very old programs. What is stored for it lets whoever reads the store log in, so it is stored
            // only with passwords that are set while it is listed.
            // sasl_mechanisms: ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-1", "PLAIN", "LOGIN"],

            // IMAP extensions that are switched off here, by the names that CAPABILITY gives them: for mail programs that do
            // not get on with one.
            // imap_without: ["QRESYNC"],

            // Let mail programs compress what they read (COMPRESS=DEFLATE). A session that does takes 400 KB of memory.
            // imap_compress: false,

            // Messages that one IMAP command takes at most (MESSAGELIMIT), 1000 or more; 0 is no limit. Mail programs that do
            // not know this extension take the newest so many messages for all there are.
            // imap_message_limit: 0,

            // Record every session here into files that moxctl replay plays again: one file each, at most max_files of
            // them (the oldest make room), of max_octets at most. Passwords are never in them. Local parts and what
            // messages say are replaced by others of the same length, unless plain is true. Relative to this folder.
            // capture: (dir: "../captures", max_files: 1000, max_octets: 1048576, plain: false),
        ),
    }},

    // Who gets mail for postmaster, which every domain and host must have, and into which mailbox.
    postmaster: (account: {account:?}, mailbox: "Postmaster"),

    // Name servers, "address" or "address:port". Without them those of /etc/resolv.conf are asked.
    // resolvers: ["127.0.0.1"],

    // Give all outgoing mail to this server, instead of to those of the recipients: "host:port".
    // relay: "smtp.example.net:25",

    // Other ways for mail to leave: routes in domains.ron lead there. A smarthost takes mail for everybody, over TLS with a
    // certificate for its name; tls: implicit is port 465, tls: off is for this machine. The password is in the first line of a
    // file beside this one. socks5(host: "127.0.0.1", port: 1080) is a proxy, fail(code: 550, text: "..") tells the sender.
    // transports: {{
    //     "provider": smarthost(host: "smtp.example.net", port: 587, user: "you@example.net", password_file: "provider.password"),
    // }},

    // From which addresses of this machine mail leaves (usually that of a listener with smtp, else the system chooses), and which
    // addresses of a server are tried first: either, ipv4, ipv6; with only4 none of IPv6 is. A transport may have its own.
    // outgoing: (ipv4: "192.0.2.1", ipv6: "2001:db8::1", prefer: either),

    // How many deliveries are tried at once: in all, to one domain, to one smarthost or relay; how long a message is tried, when
    // its sender is told of a delay, and for how many days it is known what became of it.
    // queue: (attempts: 50, per_domain: 4, per_transport: 5, lifetime_hours: 120, delay_notice_hours: 4, kept_days: 7),

    // How many connections are open at a time: in all, and from one address (of IPv6: from one /64; 0 is no limit), and how
    // many may begin within a minute. Larger networks may have three times and nine times as many. More are refused. Those
    // from this machine itself are counted apart, so that nobody can lock you out.
    // connections: (total: 10000, per_address: 200, per_minute: 300),

    // How many logins may fail from one address, the same way. Who logged in from there before still can.
    // failed_logins: (per_minute: 10, per_day: 50),

    // Addresses and networks whom none of these limits concern, nor those of mail on port 25: another server of yours, monitoring.
    // Passwords can be guessed from there without end.
    // unlimited_networks: ["192.0.2.7", "2001:db8:5::/48"],

    // Seconds that a stranger's message is held back that nothing speaks against; 0 is not at all. Who sends junk to many
    // does not wait, as a rule.
    // first_time_sender_delay: 0,

    // How long moxctl explain knows why mail was taken or not, and how much room that may take: the oldest go first.
    // decision_records: (days: 30, megabytes: 256),
)
"#,
        hostname = hostname.as_str(),
    )
}

/// `domains.ron` with one domain that signs with these keys, and one account.
pub(crate) fn dynamic_file(domain: &str, account: &str, address: &str, dkim: &Dkim) -> String {
    let keys = dkim.sign.iter().filter_map(|selector| {
        let key = &dkim.selectors.get(selector)?.key;
        Some(format!(
            "                    {selector:?}: (key: {key:?}),\n"
        ))
    });
    let from = format!("postmaster@{domain}");
    let (keys, sign) = (keys.collect::<String>(), format!("{:?}", dkim.sign));
    format!(
        r#"// domains.ron: whose mail is kept here. The running server reads this file again when it changes.
// moxctl config account, address, alias and domain add|rm change it too, and keep these comments.
(
    domains: {{
        {domain:?}: (
            // What follows one of these characters before the @ does not count: you+shop@ is you@.
            subaddress_separators: ["+"],

            // true makes You@ and you@ two different addresses.
            case_sensitive: false,

            // Keys that sign what leaves with this domain in From, so that others can tell it from forgeries. The public parts are
            // in DNS: moxctl config dnsrecords {domain} prints them. Private keys are files beside this one.
            dkim: (
                // By the name that the key has in DNS. Beside its key, each may have canonicalization: "relaxed/relaxed" (or simple,
                // of header and body), headers: ["From", "Subject"] (what is signed), oversign: true (no signed field can be
                // added), expiration: "14d" (without it signatures last; mail may wait in queues for five days).
                selectors: {{
{keys}                }},

                // Those that sign, in this order. A new key is added above first and here once DNS has it everywhere.
                sign: {sign},
            ),

            // Addresses whose mail goes to several accounts, at most 100: by what stands before the @, the addresses of the members. Each
            // member's own settings hold for its copy. members_may_send lets each of them send with the address.
            // aliases: {{"sales": (members: [{address:?}], members_may_send: true)}},
        ),
    }},

    accounts: {{
        {account:?}: (
            // For addresses that are written without a domain below.
            domain: {domain:?},

            // Its addresses. "@{domain}" would be all that nobody else has there.
            addresses: [
                {address:?},
            ],

            // The person's name, for messages that the server writes.
            // full_name: "Your Name",

            // Bytes of mail at most. Without it there is no limit.
            // quota: 10000000000,

            // Messages it may send to others within a day, and of these recipients that it never wrote to before; 0 is no limit.
            // messages_per_day: 1000,
            // new_recipients_per_day: 200,

            // IMAP extensions that are switched off for this account, whatever its listener offers.
            // imap_without: ["QRESYNC"],

            // How likely junk a stranger's message may be by its words; less where something else is suspicious too. None
            // leaves the junk filter without a say. It learns from what is moved to Junk and out of it in any case. Suspicious can also be
            // what comes without TLS (strict_without_tls: true), and what names nobody here in To and Cc (strict_unless_named: true).
            // junk_filter: (threshold: 0.7, strict_threshold: 0.5, strict_without_tls: false, strict_unless_named: false),

            // Copies of mail that was not taken are kept here for 14 days, 1000 and 20 MiB at most. None keeps none.
            // rejects_mailbox: "Rejects",

            // true leaves such a copy there for its time when the message is taken after all.
            // keep_rejects: false,

            // Mail that its author's domain wants put aside (DMARC, p=quarantine) goes to Junk: junk; or it is not taken: refuse.
            // dmarc_quarantine: junk,

            // Hours that a token is good which is offered to strangers whose message looks like junk: with it in the Subject it is
            // taken. 0 offers none.
            // subject_token_hours: 12,

            // Where mail goes that is like this or that; the first one counts whose conditions all hold. mail_from and headers
            // are regular expressions, verified_domain vouches for the message by DKIM or SPF. What list_allow_domain vouches
            // for is taken whatever else is wrong with it; is_forward says that verified_domain forwards it, whose
            // addresses tell nothing of the author then; what would not be taken goes to accept_rejects_to_mailbox.
            // rulesets: [
            //     (mailbox: "Lists/rust", headers: {{"^list-id$": "rust"}}, list_allow_domain: "lists.example.org"),
            //     (mailbox: "INBOX", verified_domain: "old.example", is_forward: true),
            // ],
        ),
    }},

    // By which transport of mox.ron mail leaves: the first that fits counts. Domains and accounts may have routes of their own.
    // routes: [
    //     (to: ["slow.example", ".with-all-below.example"], minimum_attempts: 3, transport: "provider"),
    // ],

    // What other domains are told once a day that ask for it in DNS: what came of mail in their name (dmarc), and how TLS with their
    // servers went (tls). Reports are signed; they come from postmaster of a domain that has keys, unless from says otherwise. Who is in
    // opt_out gets none: a domain with all below it, or an address.
    // outgoing_reports: (dmarc: true, tls: true, from: {from:?}, opt_out: ["example.net", "somebody@example.org"]),
)
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use mox_server::config::{DkimSelector, Dynamic, Static};

    /// Every setting that is shown as a comment becomes one.
    fn uncommented(text: &str) -> String {
        let setting = |line: &str| {
            let rest = line.trim_start().strip_prefix("// ")?;
            let name = rest.split_once(": ")?.0;
            let is_setting =
                name.chars().all(|c| c.is_ascii_lowercase() || c == '_') && rest.ends_with(',');
            is_setting.then(|| rest.to_owned())
        };
        text.lines()
            .map(|l| setting(l).unwrap_or_else(|| l.to_owned()) + "\n")
            .collect()
    }

    #[test]
    fn both_files_are_right_as_they_are_and_with_all_their_commented_settings() {
        let host = Domain::parse("mail.example.org", false).unwrap();
        let fixed = static_file(&host, "you", "mox");
        let mut dkim = Dkim::default();
        let key = DkimSelector::with_key("dkim/2026a.pem");
        dkim.selectors.insert("2026a".into(), key);
        dkim.sign.push("2026a".into());
        let dynamic = dynamic_file("bücher.example", "you", "you@bücher.example", &dkim);
        for change in [str::to_owned, uncommented] {
            let (fixed, dynamic) = (change(&fixed), change(&dynamic));
            let fixed = Static::parse("mox.ron", &fixed).unwrap();
            Dynamic::parse("domains.ron", &dynamic, &fixed).unwrap();
        }
        let all = Static::parse("mox.ron", &uncommented(&fixed)).unwrap();
        assert!(all.relay.is_some() && all.resolvers.len() == 1 && all.log_levels.len() == 1);
        assert!(all.listeners.values().all(|l| l.services().count() == 5
            && l.capture.is_some()
            && !l.offers.imap_without.is_empty()));
        let all = Dynamic::parse("domains.ron", &uncommented(&dynamic), &all).unwrap();
        assert_eq!(all.dkim.values().collect::<Vec<_>>(), [&dkim]);
        assert!(
            all.accounts
                .values()
                .all(|a| a.quota.is_some() && a.full_name.is_some() && !a.imap_without.is_empty())
        );
    }
}
