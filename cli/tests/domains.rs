//! Domains of ours: their keys, their records in DNS, and how they come and go.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

mod scratch;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use mox_cli::config_files::{ConfigEdit, ConfigFiles};
use scratch::Scratch;

/// Exit code, stdout, stderr.
fn moxctl(args: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_moxctl"))
        .args(args)
        .env_remove("MOXCONF")
        .output()
        .unwrap();
    let text = |octets: Vec<u8>| String::from_utf8(octets).unwrap();
    (
        output.status.code().unwrap(),
        text(output.stdout),
        text(output.stderr),
    )
}

/// The configuration of a new server, and what was said about it.
fn quickstart(scratch: &Scratch) -> (PathBuf, String) {
    let dir = scratch.path("mail");
    let dir = dir.to_str().unwrap();
    let address = ["quickstart", "jo@example.org", "--dir", dir];
    let (code, out, err) = moxctl(&[&address[..], &["--hostname", "mx.example.org"]].concat());
    assert_eq!((code, err.as_str()), (0, ""));
    (scratch.path("mail/config/mox.ron"), out)
}

fn with(config: &Path, args: &[&str]) -> (i32, String, String) {
    moxctl(&[&["--config", config.to_str().unwrap()], args].concat())
}

/// The key files, by the end of their names.
fn key(config: &Path, kind: &str) -> PathBuf {
    let folder = config.with_file_name("dkim");
    let mut files = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path());
    let end = format!("{kind}.pem");
    files
        .find(|file| file.to_str().unwrap().ends_with(&end))
        .unwrap()
}

#[test]
fn quickstart_makes_two_keys_for_their_owner_only_and_prints_the_records_they_are_published_with() {
    let scratch = Scratch::new("keys");
    let (config, out) = quickstart(&scratch);
    for kind in ["rsa", "ed25519"] {
        let mode = fs::metadata(key(&config, kind))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let (code, zone, _) = with(&config, &["config", "dnsrecords", "example.org"]);
    assert_eq!(code, 0);
    assert!(out.contains(&zone), "{out}\n{zone}");
    for line in [
        "example.org. MX 10 mx.example.org.\n",
        "example.org. TXT \"v=spf1 mx ~all\"\n",
        "b._domainkey.example.org. TXT \"v=DKIM1;",
        "a._domainkey.example.org. TXT \"v=DKIM1;",
        "_dmarc.example.org. TXT \"v=DMARC1; p=reject; ",
        "_smtp._tls.example.org. TXT \"v=TLSRPTv1; ",
        "_submissions._tcp.example.org. SRV 0 1 465 mx.example.org.\n",
    ] {
        assert!(zone.contains(line), "{line} is not in {zone}");
    }
    // The RSA key is too long for one string.
    let rsa = zone
        .lines()
        .find(|line| line.contains("b._domainkey."))
        .unwrap();
    let strings = rsa.split_once(" TXT ").unwrap().1.split("\" \"");
    assert!(strings.clone().count() == 2 && strings.into_iter().all(|s| s.len() <= 256));
    // What moxctl dkim txt says of a key is what is published.
    let pem = fs::read(key(&config, "rsa")).unwrap();
    assert!(
        String::from_utf8(pem)
            .unwrap()
            .starts_with("-----BEGIN PRIVATE KEY-----\n")
    );
}

#[test]
fn dnscheck_tells_what_is_missing_wrong_or_another() {
    let scratch = Scratch::new("dnscheck");
    let (config, _) = quickstart(&scratch);
    let (_, zone, _) = with(&config, &["config", "dnsrecords", "example.org"]);
    let zone: String = (zone.lines())
        .filter(|line| !line.starts_with(';') && !line.contains(" SRV "))
        .map(|line| format!("{line}\n"))
        .collect();
    let check = |zone: &str| {
        let file = scratch.path("zone");
        fs::write(&file, zone).unwrap();
        let file = file.to_str().unwrap();
        with(
            &config,
            &["config", "dnscheck", "--dns", file, "example.org"],
        )
    };
    let (code, out, err) = check(&zone);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert_eq!(out.lines().count(), zone.lines().count());
    assert!(out.lines().all(|line| line.starts_with("ok: ")), "{out}");

    let (code, out, _) = check(&zone.replace("p=reject", "p=none"));
    assert_eq!(code, 0);
    assert!(
        out.contains("differs: _dmarc.example.org.") && out.contains("found: v=DMARC1; p=none;"),
        "{out}"
    );
    let (code, out, err) = check(&zone.replace("MX 10 mx.example.org.", "MX 10 mx.example.net."));
    assert_eq!(code, 1);
    assert!(out.contains("wrong: example.org. MX"), "{out}");
    assert!(
        err.contains("1 of the records of example.org are not as they should be"),
        "{err}"
    );
    let fewer: String = (zone.lines())
        .filter(|line| !line.contains("_domainkey"))
        .map(|line| format!("{line}\n"))
        .collect();
    let (code, out, _) = check(&fewer);
    assert_eq!((code, out.matches("missing: ").count()), (1, 2), "{out}");
    // Each key under the other's name.
    let swapped = zone.replace("b._domainkey", "c._domainkey");
    let swapped = swapped.replace("a._domainkey", "b._domainkey");
    let (code, out, _) = check(&swapped);
    assert_eq!(code, 1);
    assert!(out.contains("    it is another key"), "{out}");

    let (code, _, err) = with(&config, &["config", "dnsrecords", "example.net"]);
    assert_eq!(code, 1);
    assert!(err.contains("has no domain \"example.net\""), "{err}");
}

#[test]
fn config_test_tells_what_is_wrong_with_a_key_at_its_place() {
    let scratch = Scratch::new("badkeys");
    let (config, _) = quickstart(&scratch);
    let domains = config.with_file_name("domains.ron");
    let text = fs::read_to_string(&domains).unwrap();
    let (rsa, ed25519) = (key(&config, "rsa"), key(&config, "ed25519"));
    let good = fs::read(&rsa).unwrap();
    let name = rsa.file_name().unwrap().to_str().unwrap().to_owned();
    let selector = name.split('.').next().unwrap().to_owned();
    let line = text.lines().position(|l| l.contains(&name)).unwrap() + 1;
    let column = text.lines().nth(line - 1).unwrap().find("\"dkim/").unwrap() + 1;
    let place = format!(
        "{}:{line}:{column}: domains.\"example.org\".dkim.selectors.\"{selector}\".key: ",
        domains.display()
    );
    let test = || {
        let (code, out, err) = with(&config, &["config", "test"]);
        assert_eq!((code, out.as_str()), (1, ""));
        err
    };
    fs::write(&rsa, "no key\n").unwrap();
    let said = test();
    assert!(
        said.contains(&place) && said.contains("it holds no private key; "),
        "{said}"
    );
    let short = Command::new("openssl")
        .args([
            "genpkey",
            "-algorithm",
            "RSA",
            "-pkeyopt",
            "rsa_keygen_bits:1024",
        ])
        .output()
        .unwrap();
    assert!(short.status.success());
    fs::write(&rsa, short.stdout).unwrap();
    let said = test();
    assert!(
        said.contains(&place)
            && said.contains(
                "an RSA key of less than 2048 bits; make a longer one with moxctl dkim genrsa"
            ),
        "{said}"
    );
    fs::write(&rsa, &good).unwrap();
    fs::set_permissions(&rsa, fs::Permissions::from_mode(0o604)).unwrap();
    let said = test();
    assert!(
        said.contains(&place)
            && said.contains("everybody on this machine may use")
            && said.contains("chmod 600"),
        "{said}"
    );
    // Both are told at once.
    fs::remove_file(&rsa).unwrap();
    fs::remove_file(&ed25519).unwrap();
    let said = test();
    assert!(
        said.contains(&place) && said.contains("there is no file"),
        "{said}"
    );
    assert_eq!(said.matches(".key: ").count(), 2, "{said}");
}

#[test]
fn a_domain_comes_with_keys_and_leaves_them_aside() {
    let scratch = Scratch::new("domains");
    let (config, _) = quickstart(&scratch);
    let domains = config.with_file_name("domains.ron");
    let before = fs::read_to_string(&domains).unwrap();
    let mut files = ConfigFiles::load(&config).unwrap();
    let domain = || "B\u{fc}cher.example".to_owned();
    files
        .edit(&ConfigEdit::AddDomain { domain: domain() })
        .unwrap();
    let (code, zone, _) = with(&config, &["config", "dnsrecords", "b\u{fc}cher.example"]);
    assert_eq!(code, 0);
    assert_eq!(
        zone.matches("._domainkey.xn--bcher-kva.example. TXT ")
            .count(),
        2,
        "{zone}"
    );
    let again = files.edit(&ConfigEdit::AddDomain { domain: domain() });
    assert!(again.unwrap_err().to_string().contains("there is a domain"));

    let address = "jo@b\u{fc}cher.example".to_owned();
    let account = "jo".to_owned();
    files
        .edit(&ConfigEdit::AddAddress {
            address: address.clone(),
            account,
        })
        .unwrap();
    let refused = files.edit(&ConfigEdit::RemoveDomain { domain: domain() });
    assert!(
        refused
            .unwrap_err()
            .to_string()
            .contains("has the address jo@")
    );
    files.edit(&ConfigEdit::RemoveAddress { address }).unwrap();
    files
        .edit(&ConfigEdit::RemoveDomain { domain: domain() })
        .unwrap();
    assert_eq!(fs::read_to_string(&domains).unwrap(), before);
    let old = fs::read_dir(config.with_file_name("dkim").join("old")).unwrap();
    assert_eq!(old.count(), 2);
    let main = files.edit(&ConfigEdit::RemoveDomain {
        domain: "example.org".into(),
    });
    assert!(
        main.unwrap_err()
            .to_string()
            .contains("has the address jo@example.org there")
    );
}
