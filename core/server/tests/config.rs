//! The configuration files, seen from outside: what they mean, what is said about wrong ones, how they are edited.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

use mox_sasl::Mechanism;
use mox_server::config::{
    Connections, Dynamic, EditError, LogLevel, Port, Relay, StartTlsPort, Static, Tls, add_account,
    add_address, add_to_alias, remove_account, remove_address, remove_from_alias,
};
use mox_server::decision::Quarantine;
use mox_server::{Directory, Found};

const MOX: &str = r#"(
    data_dir: "../data",
    hostname: "mail.example.org",
    listeners: {
        "public": (ips: ["0.0.0.0", "::"], smtp: (), submissions: (), imap: (port: 1143, no_require_starttls: true)),
    },
    postmaster: (account: "jo"),
)
"#;

const DOMAINS: &str = r#"// Who has mail here.
(
    domains: {
        "example.org": (), // the main one
        "Bücher.example": (subaddress_separators: ["-", "+"], case_sensitive: true),
    },
    // People.
    accounts: {
        "jo": ( // keeps the machine running
            domain: "example.org",
            full_name: "Jo Doe",
            addresses: [
                "jo", // short for jo@example.org
                "Jo@bücher.example",
            ],
        ),
        "al": (domain: "example.org", addresses: ["al@example.org", "@example.org"], quota: 1000000),
    },
)
"#;

fn fixed() -> Static {
    Static::parse("mox.ron", MOX).unwrap()
}

fn static_errors(text: &str) -> String {
    Static::parse("mox.ron", text).unwrap_err().to_string()
}

fn dynamic_errors(text: &str) -> String {
    Dynamic::parse("domains.ron", text, &fixed())
        .unwrap_err()
        .to_string()
}

#[test]
fn a_static_file_means_what_it_says_and_the_rest_is_default() {
    let conf = fixed();
    assert_eq!(conf.data_dir.to_str(), Some("../data"));
    assert_eq!(conf.user, "mox");
    assert_eq!(conf.log_level, LogLevel::Info);
    assert_eq!(conf.postmaster.mailbox, "Postmaster");
    assert_eq!((conf.relay, conf.resolvers.len()), (None, 0));
    let public = &conf.listeners["public"];
    assert_eq!(public.hostname.as_str(), "mail.example.org");
    assert_eq!(public.tls, Tls::SelfSigned);
    assert_eq!(public.max_message_size, 104_857_600);
    assert_eq!(public.smtp.map(|s| s.port), Some(25));
    assert_eq!(public.submissions, Some(Port { port: 465 }));
    assert_eq!(
        public.imap,
        Some(StartTlsPort {
            port: 1143,
            no_require_starttls: true
        })
    );
    assert_eq!((public.submission, public.imaps), (None, None));
}

#[test]
fn relay_resolvers_certificates_and_levels_are_read() {
    let text = MOX.replace(
        "    postmaster",
        "    relay: \"[2001:db8::1]:26\", resolvers: [\"127.0.0.1\", \"[::1]:5353\"], log_level: debug,
    log_levels: {\"mox_node\": trace}, connections: (per_address: 7), failed_logins: (per_day: 0),
    postmaster",
    );
    let text = text.replace(
        "smtp: ()",
        "hostname: \"mx.example.org\", tls: files([(certificate: \"c.pem\", key: \"k.pem\")]), smtp: ()",
    );
    let conf = Static::parse("mox.ron", &text).unwrap();
    assert_eq!(
        conf.relay,
        Some(Relay {
            host: "2001:db8::1".into(),
            port: 26
        })
    );
    assert_eq!(conf.resolvers[0].to_string(), "127.0.0.1:53");
    assert_eq!(conf.resolvers[1].to_string(), "[::1]:5353");
    assert_eq!(conf.log_levels["mox_node"], LogLevel::Trace);
    let Connections {
        total,
        per_address,
        per_minute,
    } = conf.connections;
    assert_eq!((total, per_address, per_minute), (10_000, 7, 300));
    let failed = conf.failed_logins;
    assert_eq!((failed.per_minute, failed.per_day), (10, 0));
    let Tls::Files(files) = &conf.listeners["public"].tls else {
        panic!("no files")
    };
    assert_eq!(files[0].certificate.to_str(), Some("c.pem"));
    for (written, host, port) in [
        ("smtp.example.net", "smtp.example.net", 25),
        ("smtp.example.net:2525", "smtp.example.net", 2525),
        ("192.0.2.1:26", "192.0.2.1", 26),
        ("192.0.2.1", "192.0.2.1", 25),
    ] {
        let text = MOX.replace(
            "    postmaster",
            &format!("    relay: {written:?},\n    postmaster"),
        );
        let relay = Static::parse("mox.ron", &text).unwrap().relay.unwrap();
        assert_eq!((relay.host.as_str(), relay.port), (host, port));
    }
}

#[test]
fn an_unknown_setting_is_named_with_its_place_and_the_known_ones() {
    assert_eq!(
        static_errors(&MOX.replace("hostname:", "hostnam:")),
        "mox.ron:3:5: there is no setting \"hostnam\" here; correct the spelling or remove it; known here: \
         data_dir, sendmail_spool, user, hostname, log_level, log_levels, listeners, postmaster, resolvers, relay, transports, outgoing, queue, connections, failed_logins, \
         unlimited_networks, first_time_sender_delay, decision_records"
    );
    assert_eq!(
        static_errors(&MOX.replace("smtp: ()", "smpt: ()")),
        "mox.ron:5:44: listeners.\"public\": there is no setting \"smpt\" here; correct the spelling or remove it; \
         known here: ips, hostname, tls, max_message_size, trusted_proxies, smtp, submission, submissions, imap, imaps, dnsbls, capture, \
         sasl_mechanisms, imap_without, imap_compress, imap_message_limit"
    );
}

#[test]
fn what_is_recorded_has_limits_that_can_hold() {
    let with = |capture: &str| MOX.replace("smtp: ()", &format!("smtp: (), capture: {capture}"));
    let parsed = Static::parse("mox.ron", &with("(dir: \"c\", max_files: 5)")).unwrap();
    let capture = parsed.listeners["public"].capture.clone().unwrap();
    assert_eq!(
        (capture.max_files, capture.max_octets, capture.plain),
        (5, 1_048_576, false)
    );
    assert_eq!(
        static_errors(&with("(dir: \"c\", max_octets: 5)")),
        "mox.ron:5:86: listeners.\"public\".capture.max_octets: 5 octets is not between 4096 and 67108864; 1048576 is usual"
    );
    assert_eq!(
        static_errors(&with("(dir: \"\")")),
        "mox.ron:5:69: listeners.\"public\".capture.dir: the path is empty; name a folder, like \"../captures\""
    );
}

#[test]
fn what_a_listener_offers_is_of_known_names_only() {
    let with = |offers: &str| MOX.replace("smtp: ()", &format!("smtp: (), {offers}"));
    let offers = |text: &str| {
        let fixed = Static::parse("mox.ron", text).unwrap();
        fixed.listeners["public"].offers.clone()
    };
    let usual = offers(MOX);
    assert_eq!(usual.mechanisms, Mechanism::USUAL);
    assert!(!usual.needs_cram_md5() && !usual.imap_compress && usual.imap_without.is_empty());
    let changed = offers(&with(
        "sasl_mechanisms: [\"plain\", \"CRAM-MD5\", \"SCRAM-SHA-256\"], imap_without: [\"IDLE\", \"thread=references\"], \
         imap_compress: true, imap_message_limit: 1000",
    ));
    assert_eq!(
        (usual.imap_message_limit, changed.imap_message_limit),
        (0, 1_000)
    );
    // Best first, whatever the file says.
    let (best, middle, last) = (Mechanism::ScramSha256, Mechanism::CramMd5, Mechanism::Plain);
    assert_eq!(changed.mechanisms, [best, middle, last]);
    assert_eq!(changed.imap_without, ["IDLE", "thread=references"]);
    assert!(changed.needs_cram_md5() && changed.imap_compress);

    let here = "mox.ron:5:";
    assert_eq!(
        static_errors(&with(
            "sasl_mechanisms: [\"PLAIN\", \"EXTERNAL\", \"Plain\"]"
        )),
        format!(
            "{here}81: listeners.\"public\".sasl_mechanisms[1]: \"EXTERNAL\" is no SASL mechanism that can be offered; \
             use some of: SCRAM-SHA-256-PLUS, SCRAM-SHA-256, SCRAM-SHA-1-PLUS, SCRAM-SHA-1, CRAM-MD5, PLAIN, LOGIN\n\
             {here}93: listeners.\"public\".sasl_mechanisms[2]: \"Plain\" stands here twice; remove one"
        )
    );
    assert_eq!(
        static_errors(&with("sasl_mechanisms: []")),
        format!(
            "{here}71: listeners.\"public\".sasl_mechanisms: the list is empty, so nobody could log in; \
             name some, or remove the setting for the usual ones"
        )
    );
    assert_eq!(
        static_errors(&with("imap_message_limit: 999")),
        format!(
            "{here}74: listeners.\"public\".imap_message_limit: 999 messages are fewer than 1000; \
             name more, or remove the setting: then there is no limit"
        )
    );
    let wrong = "imap_without: [\"IDLE\", \"IMAP4rev1\", \"AUTH=PLAIN\", \"STARTTLS\", \"ILDE\"]";
    let errors = static_errors(&with(wrong));
    let lines: Vec<_> = errors.lines().collect();
    let at = "listeners.\"public\".imap_without";
    assert_eq!(
        lines[..3],
        [
            format!(
                "{here}77: {at}[1]: \"IMAP4rev1\" is what all others stand on; remove it; a listener without imap and imaps has no IMAP"
            ),
            format!(
                "{here}90: {at}[2]: \"AUTH=PLAIN\" is a SASL mechanism; list those you want in sasl_mechanisms of a listener"
            ),
            format!(
                "{here}104: {at}[3]: \"STARTTLS\" follows from the certificate and from no_require_starttls; remove it"
            ),
        ]
    );
    let unknown = format!(
        "{here}116: {at}[4]: \"ILDE\" is no IMAP capability known here; use some of: IMAP4rev2, LITERAL+, "
    );
    assert!(
        lines.len() == 4 && lines[3].starts_with(&unknown),
        "{errors}"
    );
}

#[test]
fn an_account_may_be_without_some_imap_capabilities() {
    let with = |list: &str| DOMAINS.replace("quota: 1000000", &format!("imap_without: {list}"));
    let dynamic =
        Dynamic::parse("domains.ron", &with("[\"qresync\", \"MOVE\"]"), &fixed()).unwrap();
    let directory = Directory::new(&fixed(), &dynamic);
    assert_eq!(directory.imap_without("al"), ["qresync", "MOVE"]);
    assert!(directory.imap_without("jo").is_empty());
    let error = dynamic_errors(&with("[\"MOVE\", \"MVOE\"]"));
    let start = "domains.ron:17:109: accounts.\"al\".imap_without[1]: \"MVOE\" is no IMAP capability known here; use some of: IMAP4rev2, ";
    assert!(
        error.starts_with(start) && error.lines().count() == 1,
        "{error}"
    );
}

/// `domains.ron` with these settings of al.
fn with_al(settings: &str) -> String {
    DOMAINS.replace("quota: 1000000", &format!("quota: 1000000, {settings}"))
}

#[test]
fn what_an_account_wants_of_incoming_mail_is_read_and_the_rest_is_usual() {
    let incoming = |text: &str| {
        let dynamic = Dynamic::parse("domains.ron", text, &fixed()).unwrap();
        dynamic.accounts["al"].incoming.clone()
    };
    let usual = incoming(DOMAINS);
    assert_eq!(
        usual.junk_filter.map(|f| (f.threshold, f.strict_threshold)),
        Some((0.7, 0.5))
    );
    assert_eq!(usual.rejects_mailbox.as_deref(), Some("Rejects"));
    assert!(!usual.keep_rejects);
    assert_eq!(usual.dmarc_quarantine, Quarantine::Junk);
    let other = incoming(&with_al(
        r#"junk_filter: (threshold: 0.9), rejects_mailbox: None, rulesets: [
            (mailbox: "Lists", headers: {"^list-id$": "rust"}, list_allow_domain: "lists.example"),
            (mailbox: "INBOX", verified_domain: "old.example", is_forward: true),
        ]"#,
    ));
    assert_eq!(
        other.junk_filter.map(|f| (f.threshold, f.strict_threshold)),
        Some((0.9, 0.5))
    );
    assert_eq!(other.rejects_mailbox, None);
    assert_eq!(other.rulesets.len(), 2);
    assert!(other.rulesets[1].is_forward && other.rulesets[0].mail_from.is_none());
    let strict = incoming(&with_al("dmarc_quarantine: refuse, keep_rejects: true"));
    assert!(strict.keep_rejects);
    assert_eq!(strict.dmarc_quarantine, Quarantine::Refuse);
    let none = incoming(&with_al("junk_filter: None"));
    assert_eq!(none.junk_filter, None);
    let both = Directory::new(
        &fixed(),
        &Dynamic::parse("domains.ron", DOMAINS, &fixed()).unwrap(),
    );
    assert_eq!(both.incoming("al"), &usual);
    assert_eq!(both.incoming("nobody"), &usual);
}

#[test]
fn what_cannot_be_meant_of_incoming_mail_is_named_with_its_place() {
    for (settings, setting, what) in [
        (
            "junk_filter: (threshold: 0.3)",
            "junk_filter.threshold",
            "0.3 is no threshold",
        ),
        (
            "junk_filter: (threshold: 0.6, strict_threshold: 0.8)",
            "junk_filter.strict_threshold",
            "above the other",
        ),
        (
            "junk_filter: (treshold: 0.6)",
            "junk_filter",
            "there is no setting \"treshold\"",
        ),
        (
            "rejects_mailbox: \"Inbox\"",
            "rejects_mailbox",
            "INBOX cannot be",
        ),
        (
            "rejects_mailbox: None, keep_rejects: true",
            "keep_rejects",
            "no copies that could be kept",
        ),
        ("dmarc_quarantine: reject", "dmarc_quarantine", "reject"),
        (
            "rejects_mailbox: \"a//b\"",
            "rejects_mailbox",
            "cannot be the name of a mailbox",
        ),
        (
            "rulesets: [(mailbox: \"a\")]",
            "rulesets[0].mailbox",
            "no condition",
        ),
        (
            "rulesets: [(mailbox: \"a\", mail_from: \"(\")]",
            "rulesets[0].mail_from",
            "no regular expression",
        ),
        (
            "rulesets: [(mailbox: \"a\", headers: {\"x\": \"[\"})]",
            "rulesets[0].headers",
            "no regular expression",
        ),
        (
            "rulesets: [(mailbox: \"a\", mail_from: \"@old\", is_forward: true)]",
            "rulesets[0].is_forward: what is forwarded is not told by what everybody can write",
            "add verified_domain: the domain that forwards",
        ),
        (
            "rulesets: [(mailbox: \"a\", verified_domain: \"a..b\")]",
            "rulesets[0].verified_domain",
            "no domain name",
        ),
    ] {
        let errors = dynamic_errors(&with_al(settings));
        assert!(errors.contains(what), "{settings}: {errors}");
        assert!(errors.contains(setting), "{settings}: {errors}");
        let line = DOMAINS
            .lines()
            .position(|line| line.contains("quota: 1000000"))
            .unwrap()
            + 1;
        assert!(
            errors.contains(&format!("domains.ron:{line}:")),
            "{settings}: {errors}"
        );
    }
}

/// `domains.ron` with these aliases of example.org.
fn with_aliases(aliases: &str) -> String {
    let of_domain = format!("\"alias.example\": (aliases: {{{aliases}}}),");
    DOMAINS.replacen("domains: {", &format!("domains: {{{of_domain}"), 1)
}

#[test]
fn aliases_are_read_and_what_they_cannot_mean_is_named_with_its_place() {
    let al = dynamic_address("al");
    let text = with_aliases(&format!(
        "\"sales\": (members: [{al:?}], members_may_send: true)"
    ));
    let dynamic = Dynamic::parse("domains.ron", &text, &fixed()).unwrap();
    let alias = &dynamic.aliases["sales@alias.example"];
    assert!(alias.members_may_send);
    assert_eq!(alias.members[0].to_string(), al);
    let directory = Directory::new(&fixed(), &dynamic);
    let sales = mox_address::Path::parse("Sales@alias.example", true).unwrap();
    assert!(directory.owns("al", &sales));
    let many = vec!["\"x\""; 101].join(", ");
    for (aliases, setting, what) in [
        ("\"a\": (members: [])", "\"a\".members", "has no members"),
        (
            "\"a\": (members: [\"nobody\"])",
            "\"a\".members[0]",
            "no account has the address nobody@alias.example",
        ),
        (
            "\"a\": (members: [\"b@elsewhere.example\"])",
            "\"a\".members[0]",
            "is no address here",
        ),
        (
            "\"a\": (members: [\"b\"]), \"b\": (members: [\"a\"])",
            "\"a\".members[0]",
            "\"b\" is an alias itself",
        ),
        (
            "\"a\": (members: [\"@alias.example\"])",
            "\"a\".members[0]",
            "is no single address",
        ),
        (
            "\"a\": (members: [MANY])",
            "\"a\".members",
            "101 entries are too many",
        ),
        (
            "\"a\": (members: [\"AL\", \"AL\"])",
            "\"a\".members[1]",
            "stands here twice",
        ),
        (
            "\"a\": (members: [\"AL\", \"LARGE\"])",
            "\"a\".members[1]",
            "is the same address as",
        ),
        ("\"a+b\": (members: [\"AL\"])", "\"a+b\"", "does not count"),
        (
            "\"a@b\": (members: [\"AL\"])",
            "\"a@b\"",
            "is no local part",
        ),
        (
            "\"a\": (members: [\"AL\"]), \"A\": (members: [\"AL\"])",
            "\"a\"",
            "is an alias already",
        ),
        ("\"a\": (membres: [])", "\"a\"", "no setting \"membres\""),
    ] {
        let aliases = aliases
            .replace("MANY", &many)
            .replace("\"LARGE\"", &format!("{:?}", al.replacen("al", "Al", 1)))
            .replace("\"AL\"", &format!("{al:?}"));
        let errors = dynamic_errors(&with_aliases(&aliases));
        assert!(errors.contains(what), "{aliases}: {errors}");
        let place = format!("domains.\"alias.example\".aliases.{setting}");
        assert!(errors.contains(&place), "{aliases}: {errors}");
    }
}

/// An address of an account in `domains.ron`.
fn dynamic_address(account: &str) -> String {
    let dynamic = Dynamic::parse("domains.ron", DOMAINS, &fixed()).unwrap();
    let mut addresses = dynamic.accounts[account].addresses.iter();
    let single = addresses.find(|address| address.local.is_some());
    single.unwrap().to_string()
}

#[test]
fn lists_and_the_delay_of_strangers_are_read_and_checked() {
    let text = MOX.replace("smtp: ()", "dnsbls: [\"bl.example.org\"], smtp: ()");
    let text = text.replace(
        "    postmaster",
        "    first_time_sender_delay: 15,\n    postmaster",
    );
    let conf = Static::parse("mox.ron", &text).unwrap();
    assert_eq!(
        conf.listeners["public"].dnsbls[0].to_string(),
        "bl.example.org"
    );
    assert_eq!(conf.first_time_sender_delay.as_secs(), 15);
    let usual = conf.decision_records;
    assert_eq!((usual.days, usual.megabytes), (30, 256));
    let text = text.replace(
        "    postmaster",
        "    decision_records: (megabytes: 4096),\n    postmaster",
    );
    let own = Static::parse("mox.ron", &text).unwrap().decision_records;
    assert_eq!((own.days, own.megabytes), (30, 4096));
    let errors = static_errors(&text.replace("megabytes: 4096", "days: 0"));
    assert!(
        errors.contains("decision_records.days: 0 is not between 1 and 3650; 30 is usual"),
        "{errors}"
    );
    let bad = text
        .replace("bl.example.org", "bl..org")
        .replace("delay: 15", "delay: 3000");
    let errors = static_errors(&bad);
    for part in ["no domain name", "dnsbls[0]", "3000 seconds are too long"] {
        assert!(errors.contains(part), "{part}: {errors}");
    }
}

#[test]
fn proxies_and_starttls_on_port_25_are_read_and_checked() {
    let text = MOX.replace(
        "smtp: ()",
        "trusted_proxies: [\"10.0.0.0/8\", \"::1\"], smtp: (require_starttls: true)",
    );
    let conf = Static::parse("mox.ron", &text).unwrap();
    let listener = &conf.listeners["public"];
    assert!(listener.smtp.unwrap().require_starttls);
    let proxies = &listener.trusted_proxies;
    let is_trusted = |ip: &str| proxies.iter().any(|n| n.contains(ip.parse().unwrap()));
    assert!(is_trusted("10.1.2.3") && is_trusted("::1") && !is_trusted("192.0.2.1"));
    let errors = static_errors(&text.replace("10.0.0.0/8", "10.0.0.1/8"));
    let what = "trusted_proxies[0]: \"10.0.0.1/8\" is no IP address and no network";
    assert!(errors.contains(what), "{errors}");
    let errors = static_errors(&text.replace("smtp: (req", "tls: off, smtp: (req"));
    assert!(
        errors.contains("it takes mail after STARTTLS only"),
        "{errors}"
    );
}

#[test]
fn whom_no_limiter_concerns_is_read_and_checked() {
    let text = MOX.replace(
        "    postmaster",
        "    unlimited_networks: [\"192.0.2.7\", \"2001:db8:5::/48\"],\n    postmaster",
    );
    let conf = Static::parse("mox.ron", &text).unwrap();
    let all = &conf.unlimited_networks;
    let is_named = |ip: &str| all.iter().any(|n| n.contains(ip.parse().unwrap()));
    assert!(is_named("192.0.2.7") && is_named("2001:db8:5:9::1") && !is_named("192.0.2.8"));
    let errors = static_errors(&text.replace("192.0.2.7", "192.0.2.7/24"));
    let what = "unlimited_networks[0]: \"192.0.2.7/24\" is no IP address and no network";
    assert!(errors.contains(what), "{errors}");
}

#[test]
fn a_wrong_type_is_named_with_its_place_its_value_and_what_is_expected() {
    assert_eq!(
        static_errors(&MOX.replace("\"mail.example.org\"", "25")),
        "mox.ron:3:15: hostname: 25 is of the wrong type; write text in quotes, like \"example\""
    );
    assert_eq!(
        static_errors(&MOX.replace("port: 1143", "port: \"1143\"")),
        "mox.ron:5:84: listeners.\"public\".imap.port: \"1143\" is of the wrong type; write a whole number"
    );
    assert_eq!(
        static_errors(&MOX.replace("port: 1143", "port: 99999")),
        "mox.ron:5:84: listeners.\"public\".imap.port: 99999 is of the wrong type; write a number in range (ports end at 65535)"
    );
    assert_eq!(
        static_errors(&MOX.replace("no_require_starttls: true", "no_require_starttls: yes")),
        "mox.ron:5:111: listeners.\"public\".imap.no_require_starttls: yes is of the wrong type; write true or false"
    );
    assert_eq!(
        static_errors(&MOX.replace("[\"0.0.0.0\", \"::\"]", "\"0.0.0.0\"")),
        "mox.ron:5:25: listeners.\"public\".ips: \"0.0.0.0\" is of the wrong type; write a list, like [\"a\", \"b\"]"
    );
    assert_eq!(
        static_errors(&MOX.replace("smtp: ()", "tls: acme, smtp: ()")),
        "mox.ron:5:49: listeners.\"public\".tls: \"acme\" is none of the choices; use one of: self_signed, files, off"
    );
}

#[test]
fn a_missing_setting_and_broken_syntax_are_named_with_their_place() {
    assert_eq!(
        static_errors(&MOX.replace("    hostname: \"mail.example.org\",\n", "")),
        "mox.ron:7:1: the setting \"hostname\" is missing; add it"
    );
    assert_eq!(
        static_errors(&MOX.replace("\"mail.example.org\",", "\"mail.example.org\"")),
        "mox.ron:4:5: this cannot be read: expected comma; look here and just before for a missing comma, quote, colon or bracket"
    );
    assert!(static_errors("").starts_with("mox.ron:1:1: "));
    assert!(static_errors(&"(".repeat(100_000)).starts_with("mox.ron:1:"));
    assert!(static_errors(&"[".repeat(100_000)).starts_with("mox.ron:1:"));
}

#[test]
fn all_wrong_values_of_a_file_are_reported_together_in_order() {
    let text = r#"(
    data_dir: "",
    user: "a b",
    hostname: "mail",
    listeners: {
        "a": (ips: ["1.2.3"], tls: off, smtp: (port: 0), imaps: (), submission: (), max_message_size: 5),
        "b": (ips: []),
    },
    postmaster: (account: "../jo", mailbox: "a//b"),
    resolvers: ["dns.example"],
    relay: "a b",
    connections: (total: 0),
)"#;
    assert_eq!(
        static_errors(text),
        "mox.ron:2:15: data_dir: the path is empty; name a directory, like \"data\"\n\
         mox.ron:3:11: user: \"a b\" is no user name; name a user of this system, like \"mox\"\n\
         mox.ron:4:15: hostname: \"mail\" is no full host name; write the whole name, like \"mail.example.org\"\n\
         mox.ron:6:21: listeners.\"a\".ips[0]: \"1.2.3\" is no IP address; write one like \"192.0.2.1\" or \"2001:db8::1\", without port or brackets\n\
         mox.ron:6:47: listeners.\"a\".smtp: port 0 is no port; use one from 1 to 65535\n\
         mox.ron:6:65: listeners.\"a\".imaps: it begins with TLS, which is off here; remove tls: off, or this service\n\
         mox.ron:6:81: listeners.\"a\".submission: it takes passwords after STARTTLS only, and TLS is off here; remove tls: off, or add no_require_starttls: true\n\
         mox.ron:6:103: listeners.\"a\".max_message_size: 5 bytes is not between 1024 and 4294967296; 104857600 is usual\n\
         mox.ron:7:14: listeners.\"b\": it has no service; add one of smtp, submission, submissions, imap, imaps, like smtp: ()\n\
         mox.ron:7:20: listeners.\"b\".ips: the list is empty; name addresses of this machine, or \"0.0.0.0\" and \"::\" for all\n\
         mox.ron:9:27: postmaster.account: \"../jo\" cannot be the name of an account; use up to 64 of a-z, 0-9 and . _ @ -, beginning with a letter or a digit\n\
         mox.ron:9:45: postmaster.mailbox: \"a//b\" cannot be the name of a mailbox: a level of it is empty; use letters, digits and spaces, with / between levels\n\
         mox.ron:10:17: resolvers[0]: \"dns.example\" is no address of a name server; write one like \"127.0.0.1\" or \"[::1]:5353\"\n\
         mox.ron:11:12: relay: \"a b\" is no host and port; write \"smtp.example.org:25\", \"192.0.2.1:25\" or \"[2001:db8::1]:25\"\n\
         mox.ron:12:26: connections.total: 0 connections is not between 1 and 1000000; 10000 is usual"
    );
}

#[test]
fn a_port_claimed_twice_is_refused() {
    let text = MOX.replace(
        "    },\n    postmaster",
        "        \"second\": (ips: [\"127.0.0.1\"], imaps: (port: 465)),\n    },\n    postmaster",
    );
    assert_eq!(
        static_errors(&text),
        "mox.ron:6:47: listeners.\"second\".imaps: 127.0.0.1:465 is taken already by listeners.\"public\".submissions; \
         give one of them another port or address"
    );
}

#[test]
fn what_stands_twice_is_refused_and_not_silently_dropped() {
    assert_eq!(
        static_errors(&MOX.replace("    postmaster", "    data_dir: \"x\",\n    postmaster")),
        "mox.ron:7:5: the setting \"data_dir\" stands here twice; remove one of them"
    );
    assert_eq!(
        dynamic_errors(&DOMAINS.replace("\"al\": (", "\"jo\": (")),
        "domains.ron:17:9: accounts.\"jo\": this name stands here twice; remove one of them"
    );
}

#[test]
fn a_dynamic_file_means_what_it_says() {
    let conf = Dynamic::parse("domains.ron", DOMAINS, &fixed()).unwrap();
    let domains: Vec<&str> = conf.domains.keys().map(|d| d.as_str()).collect();
    assert_eq!(domains, ["example.org", "xn--bcher-kva.example"]);
    assert_eq!(conf.domains.values().next().unwrap().separators, ['+']);
    let jo = &conf.accounts["jo"];
    let addresses: Vec<String> = jo.addresses.iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["jo@example.org", "Jo@bücher.example"]);
    assert_eq!(jo.full_name.as_deref(), Some("Jo Doe"));
    assert_eq!(conf.accounts["al"].quota, Some(1_000_000));
}

#[test]
fn wrong_addresses_accounts_and_domains_are_named_with_place_value_and_remedy() {
    let text = r#"(
    domains: {"example.org": (), "EXAMPLE.org": (), "a b": (), "x.example": (subaddress_separators: ["++", "@"])},
    accounts: {
        "al": (domain: "example.org", addresses: ["jo", "al@nowhere.example", "a b@example.org", "JO@example.org"]),
        "bo": (domain: "else.example", addresses: ["bo@else.example", "jo@example.org", "bo+x@example.org", "@example.org", "@example.org"]),
        "../x": (domain: "example.org", addresses: [], quota: 0),
    },
)"#;
    assert_eq!(
        dynamic_errors(text),
        "domains.ron:2:15: domains.\"example.org\": example.org stands here already in another spelling; remove one of them\n\
         domains.ron:2:53: domains.\"a b\": \"a b\" is no domain name; a domain name has letters, digits and inner hyphens only\n\
         domains.ron:2:102: domains.\"x.example\".subaddress_separators[0]: \"++\" is no separator; use one ASCII character that can stand in an address, like \"+\" or \"-\"\n\
         domains.ron:2:108: domains.\"x.example\".subaddress_separators[1]: \"@\" is no separator; use one ASCII character that can stand in an address, like \"+\" or \"-\"\n\
         domains.ron:3:15: accounts: there is no account \"jo\", to which mox.ron gives the postmaster's mail; add it here, or name another account there\n\
         domains.ron:4:57: accounts.\"al\".addresses[1]: \"al@nowhere.example\": the domain nowhere.example is not in domains; add it there, or correct the spelling\n\
         domains.ron:4:79: accounts.\"al\".addresses[2]: \"a b@example.org\" is no address: the part before the @ has characters that need quotes; write \"local-part@domain\", or \"@domain\" for all other addresses of a domain\n\
         domains.ron:4:98: accounts.\"al\".addresses[3]: \"JO@example.org\" stands here twice; remove one of them\n\
         domains.ron:5:24: accounts.\"bo\".domain: \"else.example\" is not in domains; add it there, or correct the spelling\n\
         domains.ron:5:52: accounts.\"bo\".addresses[0]: \"bo@else.example\": the domain else.example is not in domains; add it there, or correct the spelling\n\
         domains.ron:5:71: accounts.\"bo\".addresses[1]: \"jo@example.org\" belongs to account \"al\" already; remove it from one of the two\n\
         domains.ron:5:89: accounts.\"bo\".addresses[2]: \"bo+x@example.org\": what follows '+' does not count at example.org; write \"bo@example.org\", or change its subaddress_separators\n\
         domains.ron:5:125: accounts.\"bo\".addresses[4]: \"@example.org\" stands here twice; remove one of them\n\
         domains.ron:6:9: accounts.\"../x\": \"../x\" cannot be the name of an account; use up to 64 of a-z, 0-9 and . _ @ -, beginning with a letter or a digit\n\
         domains.ron:6:63: accounts.\"../x\".quota: 0 bytes leaves no room for any message; leave quota out for no limit"
    );
}

#[test]
fn account_names_that_are_paths_are_refused() {
    for name in ["..", "a/b", "../x", "", ".a", "A", &"a".repeat(65)] {
        let text = DOMAINS.replace("\"al\": (", &format!("{name:?}: ("));
        assert!(
            dynamic_errors(&text).contains("cannot be the name of an account"),
            "{name:?}"
        );
    }
}

#[test]
fn the_directory_of_both_files_knows_every_address() {
    let conf = Dynamic::parse("domains.ron", DOMAINS, &fixed()).unwrap();
    let directory = Directory::new(&fixed(), &conf);
    assert_eq!(directory.accounts(), ["al", "jo"]);
    let owner = |text: &str| match directory.find(&mox_address::Path::parse(text, true).unwrap()) {
        Found::Account { account, .. } => account,
        other => format!("{other:?}"),
    };
    assert_eq!(owner("JO+x@Example.ORG"), "jo");
    assert_eq!(owner("Jo-x@xn--bcher-kva.example"), "jo");
    assert_eq!(owner("jo@bücher.example"), "UnknownLocalPart");
    assert_eq!(owner("whoever@example.org"), "al");
    assert_eq!(owner("postmaster@mail.example.org"), "jo");
    assert_eq!(owner("jo@mail.example.org"), "UnknownLocalPart");
    assert_eq!(owner("jo@example.net"), "NotOurs");
}

#[test]
fn added_accounts_and_addresses_leave_everything_else_as_it_was() {
    let fixed = fixed();
    let text = add_account("domains.ron", DOMAINS, &fixed, "eve", "eve@bücher.example").unwrap();
    let text = add_address("domains.ron", &text, &fixed, "j.doe@example.org", "jo").unwrap();
    let text = add_address("domains.ron", &text, &fixed, "a.l@example.org", "al").unwrap();
    let expected = DOMAINS
        .replace(
            "                \"Jo@bücher.example\",\n",
            "                \"Jo@bücher.example\",\n                \"j.doe@example.org\",\n",
        )
        .replace("\"@example.org\"]", "\"@example.org\", \"a.l@example.org\"]")
        .replace(
            "quota: 1000000),\n",
            "quota: 1000000),\n        \"eve\": (domain: \"bücher.example\", addresses: [\"eve@bücher.example\"]),\n",
        );
    assert_eq!(text, expected);
    let text = remove_account("domains.ron", &text, &fixed, "eve").unwrap();
    let text = remove_address("domains.ron", &text, &fixed, "J.Doe@example.org").unwrap();
    let text = remove_address("domains.ron", &text, &fixed, "a.l@example.org").unwrap();
    assert_eq!(text, DOMAINS);
}

#[test]
fn aliases_are_made_changed_and_removed_and_everything_else_is_as_it_was() {
    let fixed = fixed();
    let add = |text: &str, alias, member| add_to_alias("d", text, &fixed, alias, member);
    let rm = |text: &str, alias, member| remove_from_alias("d", text, &fixed, alias, member);
    let one = add(DOMAINS, "Sales@example.org", "jo").unwrap();
    let expected = |members: &str| {
        let domain = format!("\"example.org\": (aliases: {{\"Sales\": (members: [{members}])}}),");
        DOMAINS.replace("\"example.org\": (),", &domain)
    };
    assert_eq!(one, expected("\"jo@example.org\""));
    let two = add(&one, "sales@example.org", "Jo@bücher.example").unwrap();
    let both = "\"jo@example.org\", \"Jo@bücher.example\"";
    assert_eq!(two, expected(both));
    let other = add(&two, "info@bücher.example", "jo@example.org").unwrap();
    let of_books = "case_sensitive: true, aliases: {\"info\": (members: [\"jo@example.org\"])})";
    assert_eq!(
        other,
        expected(both).replace("case_sensitive: true)", of_books)
    );
    let refused = |result: Result<String, EditError>| match result.unwrap_err() {
        EditError::Refused(why) => why,
        other => panic!("{other}"),
    };
    for (alias, member, what) in [
        ("sales@example.org", "jo", "is a member of"),
        (
            "sales@example.org",
            "JO",
            "jo@example.org is a member of \"sales@example.org\" already",
        ),
        (
            "sales@example.org",
            "nobody",
            "no account has the address nobody@example.org",
        ),
        ("more@example.org", "sales", "is an alias itself"),
        ("jo@example.org", "al", "belongs to account \"jo\""),
        (
            "x@far.example",
            "jo@example.org",
            "there is no domain far.example",
        ),
    ] {
        let why = refused(add(&two, alias, member));
        assert!(why.contains(what), "{alias}: {why}");
    }
    let why = refused(remove_address("d", &two, &fixed, "jo@example.org"));
    assert!(
        why.contains("jo@example.org is a member of the alias Sales@example.org"),
        "{why}"
    );
    let why = refused(add_address("d", &two, &fixed, "sales@example.org", "al"));
    assert!(why.contains("is an alias already"), "{why}");
    assert!(refused(rm(&one, "sales@example.org", Some("jo"))).contains("the last member"));
    assert!(refused(rm(&one, "sales@example.org", Some("al"))).contains("is no member"));
    assert!(refused(rm(&one, "info@example.org", None)).contains("there is no alias"));
    let text = rm(&two, "SALES@example.org", Some("jo@bücher.example"));
    assert!(
        refused(text).contains("is no member"),
        "letter case counts there"
    );
    let text = rm(&two, "SALES@example.org", Some("Jo@bücher.example")).unwrap();
    assert_eq!(text, one);
    let text = rm(&text, "sales@example.org", None).unwrap();
    assert_eq!(
        text,
        DOMAINS.replace("\"example.org\": (),", "\"example.org\": (aliases: {}),")
    );
    assert_eq!(add(&text, "Sales@example.org", "jo").unwrap(), one);
}

#[test]
fn edits_work_in_every_layout() {
    let fixed = fixed();
    let tight =
        r#"(domains:{"example.org":()},accounts:{"jo":(domain:"example.org",addresses:[])})"#;
    let text = add_address("d", tight, &fixed, "jo@example.org", "jo").unwrap();
    let text = add_address("d", &text, &fixed, "@example.org", "jo").unwrap();
    let text = add_account("d", &text, &fixed, "al", "al@example.org").unwrap();
    assert_eq!(
        text,
        r#"(domains:{"example.org":()},accounts:{"jo":(domain:"example.org",addresses:["jo@example.org", "@example.org"]), "al": (domain: "example.org", addresses: ["al@example.org"])})"#
    );
    let text = remove_account("d", &text, &fixed, "al").unwrap();
    let text = remove_address("d", &text, &fixed, "jo@example.org").unwrap();
    let text = remove_address("d", &text, &fixed, "@example.org").unwrap();
    assert_eq!(text, tight);

    // No comma after the last one, a comment behind it, CRLF.
    let crlf = "(domains: {\"example.org\": ()},\r\n accounts: {\r\n  \"jo\": (domain: \"example.org\", addresses: [\r\n    \"jo\" // me, \"x\"]\r\n  ])\r\n })\r\n";
    let text = add_address("d", crlf, &fixed, "jo2@example.org", "jo").unwrap();
    let text = add_account("d", &text, &fixed, "al", "al@example.org").unwrap();
    assert_eq!(
        text,
        "(domains: {\"example.org\": ()},\r\n accounts: {\r\n  \"jo\": (domain: \"example.org\", addresses: [\r\n    \"jo\", // me, \"x\"]\r\n    \"jo2@example.org\",\r\n  ]),\r\n  \"al\": (domain: \"example.org\", addresses: [\"al@example.org\"]),\r\n })\r\n"
    );
}

#[test]
fn impossible_edits_say_why() {
    let fixed = fixed();
    let refused = |result: Result<String, EditError>| match result.unwrap_err() {
        EditError::Refused(why) => why,
        other => panic!("{other}"),
    };
    let account = |name, address| refused(add_account("d", DOMAINS, &fixed, name, address));
    assert_eq!(
        account("jo", "x@example.org"),
        "there is an account \"jo\" already; choose another name"
    );
    assert!(
        account("../x", "x@example.org").starts_with("\"../x\" cannot be the name of an account; ")
    );
    assert_eq!(
        account("x", "JO@example.org"),
        "\"JO@example.org\" belongs to account \"jo\" already; remove it from one of the two"
    );
    assert_eq!(
        account("x", "x@example.net"),
        "\"x@example.net\": the domain example.net is not in domains; add it there, or correct the spelling"
    );
    assert_eq!(
        account("x", "x"),
        "\"x\" is no address: an address is local-part@domain; write local-part@domain"
    );
    assert_eq!(
        refused(remove_account("d", DOMAINS, &fixed, "jo")),
        "mox.ron gives the postmaster's mail to account \"jo\"; name another account there first"
    );
    assert_eq!(
        refused(remove_account("d", DOMAINS, &fixed, "nobody")),
        "there is no account \"nobody\"; check the spelling"
    );
    assert_eq!(
        refused(add_address("d", DOMAINS, &fixed, "x@example.org", "nobody")),
        "there is no account \"nobody\"; check the spelling"
    );
    assert_eq!(
        refused(remove_address("d", DOMAINS, &fixed, "jo@bücher.example")),
        "no account has the address \"jo@bücher.example\"; check the spelling"
    );
    assert!(matches!(
        add_account("d", "(", &fixed, "x", "x@example.org"),
        Err(EditError::Problems(_))
    ));
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_parsers_fail_otherwise_than_with_problems(
        text in "[(){}\\[\\]:,\"a-z#!/* \n0-9\\\\]{0,200}", at in 0_usize..800, len in 0_usize..40,
    ) {
        let _ = Static::parse("m", &text).map_err(|e| e.to_string());
        let start = DOMAINS.char_indices().nth(at % DOMAINS.chars().count()).unwrap().0;
        let end = DOMAINS[start..].char_indices().nth(len).map_or(DOMAINS.len(), |(n, _)| start + n);
        let mut damaged = DOMAINS.to_owned();
        damaged.replace_range(start..end, &text);
        if let Err(problems) = Dynamic::parse("d", &damaged, &fixed()) {
            proptest::prop_assert!(!problems.all.is_empty());
        } else if let Ok(edited) = add_account("d", &damaged, &fixed(), "new", "new@example.org") {
            // What was added can be taken away again.
            let back = remove_account("d", &edited, &fixed(), "new").unwrap();
            proptest::prop_assert_eq!(
                Dynamic::parse("d", &back, &fixed()), Dynamic::parse("d", &damaged, &fixed())
            );
        }
    }
}
