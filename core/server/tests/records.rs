//! What is kept of decisions: within their bounds, found by what they are about, and read whatever version wrote them.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

use mox_server::decision::{
    Connection, DmarcAlignment, Facts, Judgement, LeftOut, Listing, Message, Method, Past,
    RECORD_VERSION, Recipient, Record, Signature, Stage, Standing, Weight, lookups,
};

/// As much as the store keeps of one.
const MOST: usize = 32 * 1024;

/// Letters that nothing makes shorter than about half.
fn long(n: usize, octets: usize) -> String {
    let mut state = (n as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let letter = move |_| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        char::from(b'a' + u8::try_from((state >> 33) % 26).unwrap())
    };
    (0..octets).map(letter).collect()
}

/// A message of somebody who is listed everywhere and has so many authors, each as long as can be.
fn facts(authors: usize) -> Facts {
    let mut message = Message {
        authors: (0..authors).map(|n| long(n, 500)).collect(),
        author_domains: (0..authors).map(|n| long(n + 50, 255)).collect(),
        message_id: Some(format!("<{}@far.example>", long(99, 480))),
        size: 1_000,
        listings: (0..10)
            .map(|n| Listing {
                zone: long(n + 200, 250),
                listed: true,
                text: Some(long(n + 300, 300)),
            })
            .collect(),
        ..Message::default()
    };
    message.dmarc.result = "none".into();
    message.spf.result = "pass".into();
    message.spf.subject = "far.example".into();
    Facts {
        stage: Stage::Message,
        at: 1_767_323_045,
        connection: Connection {
            ip: [192, 0, 2, 1].into(),
            hello: "mx.far.example".into(),
            tls: true,
            slow: false,
        },
        sender: "bob@xn--bcher-kva.example".into(),
        sender_unreachable: None,
        has_resolver: true,
        message: Some(message),
    }
}

fn record(facts: Facts, recipients: usize) -> Record {
    let recipient = |n| {
        let mut recipient = Recipient {
            account: Some(format!("account{n}")),
            mailbox: "INBOX".into(),
            ..Recipient::new(format!("user{n}@ours.example"), Standing::Known)
        };
        let past = Past::default().and(n % 3 == 0);
        recipient.history.signed = vec![("far.example".into(), past)];
        Judgement::of(&facts, recipient)
    };
    Record {
        id: "kx3qa".into(),
        recipients: (0..recipients).map(recipient).collect(),
        facts,
        reply: "250 2.0.0 taken".into(),
        dns: long(999, 4_000),
        left_out: LeftOut::default(),
    }
}

#[test]
fn a_hundred_recipients_are_all_there() {
    let record = record(facts(1), 100);
    let octets = record.encode_within(MOST);
    assert!(octets.len() < MOST / 2, "{}", octets.len());
    assert_eq!(Record::decode(&octets), Ok(record.clone()));
    assert_eq!(record.lacks(), None);
    for cut in (1..octets.len()).step_by(97) {
        assert!(Record::decode(&octets[..cut]).is_err(), "cut at {cut}");
    }
}

#[test]
fn what_there_is_no_room_for_is_said() {
    let many = record(facts(1), 1_000);
    let kept = Record::decode(&many.encode_within(MOST)).unwrap();
    assert_eq!(kept.recipients, many.recipients[..200]);
    assert_eq!(kept.lacks().as_deref(), Some("800 more recipients"));
    // The answers go before recipients do, and recipients before what was known.
    let octets = many.encode_within(usize::MAX).len();
    let kept = Record::decode(&many.encode_within(octets - 1_000)).unwrap();
    assert_eq!((kept.dns.as_str(), kept.recipients.len()), ("", 200));
    let less = many.encode_within(10_000);
    assert!(less.len() <= 10_000 && octets > 12_000, "{octets}");
    let kept = Record::decode(&less).unwrap();
    assert!(kept.recipients.len() < 200 && kept.left_out.answers && !kept.left_out.message);
    assert_eq!(kept.left_out.recipients, 1_000 - kept.recipients.len());
    let lacks = kept.lacks().unwrap();
    assert!(
        lacks.starts_with("the answers of name servers: SPF, iprev and DMARC were not"),
        "{lacks}"
    );
}

#[test]
fn no_sender_can_have_a_transaction_leave_no_record() {
    let large = record(facts(60), 3);
    let octets = large.encode_within(MOST / 2);
    assert!(octets.len() <= MOST / 2, "{}", octets.len());
    let kept = Record::decode(&octets).unwrap();
    assert_eq!(
        (kept.id.as_str(), kept.reply.as_str()),
        ("kx3qa", "250 2.0.0 taken")
    );
    let (was, is) = (&large.recipients[0].decision, &kept.recipients[0].decision);
    assert_eq!((is.verdict, is.reason), (was.verdict, was.reason));
    assert_eq!(
        kept.left_out,
        LeftOut {
            answers: true,
            recipients: 2,
            message: true
        }
    );
    // Nothing can be decided again, and nothing is said to differ.
    assert_eq!(kept.differences(), Vec::<String>::new());
    assert!(kept.lacks().unwrap().contains("nothing was decided again"));
    // What a rule looked at is cut as well: it is there for each recipient.
    let evidence = |record: &Record| {
        let rules = record.recipients[0].decision.rules.iter();
        rules
            .flat_map(|rule| &rule.evidence)
            .map(|(_, value)| value.len())
            .max()
    };
    assert_eq!(evidence(&large), Some(300));
}

#[test]
fn a_record_is_found_as_what_it_is_and_not_as_what_a_sender_calls_it() {
    let mut record = record(facts(1), 1);
    let message = record.facts.message.as_mut().unwrap();
    message.message_id = Some("<Other1@ID>".into());
    for what in [
        "kx3qa",
        "KX3QA",
        "user0@OURS.example",
        "<bob@Bücher.example>",
        "bob@xn--bcher-kva.example",
        "<other1@id>",
    ] {
        assert!(record.is_about(what), "{what}");
        let keys = record.keys();
        assert!(lookups(what).iter().any(|key| keys.contains(key)), "{what}");
    }
    for what in ["", "other", "user1@ours.example", "id kx3qa"] {
        assert!(!record.is_about(what), "{what:?}");
    }
    // Whoever takes an id for a Message-ID is not found where ids are looked for.
    record.facts.message.as_mut().unwrap().message_id = Some("<abcde>".into());
    assert!(!record.keys().contains(&lookups("abcde")[0]));
    assert!(lookups("abcde").contains(&"abcde".to_owned()));
}

#[test]
fn a_member_of_an_alias_is_found_by_its_own_address_too() {
    let mut record = record(facts(1), 2);
    record.recipients[0].recipient.member = Some("Ann@ours.example".into());
    assert!(record.is_about("ann@OURS.example"));
    let keys = record.keys();
    assert!(
        lookups("ann@ours.example")
            .iter()
            .any(|key| keys.contains(key))
    );
    assert!(!record.is_about("bob@ours.example"));
    assert_eq!(Record::decode(&record.encode()), Ok(record));
}

#[test]
fn an_account_knows_what_was_decided_for_it_and_nothing_of_others() {
    let mut record = record(facts(1), 3);
    record.left_out.recipients = 7;
    record.reply = "550 5.7.1 try again with the token (pass:secret) of another (id kx3qa)".into();
    for (nth, judged) in record.recipients.iter_mut().enumerate() {
        judged.recipient.member = Some(format!("member{nth}@ours.example"));
        judged.recipient.offer = Some(format!("(pass:offer{nth})"));
    }
    let own = record.clone().for_account("account1").unwrap();
    assert_eq!(own.recipients, record.recipients[1..2]);
    let shown = format!("{own:?}");
    for others in ["user0", "user2", "member0", "account2", "offer0", "secret"] {
        assert!(!shown.contains(others), "{others} in {shown}");
    }
    assert!(shown.contains("user1") && shown.contains("offer1"));
    assert_eq!(own.left_out, LeftOut::default());
    assert_eq!(own.reply, "550 5.7.1 (id kx3qa)");
    assert!(own.is_about("user1@ours.example") && own.is_about("member1@ours.example"));
    assert!(own.is_about("kx3qa") && own.is_about("bob@xn--bcher-kva.example"));
    for others in [
        "user0@ours.example",
        "user2@ours.example",
        "member0@ours.example",
    ] {
        assert!(!own.is_about(others), "{others}");
    }
    assert_eq!(record.clone().for_account("account9"), None);
    assert_eq!(record.clone().for_account(""), None);
    // Who is the only one sees the whole reply.
    record.recipients.truncate(1);
    record.left_out.recipients = 0;
    let reply = record.reply.clone();
    assert_eq!(record.for_account("account0").unwrap().reply, reply);
}

#[test]
fn what_expands_without_end_is_refused_and_takes_no_memory() {
    let bomb = |octets: usize| {
        let zeros = std::io::Read::take(std::io::repeat(0), octets as u64);
        let mut deflated = vec![RECORD_VERSION, 1];
        let mut encoder = flate2::read::DeflateEncoder::new(zeros, flate2::Compression::best());
        std::io::Read::read_to_end(&mut encoder, &mut deflated).unwrap();
        deflated
    };
    for octets in [8 * 1024 * 1024 + 1, 500 << 20] {
        let octets = bomb(octets);
        let error = Record::decode(&octets).unwrap_err().to_string();
        assert!(error.contains("more than 8388608 octets"), "{error}");
    }
    // Of a real one it is known how large it is.
    let large = record(facts(3), 100);
    let encoded = large.encode();
    let (read, octets) = Record::decode_with_size(&encoded).unwrap();
    assert_eq!(read, large);
    assert!(octets > 4 * encoded.len(), "{octets} of {}", encoded.len());
}

/// What was known of a message, as versions 2 to 6 wrote it.
fn facts_of_version_6(facts: &Facts) -> Vec<u8> {
    let connection = &facts.connection;
    let method = |of: &Method| (of.result.clone(), of.subject.clone(), of.problem.clone());
    let message = facts.message.as_ref().map(|of| {
        let signatures = of.dkim.iter();
        let signatures = signatures.map(|s| (&s.domain, &s.result, s.vouches, &s.problem));
        let dmarc = &of.dmarc;
        (
            (&of.authors, &of.author_domains, &of.message_id),
            (of.size, &of.loops),
            (method(&of.iprev), method(&of.spf), method(&of.helo)),
            signatures.collect::<Vec<_>>(),
            (&dmarc.result, &dmarc.disposition),
            (&dmarc.policy_domain, &dmarc.problem),
            (of.author, &of.listings),
        )
    });
    let known = (
        (facts.stage, facts.at),
        (connection.ip, &connection.hello, connection.tls),
        (&facts.sender, &facts.sender_unreachable),
        (facts.has_resolver, message),
    );
    postcard::to_allocvec(&known).unwrap()
}

#[test]
fn records_of_earlier_versions_are_read() {
    let mut known = facts(1);
    let message = known.message.as_mut().unwrap();
    let signature = |domain: &str, problem: Option<&str>| Signature {
        domain: domain.into(),
        result: "fail".into(),
        vouches: false,
        problem: problem.map(str::to_owned),
        selector: None,
        algorithm: None,
    };
    message.dkim = vec![
        signature("far.example", Some("the body is not as it was signed")),
        signature("other.example", None),
    ];
    message.iprev.problem = Some("no answer".into());
    let mut record = record(known, 1);
    record.dns.clear();
    let judged = record.recipients[0].clone();
    let of = judged.recipient.clone();
    let common = (
        (of.address, of.standing, of.account, of.mailbox),
        (of.settings, of.history, of.token, of.offer, of.content),
    );
    let change = judged.change.map(|change| (change.what, change.verdict));
    let outcome = (judged.decision, change, judged.placed);
    let rest = (record.reply.clone(), record.dns.clone());
    let stored = |version: &[u8], recipient: Vec<u8>| {
        let mut octets = version.to_vec();
        octets.extend(postcard::to_allocvec(&record.id).unwrap());
        octets.extend(facts_of_version_6(&record.facts));
        octets.push(1);
        octets.extend(recipient);
        octets.extend(postcard::to_allocvec(&outcome).unwrap());
        octets.extend(postcard::to_allocvec(&rest).unwrap());
        octets
    };
    let left_out = |mut octets: Vec<u8>| {
        octets.extend(postcard::to_allocvec(&record.left_out).unwrap());
        octets
    };
    let plain = |recipient: Vec<u8>, version: u8| left_out(stored(&[version, 0], recipient));
    let second = postcard::to_allocvec(&common).unwrap();
    let third = postcard::to_allocvec(&(&common, &of.report)).unwrap();
    let fourth = postcard::to_allocvec(&(&common, &of.report, &of.loops)).unwrap();
    let fifth = postcard::to_allocvec(&(&common, &of.report, &of.loops, of.strict)).unwrap();
    let sixth = (&common, &of.report, &of.loops, of.strict, &of.member);
    let sixth = postcard::to_allocvec(&sixth).unwrap();
    for (version, recipient) in [(4, fourth), (5, fifth), (6, sixth)] {
        let octets = plain(recipient, version);
        assert_eq!(Record::decode(&octets).as_ref(), Ok(&record), "{version}");
    }
    // Without answers it cannot be checked again.
    let (second, third) = (stored(&[2], second), stored(&[3], third));
    record.left_out.answers = true;
    assert_eq!(Record::decode(&second), Ok(record.clone()));
    assert_eq!(Record::decode(&third), Ok(record));
}

#[test]
fn what_was_found_out_of_a_message_is_kept_whole() {
    let mut known = facts(1);
    known.connection.slow = true;
    let message = known.message.as_mut().unwrap();
    message.spf.mechanism = Some("-all".into());
    message.dkim = vec![Signature {
        domain: "far.example".into(),
        result: "fail".into(),
        vouches: false,
        problem: Some("the body is not as it was signed".into()),
        selector: Some("s1".into()),
        algorithm: Some("rsa-sha256".into()),
    }];
    message.dmarc.alignment = Some(DmarcAlignment {
        author: "far.example".into(),
        policy: "reject".into(),
        spf_strict: true,
        dkim_strict: false,
        spf: false,
        dkim: Some(3),
    });
    let record = record(known, 2);
    assert_eq!(Record::decode(&record.encode()), Ok(record));
}

#[test]
fn an_earlier_programs_words_are_no_difference_and_another_outcome_is_one() {
    let mut known = facts(1);
    let message = known.message.as_mut().unwrap();
    message.spf.result = "fail".into();
    message.listings.clear();
    let stranger = Recipient::new("user0@ours.example".into(), Standing::Known);
    let mut record = record(known, 0);
    record.recipients = vec![Judgement::of(&record.facts, stranger)];
    record.dns.clear();
    let judged = &mut record.recipients[0];
    judged.decision.rules[0].because = "in other words".into();
    judged.change.as_mut().unwrap().what = "in other words".into();
    assert_eq!(record.differences(), Vec::<String>::new());
    record.recipients[0].decision.rules[0].weight = Weight::Against;
    assert_eq!(record.differences().len(), 1);
    record.recipients[0] = record.recompute().recipients[0].clone();
    record.recipients[0].change = None;
    assert_eq!(
        record.differences(),
        ["user0@ours.example: another change would turn it now"]
    );
}
