//! How scenarios of the list of decisions are played: who there is, what they say, and a world with a server of ours.

mod list;

use super::one_server::{self, One, PASSWORD, ours, sleep};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mox_address::Domain;
use mox_dkim::{Ed25519Key, PublicKey, Selector, Sign, Signing};
use mox_dns::{MasterFile, Name};
use mox_driver::Runtime;
use mox_node::Outgoing;
use mox_server::config::JunkFilter;
use mox_server::decision::{Reason, Record, Rule, Verdict, Weight};
use mox_server::ruleset::{Pattern, Ruleset};
use mox_sim::{Dialogue, DnsManner, Knobs, Sim, SimRuntime, name_server};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

/// The client that far.example, its subdomains and list.example send from.
const KNOWN: [u8; 4] = [10, 0, 2, 1];
/// Another client of far.example.
pub(super) const SPARE: [u8; 4] = [10, 0, 3, 1];
/// A client that nobody names, far from all others.
pub(super) const OTHER: [u8; 4] = [10, 0, 64, 1];
/// Clients without a name in DNS: two of one /26, and one of the same /21.
pub(super) const NAMELESS: [u8; 4] = [10, 0, 80, 1];
pub(super) const NEARBY: [u8; 4] = [10, 0, 80, 2];
pub(super) const AROUND: [u8; 4] = [10, 0, 82, 200];
/// Where the mail comes from that Ann's filter learns from.
const TEACHER: [u8; 4] = [10, 9, 64, 1];

const ZONE: &str = "\
far.example. MX 10 mx.far.example.\n\
far.example. TXT \"v=spf1 ip4:10.0.2.1 ip4:10.0.3.1 ?all\"\n\
_dmarc.far.example. TXT \"v=DMARC1; p=none\"\n\
one._domainkey.far.example. TXT \"v=DKIM1; k=ed25519; p=PUBLIC\"\n\
a.far.example. MX 10 mx.far.example.\n\
a.far.example. TXT \"v=spf1 ip4:10.0.2.1 ?all\"\n\
b.far.example. MX 10 mx.far.example.\n\
b.far.example. TXT \"v=spf1 ip4:10.0.2.1 ?all\"\n\
list.example. MX 10 mx.far.example.\n\
list.example. TXT \"v=spf1 ip4:10.0.2.1 ?all\"\n\
one._domainkey.signer.example. TXT \"v=DKIM1; k=ed25519; p=PUBLIC\"\n\
strict.example. MX 10 mx.far.example.\n\
strict.example. TXT \"v=spf1 -all\"\n\
soft.example. MX 10 mx.far.example.\n\
soft.example. TXT \"v=spf1 ~all\"\n\
plain.example. MX 10 mx.far.example.\n\
null.example. MX 0 .\n\
_dmarc.refusing.example. TXT \"v=DMARC1; p=reject\"\n\
one._domainkey.refusing.example. TXT !SERVFAIL\n\
_dmarc.aside.example. TXT \"v=DMARC1; p=quarantine\"\n\
mx.far.example. A 10.0.2.1\n\
1.2.0.10.in-addr.arpa. PTR mx.far.example.\n\
other.example. A 10.0.64.1\n\
1.64.0.10.in-addr.arpa. PTR other.example.\n\
2.0.0.127.bl.lists. A 127.0.0.2\n\
1.64.0.10.bl.lists. A 127.0.0.4\n\
1.2.0.10.bl.lists. A 127.0.0.4\n";

const HAM: &str = "meeting agenda budget garden recipe library weather lecture";
pub(super) const JUNK: &str = "lottery pills casino prince million watches miracle discount";

/// A message that somebody brings. `#` is a number of its own.
#[derive(Clone, Copy)]
pub(super) struct Mail {
    pub(super) client: [u8; 4],
    pub(super) hello: &'static str,
    pub(super) sender: &'static str,
    pub(super) to: &'static str,
    pub(super) author: &'static str,
    /// Before From.
    pub(super) fields: &'static str,
    /// `$token` is that of the last refusal.
    pub(super) subject: &'static str,
    pub(super) body: &'static str,
    pub(super) signed_by: Option<&'static str>,
}

/// By Bob, whose domain vouches for him.
pub(super) const BOB: Mail = Mail {
    client: KNOWN,
    hello: "EHLO mx.far.example",
    sender: "bob@far.example",
    to: "ann@ours.example",
    author: "From: <bob@far.example>\r\n",
    fields: "",
    subject: "hello",
    body: HAM,
    signed_by: None,
};
/// By somebody whom nothing vouches for and nothing speaks against.
pub(super) const STRANGER: Mail = Mail {
    client: OTHER,
    sender: "x@plain.example",
    author: "From: <a#@n#.example>\r\n",
    ..BOB
};
/// In Bob's name, by somebody else.
pub(super) const CLAIMED: Mail = Mail {
    author: BOB.author,
    ..STRANGER
};
/// By colleagues of Bob's.
pub(super) const COLLEAGUE: Mail = Mail {
    author: "From: <u#@far.example>\r\n",
    ..BOB
};
pub(super) const COLLEAGUE_UNLISTED: Mail = Mail {
    client: SPARE,
    ..COLLEAGUE
};
/// Of the same organization.
pub(super) const SISTER: Mail = Mail {
    sender: "x@a.far.example",
    author: "From: <u#@a.far.example>\r\n",
    ..BOB
};
pub(super) const BROTHER: Mail = Mail {
    sender: "bob@b.far.example",
    author: "From: <bob@b.far.example>\r\n",
    ..BOB
};
/// By a list, which is all that vouches for it.
pub(super) const LISTED: Mail = Mail {
    client: KNOWN,
    sender: "news@list.example",
    ..STRANGER
};

/// What Ann makes of a message.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    Junk,
    Ham,
    /// She does not see it: it is not taken.
    Refused,
}
pub(super) use Mark::{Ham, Junk, Refused};

pub(super) struct Scenario {
    /// The rows that it shows, and what happens.
    pub(super) about: &'static str,
    pub(super) set: fn(&mut One),
    /// Ann's filter has learned.
    pub(super) learned: bool,
    /// Whom Ann wrote to.
    pub(super) wrote: &'static [&'static str],
    pub(super) before: &'static [(Mail, Mark)],
    /// What is known of earlier mail cannot be read then.
    pub(super) is_unreadable: bool,
    pub(super) mail: Mail,
    pub(super) reply: &'static str,
    pub(super) verdict: Verdict,
    pub(super) reason: Reason,
    /// The level of what is known that counted, as the record has it.
    pub(super) level: &'static str,
}

pub(super) const PLAIN: Scenario = Scenario {
    about: "",
    set: |_| {},
    learned: false,
    wrote: &[],
    before: &[],
    is_unreadable: false,
    mail: BOB,
    reply: "250 ",
    verdict: Verdict::Accept,
    reason: Reason::NoBadSignals,
    level: "",
};

/// Put off, as if it were for a reason of ours.
pub(super) const PUT_OFF: Scenario = Scenario {
    reply: "451 4.3.0 ",
    verdict: Verdict::Defer,
    ..PLAIN
};
pub(super) const REFUSED: Scenario = Scenario {
    verdict: Verdict::Refuse,
    ..PLAIN
};

pub(super) fn listed(one: &mut One) {
    one.lists = vec![Name::parse("bl.lists").unwrap()];
}

pub(super) fn tokens(one: &mut One) {
    one.incoming.subject_token = Some(Duration::from_secs(12 * 3600));
}

pub(super) fn listed_with_tokens(one: &mut One) {
    listed(one);
    tokens(one);
}

pub(super) fn for_the_list(one: &mut One) {
    one.incoming.rulesets = vec![Ruleset {
        mail_from: Some(Pattern::new("@list.example$").unwrap()),
        verified_domain: None,
        headers: Vec::new(),
        mailbox: "Lists".into(),
        list_allow_domain: Some(Domain::parse("list.example", false).unwrap()),
        is_forward: false,
        accept_rejects_to_mailbox: None,
    }];
}

pub(super) fn without_filter(one: &mut One) {
    one.incoming.junk_filter = None;
}

pub(super) fn lenient_but_not_in_clear(one: &mut One) {
    one.incoming.junk_filter = Some(JunkFilter {
        threshold: 1.0,
        strict_without_tls: true,
        ..JunkFilter::default()
    });
}

pub(super) fn lenient_but_not_for_others(one: &mut One) {
    one.incoming.junk_filter = Some(JunkFilter {
        threshold: 1.0,
        strict_unless_named: true,
        ..JunkFilter::default()
    });
}

pub(super) fn lenient(one: &mut One) {
    one.incoming.junk_filter = Some(JunkFilter {
        threshold: 1.0,
        ..JunkFilter::default()
    });
}

/// What is surely junk is near the threshold.
pub(super) fn lenient_with_tokens(one: &mut One) {
    tokens(one);
    one.incoming.junk_filter = Some(JunkFilter {
        threshold: 0.9,
        strict_threshold: 0.9,
        ..JunkFilter::default()
    });
}

pub(super) fn tls_only(one: &mut One) {
    one.tls = Some(one.runtime.server_tls(&["ours.example"]));
    one.require_starttls = true;
}

const AGGREGATE: &str = "<?xml version=\"1.0\"?><feedback><report_metadata><org_name>Far</org_name>\
    <report_id>7</report_id><date_range><begin>1767225600</begin><end>1767311999</end></date_range>\
    </report_metadata><policy_published><domain>ours.example</domain><p>reject</p></policy_published>\
    <record><row><source_ip>192.0.2.1</source_ip><count>3</count><policy_evaluated>\
    <disposition>reject</disposition><dkim>fail</dkim><spf>fail</spf></policy_evaluated></row>\
    <identifiers><header_from>ours.example</header_from></identifiers></record></feedback>";
const TLS_REPORT: &str = "{\"organization-name\":\"Far\",\"date-range\":{\"start-datetime\":\"2026-01-01T00:00:00Z\",\
    \"end-datetime\":\"2026-01-01T23:59:59Z\"},\"report-id\":\"8\",\"policies\":[{\"policy\":{\
    \"policy-type\":\"sts\",\"policy-domain\":\"ours.example\"},\"summary\":{\
    \"total-successful-session-count\":5,\"total-failure-session-count\":0}}]}";

pub(super) const DMARC_REPORTER: Mail = Mail {
    to: "postmaster@ours.example",
    fields: "MIME-Version: 1.0\r\nContent-Type: text/xml\r\n",
    body: AGGREGATE,
    ..BOB
};
pub(super) const TLS_REPORTER: Mail = Mail {
    to: "postmaster@ours.example",
    fields: "MIME-Version: 1.0\r\nContent-Type: application/tlsrpt+json\r\n",
    body: TLS_REPORT,
    // SPF would speak against it.
    client: OTHER,
    sender: "x@strict.example",
    signed_by: Some("far.example"),
    ..BOB
};

pub(super) const FROM_NAMELESS: Mail = Mail {
    client: NAMELESS,
    ..STRANGER
};

/// A server, those who bring it mail, and Ann.
struct World {
    sim: Sim,
    one: One,
    key: Arc<Ed25519Key>,
    clients: BTreeMap<[u8; 4], SimRuntime>,
    reader: SimRuntime,
    brought: usize,
    /// Messages in Ann's Inbox.
    taken: usize,
    /// The last token that was offered.
    token: String,
}

impl World {
    async fn new(sim: &Sim, set: fn(&mut One)) -> Self {
        let key = Arc::new(Ed25519Key::from_seed(&[7; 32]).unwrap());
        let PublicKey::Ed25519(public) = key.public_key() else {
            panic!("another kind of key");
        };
        let zone = MasterFile::parse(ZONE.replace("PUBLIC", &STANDARD.encode(public))).unwrap();
        let names = sim.computer("names", [10, 0, 0, 53]);
        let mut one = One::new(sim, Outgoing::Sink("mox".into()));
        one.resolvers = vec![name_server(&names, zone, DnsManner::direct()).unwrap()];
        set(&mut one);
        one.start().await;
        Self {
            sim: sim.clone(),
            one,
            key,
            clients: BTreeMap::new(),
            reader: sim.computer("reader", [10, 9, 9, 9]),
            brought: 0,
            taken: 0,
            token: String::new(),
        }
    }

    fn text(&self, mail: &Mail) -> String {
        let n = self.brought.to_string();
        let mut received = String::new();
        for hop in 0..101 {
            let _ = write!(
                received,
                "Received: by h{hop}.example; Fri, 2 Jan 2026 03:04:05 +0000\r\n"
            );
        }
        // Somebody else is named, or the recipient, by another spelling of the address.
        let (others, to) = match mail.fields {
            "$others" => ("To: Undisclosed <x@elsewhere.example>\r\n", String::new()),
            _ => (
                "",
                format!(
                    "Cc: x@elsewhere.example, \"A\" <{}>\r\n",
                    mail.to.replace("ann@", "Ann@")
                ),
            ),
        };
        let header = format!(
            "{}{}{to}Message-ID: <{n}@id>\r\nSubject: {}\r\n",
            mail.fields
                .replace("$received", &received)
                .replace("$others", others),
            mail.author.replace('#', &n),
            mail.subject.replace("$token", &self.token),
        );
        let body = format!("{}\r\n", mail.body);
        let field = mail.signed_by.map_or_else(String::new, |domain| {
            let selector = Selector {
                signed: ["From", "Subject"].map(String::from).to_vec(),
                ..Selector::new(domain, "one", self.key.clone())
            };
            let mut signing = Signing::new([selector]);
            signing.push(body.as_bytes());
            signing.finish(header.as_bytes(), 0).unwrap()
        });
        format!("{field}{header}\r\n{body}")
    }

    /// Brings a message; the reply that says what becomes of it.
    async fn bring(&mut self, mail: &Mail) -> String {
        self.brought += 1;
        let text = self.text(mail);
        let sim = &self.sim;
        let client = self.clients.entry(mail.client);
        let client = client.or_insert_with(|| sim.computer("client", mail.client));
        let mut smtp = Dialogue::new(client.connect(ours(25), None).await.unwrap());
        smtp.expect("220").await.unwrap();
        let begin = [
            mail.hello.to_owned(),
            format!("MAIL FROM:<{}>", mail.sender),
            format!("RCPT TO:<{}>", mail.to),
            "DATA".to_owned(),
        ];
        for line in begin {
            smtp.say(&format!("{line}\r\n")).await.unwrap();
            let reply = smtp.reply().await.unwrap();
            if !reply.starts_with('2') && !reply.starts_with('3') {
                return reply;
            }
        }
        smtp.say(&format!("{text}.\r\n")).await.unwrap();
        let reply = smtp.reply().await.unwrap();
        if let Some(from) = reply.find("(pass:") {
            let end = from + reply[from..].find(')').unwrap();
            self.token = reply[from..=end].to_owned();
        }
        reply
    }

    /// Brings what Ann makes something of, and then has her do that.
    async fn past(&mut self, past: &[(Mail, Mark)]) {
        for (mail, mark) in past {
            let reply = self.bring(mail).await;
            assert_eq!(reply.starts_with("250 "), *mark != Refused, "{reply}");
        }
        let mut imap = Dialogue::new(self.reader.connect(ours(143), None).await.unwrap());
        imap.line().await.unwrap();
        let login = format!("LOGIN ann@ours.example \"{PASSWORD}\"");
        imap.command(&login).await.unwrap();
        imap.command("SELECT INBOX").await.unwrap();
        for (_, mark) in past.iter().filter(|(_, mark)| *mark != Refused) {
            self.taken += 1;
            let keyword = if *mark == Junk { "$Junk" } else { "$NotJunk" };
            let store = format!("STORE {} +FLAGS.SILENT ({keyword})", self.taken);
            let said = imap.command(&store).await.unwrap();
            assert!(said.contains(" OK "), "{said}");
        }
        imap.command("LOGOUT").await.unwrap();
    }

    /// Ann's filter learns enough of either class, from mail that has nothing but words in common with other mail.
    async fn learn(&mut self) {
        let teacher = |body| Mail {
            client: TEACHER,
            body,
            ..STRANGER
        };
        let mut past = Vec::new();
        for _ in 0..60 {
            past.extend([(teacher(HAM), Ham), (teacher(JUNK), Junk)]);
        }
        self.past(&past).await;
        sleep(&self.reader, Duration::from_secs(10)).await;
    }
}

/// Plays a scenario to its end: what was decided then.
pub(super) fn play(scenario: &'static Scenario) -> Record {
    let sim = Sim::new(1, Knobs::fault_free());
    let world = sim.clone();
    let record = sim.run(async move {
        let mut world = World::new(&world, scenario.set).await;
        if scenario.learned {
            world.learn().await;
        }
        for to in scenario.wrote {
            let text = one_server::text("hello", 1);
            one_server::submit(&world.reader, &[to], &text)
                .await
                .unwrap();
        }
        world.past(scenario.before).await;
        if scenario.is_unreadable {
            world.sim.strike_only(Some("node past not read"));
        }
        let reply = world.bring(&scenario.mail).await;
        assert!(
            reply.starts_with(scenario.reply),
            "{}: {reply}",
            scenario.about
        );
        // By the recipient, or by the sender when it never came to one.
        let of = |what: &str| world.one.node().explain(what, 1).unwrap();
        let mut found = of(scenario.mail.to);
        if found.is_empty() {
            found = of(scenario.mail.sender);
        }
        let record = found.remove(0);
        assert!(reply.contains(&record.id), "{}: {reply}", scenario.about);
        world.one.stop().await;
        record
    });
    assert_eq!(sim.panics(), 0);
    let [judged] = &record.recipients[..] else {
        panic!("{}: {record:#?}", scenario.about);
    };
    let decision = &judged.decision;
    assert_eq!(
        (decision.verdict, decision.reason),
        (scenario.verdict, scenario.reason),
        "{}: {record:#?}",
        scenario.about
    );
    let reputation = decision.rules.iter().find(|rule| rule.name == "reputation");
    let steps = reputation.map(|rule| &rule.steps[..]).unwrap_or_default();
    // The last level that there was something on.
    let counted = |step: &&Rule| step.weight != Weight::Silent;
    let levels: Vec<_> = steps
        .iter()
        .filter(counted)
        .map(|step| &step.name[..])
        .collect();
    match scenario.level {
        "" => assert_eq!(levels, Vec::<&str>::new(), "{}", scenario.about),
        level => assert!(levels.contains(&level), "{}: {levels:?}", scenario.about),
    }
    assert_eq!(record.differences(), Vec::<String>::new(), "{record:#?}");
    record
}

/// All scenarios.
pub(super) const SCENARIOS: &[Scenario] = list::SCENARIOS;
