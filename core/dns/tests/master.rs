//! Master files: answers as name servers give them, and facts that come back the same.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

use mox_dns::{Answer, Failure, MasterFile, Name, Question, Record, RecordType};
use proptest::prelude::*;

fn ask(file: &MasterFile, name: &str, kind: RecordType) -> Answer {
    file.answer(&Question::new(name, kind).unwrap())
}

#[test]
fn an_entry_goes_on_over_lines_within_parentheses() {
    let file = MasterFile::parse(
        b"k._domainkey.example.org. IN TXT ( \"v=DKIM1; \" ; a comment )\n\
          \t  \"p=(\" )  ; ----- a key\n\
          \tMX(10 mx.example.org.)\n\
          example.net. SOA ns.example.net. admin.example.net. (\n7 1 2\n\n3 900)\n\
          \\(odd\\).example. A 192.0.2.9\n",
    )
    .unwrap();
    let name = "k._domainkey.example.org";
    let key = ask(&file, name, RecordType::Txt);
    assert_eq!(key.all(), [Record::Txt(b"v=DKIM1; p=(".to_vec().into())]);
    assert_eq!(ask(&file, name, RecordType::Mx).all().len(), 1);
    let soa = ask(&file, "example.net", RecordType::Soa);
    assert!(matches!(
        soa.all(),
        [Record::Soa {
            serial: 7,
            minimum: 900,
            ..
        }]
    ));
    let odd = ask(&file, "\\(odd\\).example", RecordType::A);
    assert_eq!(odd.all().len(), 1);
    assert_eq!(MasterFile::parse(file.to_string()).unwrap(), file);
    for (text, line, what) in [
        ("\na. TXT ( x\n\n", 2, "a parenthesis is not closed"),
        ("a. TXT x )", 1, "a parenthesis that was not opened"),
        ("a. TXT ( x\n ( y ) )", 2, "a parenthesis within another"),
        // What is wrong with an entry is wrong with its first line.
        ("a. MX ( 1\n )\nb. A 192.0.2.1", 1, "MX wants more values"),
    ] {
        let error = MasterFile::parse(text).unwrap_err();
        assert_eq!((error.line, &*error.what), (line, what), "{text}");
    }
}

#[test]
fn a_file_answers_as_a_name_server_would() {
    let file = MasterFile::parse(
        b"; a comment\n\
          example.org. 60 IN MX 10 mx.example.org. ; behind a record\n\
          example.org. MX 20 mx2.example.org\n\
          \tTXT \"one \" \"two;\\\"\\255\"\n\
          alias.example.org. 100 CNAME www.example.org. !AD\n\
          www.example.org. 50 A 192.0.2.1 !AD\n\
          loop.example. CNAME loop.example.\n\
          odd\\046name\\000.example. A 192.0.2.9\n\
          sick.example. A 192.0.2.2\n\
          sick.example. * !SERVFAIL\n\
          gone.example. A !NXDOMAIN !AD\n\
          null.example. MX 0 .\n\
          _25._tcp.mx.example.org. TLSA 3 1 1 0a0B ff\n\
          example.net. SOA ns.example.net. admin.example.net. 7 1 2 3 900\n",
    )
    .unwrap();
    let mx = ask(&file, "EXAMPLE.org", RecordType::Mx);
    assert_eq!((mx.all().len(), mx.ttl), (2, 60));
    let txt = ask(&file, "example.org", RecordType::Txt);
    assert_eq!(txt.all(), [Record::Txt(b"one two;\"\xff".to_vec().into())]);
    let alias = ask(&file, "alias.example.org", RecordType::A);
    assert_eq!(
        alias.canonical,
        Some(Name::parse("www.example.org").unwrap())
    );
    assert!(alias.authentic);
    assert_eq!(
        ask(&file, "alias.example.org", RecordType::Aaaa).why(),
        Some(Failure::NoData)
    );
    assert_eq!(
        ask(&file, "loop.example", RecordType::A).why(),
        Some(Failure::ServFail)
    );
    assert_eq!(
        ask(&file, "odd\\.name\\000.example", RecordType::A)
            .all()
            .len(),
        1
    );
    assert_eq!(
        ask(&file, "sick.example", RecordType::Mx).why(),
        Some(Failure::ServFail)
    );
    assert_eq!(ask(&file, "sick.example", RecordType::A).why(), None);
    let gone = ask(&file, "gone.example", RecordType::A);
    assert_eq!(
        (gone.why(), gone.authentic),
        (Some(Failure::NoDomain), true)
    );
    assert_eq!(
        ask(&file, "nowhere.example", RecordType::A).why(),
        Some(Failure::NoDomain)
    );
    assert_eq!(
        ask(&file, "_25._tcp.mx.example.org", RecordType::Tlsa).all(),
        [Record::Tlsa {
            usage: 3,
            selector: 1,
            matching: 1,
            data: vec![0x0a, 0x0b, 0xff].into()
        }]
    );
    assert_eq!(MasterFile::parse(file.to_string()).unwrap(), file);
}

#[test]
fn facts_that_agree_on_an_alias_are_written_as_zone_files_have_them() {
    let text = "alias.example. 60 A 192.0.2.1 !VIA host.example.\n\
                alias.example. 30 AAAA !NODATA !VIA host.example. !AD\n";
    let said = MasterFile::parse(text).unwrap();
    assert_eq!(said.to_string(), text);
    let facts = said.facts();
    assert_eq!(
        MasterFile::of_facts(facts.iter()).to_string(),
        "host.example. 60 A 192.0.2.1\n\
         host.example. 30 AAAA !NODATA !AD\n\
         alias.example. 60 CNAME host.example. !AD\n"
    );
}

#[test]
fn every_point_of_the_dialect_is_read() {
    let file = MasterFile::parse(
        b"a.example  60  IN  TXT  \"with a TTL and a class\"\r\n\
          b.example IN 60 TXT \"a class and a TTL\"\r\n\
          c.example TXT unquoted \"and quoted\"\r\n\
          c.example TXT \"\"\n\
          d.example SRV 0 0 993 imap.example.\n\
          e.example TYPE65280 \\# 2 0001\n\
          f.example TXT !SERVFAIL\nf.example A 192.0.2.1\nf.example * !TIMEOUT !AD\n\
          g.example CNAME h.example\n\
          h.example A 192.0.2.7\nh.example A 192.0.2.8 !AD\n\
          \\206\\177\\046x.example MX 0 .\n\
          i.example * !NXDOMAIN\n\
          j.example TXT \"!NODATA\"\n\
          k.example TXT !BOGUS",
    )
    .unwrap();
    use RecordType::{A, Aaaa, Mx, Txt};
    let text = |name: &str| match ask(&file, name, Txt).all() {
        [] => panic!("{name}"),
        records => records
            .iter()
            .map(|record| match record {
                Record::Txt(text) => String::from_utf8(text.to_vec()).unwrap(),
                other => panic!("{other:?}"),
            })
            .collect::<Vec<_>>(),
    };
    assert_eq!(text("a.example"), ["with a TTL and a class"]);
    assert_eq!(text("b.example"), ["a class and a TTL"]);
    assert_eq!(text("c.example"), ["unquotedand quoted", ""]);
    assert_eq!(text("j.example"), ["!NODATA"]);
    let ttl = |name: &str| ask(&file, name, Txt).ttl;
    assert_eq!(
        [ttl("a.example"), ttl("b.example"), ttl("c.example")],
        [60, 60, 300]
    );
    let why = |name: &str, kind| ask(&file, name, kind).why();
    assert_eq!(why("d.example", Txt), Some(Failure::NoData));
    assert_eq!(why("e.example", A), Some(Failure::NoData));
    assert_eq!(why("f.example", Txt), Some(Failure::ServFail));
    assert_eq!(why("f.example", A), None);
    assert_eq!(why("f.example", Mx), Some(Failure::Timeout));
    assert!(ask(&file, "f.example", Mx).authentic);
    assert!(!ask(&file, "f.example", A).authentic);
    assert_eq!(why("g.example", Aaaa), Some(Failure::NoData));
    assert_eq!(ask(&file, "g.example", A).all().len(), 2);
    assert!(
        ask(&file, "h.example", A).authentic,
        "one mark vouches for the set"
    );
    assert!(!ask(&file, "g.example", A).authentic);
    let odd = Name::from_labels([&b"\xce\xb1.x"[..], b"example"]).unwrap();
    assert_eq!(file.answer(&Question::of(odd, Mx)).all().len(), 1);
    assert_eq!(why("i.example", A), Some(Failure::NoDomain));
    assert_eq!(why("k.example", Txt), Some(Failure::Bogus));
    assert_eq!(why("nobody.example", Txt), Some(Failure::NoDomain));
}

#[test]
fn a_line_that_is_none_is_named() {
    for (text, error) in [
        (
            "a.example A 192.0.2.1\nb.example A 192.0.2.256",
            "line 2: \"192.0.2.256\" is not an address for A",
        ),
        ("a.example", "line 1: there is no type"),
        (
            "a.example SRVV 1 2 3 x.",
            "line 1: \"SRVV\" is no type of record that mail asks for",
        ),
        ("a.example TXT \"open", "line 1: a quote is not closed"),
        ("a.example TXT", "line 1: TXT wants more values"),
        ("a.example MX 70000 x.", "line 1: MX: a number over 65535"),
        ("a.example MX 1 x. y.", "line 1: MX wants fewer values"),
        (
            "a..example A 192.0.2.1",
            "line 1: \"a..example\": a domain name has an empty label",
        ),
        ("a.example A !NOTHING", "line 1: !NOTHING is no failure"),
        (
            "a.example A 192.0.2.1\na.example A !NODATA",
            "line 2: a.example A has records and a failure",
        ),
        (
            "a.example TLSA 3 1 1 abc",
            "line 1: \"abc\" is not hexadecimal",
        ),
        (
            "a.example A !NODATA\na.example A !TIMEOUT",
            "line 2: a.example A has two failures",
        ),
        (
            "a.example * !NODATA\na.example * !TIMEOUT",
            "line 2: a.example has `*` twice",
        ),
        (
            "a.example CNAME b.example\na.example CNAME c.example",
            "line 2: a.example is an alias of two names",
        ),
        (
            "a.example * 192.0.2.1",
            "line 1: `*` stands only before a failure: !NODATA, !NXDOMAIN, !SERVFAIL, !TIMEOUT or !BOGUS",
        ),
    ] {
        assert_eq!(MasterFile::parse(text).unwrap_err().to_string(), error);
    }
}

fn name() -> impl Strategy<Value = Name> {
    let label = prop::collection::vec(any::<u8>(), 1..6);
    prop::collection::vec(label, 0..4)
        .prop_map(|labels| Name::from_labels(labels.iter().map(Vec::as_slice)).unwrap())
}

fn answer() -> impl Strategy<Value = (RecordType, Answer)> {
    let octets = prop::collection::vec(any::<u8>(), 0..600);
    let record = prop_oneof![
        any::<[u8; 4]>().prop_map(|ip| Record::A(ip.into())),
        any::<[u8; 16]>().prop_map(|ip| Record::Aaaa(ip.into())),
        (any::<u16>(), name()).prop_map(|(preference, exchange)| Record::Mx {
            preference,
            exchange
        }),
        octets.prop_map(|text| Record::Txt(text.into())),
        name().prop_map(Record::Ptr),
        (any::<[u8; 3]>(), prop::collection::vec(any::<u8>(), 1..40)).prop_map(|(n, data)| {
            Record::Tlsa {
                usage: n[0],
                selector: n[1],
                matching: n[2],
                data: data.into(),
            }
        }),
    ];
    let failure = prop_oneof![
        Just(Failure::NoDomain),
        Just(Failure::NoData),
        Just(Failure::Timeout),
        Just(Failure::ServFail),
        Just(Failure::Bogus)
    ];
    (
        record,
        prop::option::of(failure),
        any::<u32>(),
        any::<bool>(),
        1..3_usize,
    )
        .prop_map(|(record, failure, ttl, authentic, times)| {
            let kind = record.kind();
            let mut answer = match failure {
                Some(failure) => Answer::failure(failure, ttl),
                None => Answer::records(vec![record; times], ttl),
            };
            answer.authentic = authentic;
            (kind, answer)
        })
}

proptest! {
    #[test]
    fn facts_written_to_a_file_answer_the_same(facts in prop::collection::vec((name(), answer()), 0..8)) {
        let facts: std::collections::BTreeMap<Question, Answer> =
            facts.into_iter().map(|(name, (kind, answer))| (Question::of(name, kind), answer)).collect();
        let text = MasterFile::of_facts(&facts).to_string();
        let again = MasterFile::parse(&text).unwrap();
        for (question, answer) in &facts {
            prop_assert_eq!(&again.answer(question), answer);
        }
        prop_assert_eq!(again.to_string(), text);
    }

    #[test]
    fn facts_with_aliases_come_back_the_same_also_when_they_contradict_each_other(
        facts in prop::collection::vec((0..4_usize, 0..3_usize, prop::option::of(0..4_usize), 0..3_u32, any::<bool>(), 0..3_u8), 0..12)
    ) {
        let name = |n: usize| Name::parse(["a", "b", "c", "d"][n]).unwrap();
        let facts: std::collections::BTreeMap<Question, Answer> = facts
            .into_iter()
            .map(|(owner, kind, end, ttl, authentic, what)| {
                let kind = [RecordType::A, RecordType::Mx, RecordType::Cname][kind];
                let record = match kind {
                    RecordType::A => Record::A([192, 0, 2, what].into()),
                    RecordType::Mx => Record::Mx { preference: what.into(), exchange: name(0) },
                    _ => Record::Cname(name(what.into())),
                };
                let mut answer = match what {
                    0 => Answer::failure(Failure::NoData, ttl),
                    _ => Answer::records(vec![record], ttl),
                };
                answer.authentic = authentic;
                answer.canonical = end.map(name);
                (Question::of(name(owner), kind), answer)
            })
            .collect();
        let text = MasterFile::of_facts(&facts).to_string();
        let again = MasterFile::parse(&text).unwrap();
        for (question, answer) in &facts {
            prop_assert_eq!(&again.answer(question), answer, "{} of\n{}", question, text);
        }
    }

    #[test]
    fn no_text_can_break_the_reader(text in "[ -~\n\t]{0,200}") {
        if let Ok(file) = MasterFile::parse(&text) {
            prop_assert_eq!(MasterFile::parse(file.to_string()).unwrap(), file);
        }
    }
}
