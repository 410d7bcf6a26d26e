//! Whose an address is, as a table.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

use mox_address::{Domain, Host, LocalPart, Path};
use mox_server::{AddressError, Directory, DomainRules, Found, Member, Postmaster};

fn domain(text: &str) -> Domain {
    Domain::parse(text, true).unwrap()
}

fn local(text: &str) -> LocalPart {
    LocalPart::parse(text, true).unwrap()
}

fn path(text: &str) -> Path {
    Path::parse(text, true).unwrap()
}

fn directory() -> Directory {
    let mut d = Directory::empty(Postmaster {
        account: "admin".into(),
        mailbox: "Postmaster".into(),
    });
    d.add_host(Host::Domain(domain("mail.example.org")));
    d.add_host(Host::Literal("192.0.2.1".parse().unwrap()));
    d.add_domain(
        &domain("example.org"),
        DomainRules {
            separators: vec!['+', '-'],
            case_sensitive: false,
        },
    );
    d.add_domain(
        &domain("bücher.example"),
        DomainRules {
            separators: vec![],
            case_sensitive: true,
        },
    );
    d.add_domain(
        &domain("all.example"),
        DomainRules {
            separators: vec!['+'],
            case_sensitive: false,
        },
    );
    d.add_address("jo", &local("Jo.Doe"), &domain("Example.org"))
        .unwrap();
    d.add_address("rené", &local("rene\u{301}"), &domain("example.org"))
        .unwrap();
    d.add_address("jo", &local("Jo"), &domain("xn--bcher-kva.example"))
        .unwrap();
    d.add_address("al", &local("PostMaster"), &domain("bücher.example"))
        .unwrap();
    d.add_address("jo", &local("jo"), &domain("all.example"))
        .unwrap();
    d.add_catch_all("al", &domain("all.example")).unwrap();
    d
}

fn shown(found: Found) -> String {
    match found {
        Found::Account {
            account,
            canonical,
            mailbox,
        } => {
            format!(
                "{account} {canonical} {}",
                mailbox.as_deref().unwrap_or("-")
            )
        }
        Found::Alias {
            canonical, members, ..
        } => {
            let shown = |m: &Member| format!("{} {}", m.account, m.address);
            let members: Vec<String> = members.iter().map(shown).collect();
            format!("{canonical}: {}", members.join(", "))
        }
        other => format!("{other:?}"),
    }
}

#[test]
fn an_alias_stands_for_addresses_of_accounts_and_its_members_may_send_where_it_says_so() {
    let mut d = directory();
    let member = |d: &Directory, address: &str| d.member(path(address));
    let both: Vec<Member> = ["Jo.Doe@example.org", "ren\u{e9}@example.org"]
        .iter()
        .map(|address| member(&d, address).unwrap())
        .collect();
    let example = domain("example.org");
    d.add_alias(&local("Sales"), &example, both.clone(), true)
        .unwrap();
    d.add_alias(
        &local("info"),
        &domain("all.example"),
        both[..1].to_vec(),
        false,
    )
    .unwrap();
    d.add_alias(&local("empty"), &example, Vec::new(), false)
        .unwrap();
    let all = "sales@example.org: jo Jo.Doe@example.org, ren\u{e9} ren\u{e9}@example.org";
    for (address, expected) in [
        ("sales@example.org", all),
        ("SALES+x@Example.org", all),
        ("sales-y@example.org", all),
        // Before the catch-all.
        (
            "info@all.example",
            "info@all.example: jo Jo.Doe@example.org",
        ),
        ("info2@all.example", "al info2@all.example -"),
        ("empty@example.org", "UnknownLocalPart"),
        ("info@example.org", "UnknownLocalPart"),
    ] {
        assert_eq!(shown(d.find(&path(address))), expected, "{address}");
    }
    // Only what an account has listed can be a member.
    for nobody in [
        "sales@example.org",
        "nobody@example.org",
        "postmaster@example.org",
        "any@all.example",
        "jo@elsewhere.example",
    ] {
        assert_eq!(member(&d, nobody), None, "{nobody}");
    }
    // An address is one thing.
    let address = d.add_address("al", &local("sales"), &example);
    assert_eq!(address, Err(AddressError::IsAlias));
    let alias =
        |d: &mut Directory, name: &str| d.add_alias(&local(name), &example, both.clone(), false);
    assert_eq!(alias(&mut d, "SALES"), Err(AddressError::IsAlias));
    assert_eq!(
        alias(&mut d, "jo.doe"),
        Err(AddressError::Taken("jo".into()))
    );
    let separator = AddressError::Separator {
        separator: '-',
        base: "sa".into(),
    };
    assert_eq!(alias(&mut d, "sa-les"), Err(separator));
    // Who may send with it.
    for (account, address, may) in [
        ("jo", "sales@example.org", true),
        ("ren\u{e9}", "sales+x@example.org", true),
        ("al", "sales@example.org", false),
        ("jo", "info@all.example", false),
    ] {
        assert_eq!(d.owns(account, &path(address)), may, "{account} {address}");
    }
    // Nobody logs in with it.
    assert_eq!(d.login("sales@example.org"), None);
}

#[test]
fn every_address_goes_where_the_table_says() {
    let d = directory();
    for (address, expected) in [
        // Case, subaddress and composition do not count at example.org.
        ("jo.doe@example.org", "jo jo.doe@example.org -"),
        ("JO.DOE+x-y@EXAMPLE.ORG", "jo jo.doe@example.org -"),
        ("jo.doe-x@example.org", "jo jo.doe@example.org -"),
        ("\"jo.doe\"@example.org", "jo jo.doe@example.org -"),
        ("ren\u{e9}@example.org", "rené ren\u{e9}@example.org -"),
        ("REN\u{c9}@example.org", "rené ren\u{e9}@example.org -"),
        ("rene\u{301}+x@example.org", "rené ren\u{e9}@example.org -"),
        ("jo.d@example.org", "UnknownLocalPart"),
        ("+jo.doe@example.org", "UnknownLocalPart"),
        ("\"\"@example.org", "UnknownLocalPart"),
        ("\"jo doe\"@example.org", "UnknownLocalPart"),
        // They do at bücher.example, and + is a letter like others.
        ("Jo@bücher.example", "jo Jo@bücher.example -"),
        ("Jo@XN--BCHER-KVA.example", "jo Jo@bücher.example -"),
        ("jo@bücher.example", "UnknownLocalPart"),
        ("Jo+x@bücher.example", "UnknownLocalPart"),
        // The postmaster is there without being asked for, in any case, unless an account has the address.
        (
            "postmaster@example.org",
            "admin postmaster@example.org Postmaster",
        ),
        (
            "POSTmaster@example.org",
            "admin postmaster@example.org Postmaster",
        ),
        (
            "postmaster@mail.example.org",
            "admin postmaster@mail.example.org Postmaster",
        ),
        (
            "postmaster@[192.0.2.1]",
            "admin postmaster@[192.0.2.1] Postmaster",
        ),
        (
            "postmaster@bücher.example",
            "al postmaster@bücher.example -",
        ),
        (
            "postmaster@all.example",
            "admin postmaster@all.example Postmaster",
        ),
        ("jo@mail.example.org", "UnknownLocalPart"),
        ("jo@[192.0.2.1]", "UnknownLocalPart"),
        // Catch-all takes the rest.
        ("jo@all.example", "jo jo@all.example -"),
        ("Anybody+x@all.example", "al anybody@all.example -"),
        ("+x@all.example", "al +x@all.example -"),
        // Not ours.
        ("postmaster@example.net", "NotOurs"),
        ("jo.doe@sub.example.org", "NotOurs"),
        ("postmaster@[192.0.2.2]", "NotOurs"),
        ("postmaster@[IPv6:2001:db8::1]", "NotOurs"),
    ] {
        assert_eq!(shown(d.find(&path(address))), expected, "{address}");
    }
}

#[test]
fn logins_are_listed_addresses_only() {
    let d = directory();
    for (user, expected) in [
        ("jo.doe@example.org", Some("jo")),
        ("Jo.Doe+laptop@example.org", Some("jo")),
        ("Jo@xn--bcher-kva.example", Some("jo")),
        ("postmaster@bücher.example", Some("al")),
        ("postmaster@example.org", None),
        ("anybody@all.example", None),
        ("jo", None),
        ("", None),
        ("jo.doe@example.net", None),
        ("jo.doe@example.org\0", None),
    ] {
        assert_eq!(d.login(user).as_deref(), expected, "{user}");
    }
}

#[test]
fn an_account_may_send_with_what_is_delivered_to_it() {
    let d = directory();
    assert!(d.owns("jo", &path("jo.doe+x@example.org")));
    assert!(d.owns("al", &path("anything@all.example")));
    assert!(d.owns("admin", &path("postmaster@example.org")));
    assert!(!d.owns("al", &path("jo@all.example")));
    assert!(!d.owns("jo", &path("postmaster@example.org")));
    assert!(!d.owns("jo", &path("jo@example.net")));
}

#[test]
fn an_address_has_one_owner() {
    let mut d = directory();
    assert_eq!(
        d.add_address("al", &local("JO.DOE"), &domain("example.org")),
        Err(AddressError::Taken("jo".into()))
    );
    assert_eq!(
        d.add_catch_all("jo", &domain("all.example")),
        Err(AddressError::Taken("al".into()))
    );
    assert_eq!(
        d.add_address("al", &local("a-b"), &domain("example.org")),
        Err(AddressError::Separator {
            separator: '-',
            base: "a".into()
        })
    );
    assert_eq!(
        d.add_address("al", &local("a"), &domain("example.net")),
        Err(AddressError::UnknownDomain)
    );
    assert_eq!(d, directory());
}

#[test]
fn the_directory_for_trying_things_out_takes_everything_at_localhost() {
    let d = Directory::local(2);
    assert_eq!(d.accounts(), ["mox", "u0", "u1"]);
    for (address, expected) in [
        ("mox@localhost", "mox mox@localhost -"),
        ("U1+x@LOCALHOST", "u1 u1@localhost -"),
        ("u2@localhost", "mox u2@localhost -"),
        ("postmaster@localhost", "mox postmaster@localhost Inbox"),
        ("postmaster@[127.0.0.1]", "mox postmaster@[127.0.0.1] Inbox"),
        ("postmaster@[IPv6:::1]", "mox postmaster@[IPv6:::1] Inbox"),
        ("mox@example.org", "NotOurs"),
    ] {
        assert_eq!(shown(d.find(&path(address))), expected, "{address}");
    }
    assert_eq!(d.login("u0@localhost").as_deref(), Some("u0"));
    assert_eq!(d.login("else@localhost"), None);
}
