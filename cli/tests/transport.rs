//! `moxctl dnsbl`, `tlsrpt`, `dane`, `mtasts` and `parsereportmsg`: what they print, and that answers that were kept give the
//! same results.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

mod scratch;
mod told;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use scratch::Scratch;
use serde_json::Value;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::thread::JoinHandle;
use told::{told, with_input};

const ZONE: &str = "\
    2.0.0.127.bl.example.   A 127.0.0.2\n\
    66.2.0.192.bl.example.  A 127.0.0.4\n\
    66.2.0.192.bl.example.  TXT \"you sent junk\"\n\
    1.0.0.127.all.example.  A 127.0.0.2\n\
    2.0.0.127.all.example.  A 127.0.0.2\n\
    slow.example.           * !TIMEOUT\n\
    _smtp._tls.example.org. TXT \"v=TLSRPTv1; rua=mailto:tls@example.org,ftp://x; a\"\n\
    _mta-sts.example.org.   TXT \"v=STSv1; id=a1\"\n\
    mta-sts.example.org.    A 127.0.0.1\n\
    _mta-sts.nohost.example. TXT \"v=STSv1; id=a1\"\n\
    _mta-sts.late.example.  TXT \"v=STSv1; id=a1\"\n\
    mta-sts.late.example.   * !TIMEOUT\n\
    _mta-sts.two.example.   TXT \"v=STSv1; id=a1\"\n\
    _mta-sts.two.example.   TXT \"v=STSv1; id=a2\"\n\
    example.org.            MX 10 mx1.example.org. !AD\n\
    mx1.example.org.        A 192.0.2.1 !AD\n\
    mx1.example.org.        AAAA !NODATA !AD\n\
    _25._tcp.mx1.example.org. TLSA 3 1 1 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n\
    _25._tcp.mx1.example.org. TLSA 0 0 1 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 !AD\n";

struct Commands {
    scratch: Scratch,
    dns: String,
}

impl Commands {
    fn new(test: &str) -> Self {
        let scratch = Scratch::new(test);
        let path = scratch.path("zone");
        fs::write(&path, ZONE).unwrap();
        let dns = path.to_str().unwrap().to_owned();
        Self { scratch, dns }
    }

    fn path(&self, name: &str) -> String {
        self.scratch.path(name).to_str().unwrap().to_owned()
    }

    /// Exit code, stdout and stderr.
    fn run(&self, args: &[&str]) -> (i32, String, String) {
        told(&with_input(&[args, &["--dns", &self.dns]].concat(), b""))
    }

    /// What is printed, also when the answers that were kept are asked.
    #[track_caller]
    fn text(&self, args: &[&str]) -> String {
        let kept = self.path("kept");
        let once = [args, &["--dns", &self.dns, "--facts", &kept]].concat();
        let (code, out, err) = told(&with_input(&once, b""));
        assert_eq!((code, err.as_str()), (0, ""), "{args:?}");
        let (_, again, _) = told(&with_input(&[args, &["--dns", &kept]].concat(), b""));
        assert_eq!(again, out, "{args:?}");
        out
    }

    #[track_caller]
    fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.text(&[args, &["--json"]].concat())).unwrap()
    }
}

#[test]
fn a_list_tells_of_an_address_and_whether_it_can_be_relied_on() {
    let commands = Commands::new("dnsbl");
    assert_eq!(
        commands.text(&["dnsbl", "check", "bl.example", "192.0.2.66"]),
        "fail\ncodes: 127.0.0.4\nexplanation: you sent junk\n"
    );
    assert_eq!(
        commands.text(&["dnsbl", "check", "bl.example", "192.0.2.67"]),
        "pass\n"
    );
    assert_eq!(
        commands.text(&["dnsbl", "check", "gone.example", "2001:db8::1"]),
        "pass\n"
    );
    let report = commands.json(&["dnsbl", "check", "bl.example", "192.0.2.66"]);
    assert_eq!(report["asked"], "66.2.0.192.bl.example");
    assert_eq!(report["result"], "fail");
    assert_eq!(
        commands.text(&["dnsbl", "checkhealth", "bl.example"]),
        "healthy\nipv4: as it should be\nipv6: the entry that every list has is not there\n"
    );
    for (list, v4) in [
        ("all.example", "the entry that no list may have is there"),
        ("gone.example", "the entry that every list has is not there"),
    ] {
        let health = commands.json(&["dnsbl", "checkhealth", list]);
        assert_eq!(health["result"], "unhealthy", "{list}");
        assert_eq!(health["ipv4"], v4, "{list}");
    }
    let (code, _, err) = commands.run(&["dnsbl", "check", "a..b", "192.0.2.1"]);
    assert_eq!(code, 2, "{err}");
}

#[test]
fn what_a_domain_publishes_about_tls_is_told() {
    let commands = Commands::new("tls-lookups");
    assert_eq!(
        commands.text(&["tlsrpt", "lookup", "example.org"]),
        "found\nrecord: v=TLSRPTv1; rua=mailto:tls@example.org\nrua: mailto:tls@example.org\n\
         defect: ftp://x: is neither mailto nor https\ndefect: a: has no value\n"
    );
    assert_eq!(
        commands.text(&["tlsrpt", "lookup", "example.net"]),
        "none\n"
    );
    assert_eq!(
        commands.text(&["dane", "lookup", "example.org"]),
        "found\nmx1.example.org: usable; TLS with a certificate of a TLSA record is demanded: the host has TLSA records\n\
         \x20 3 1 1 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n\
         \x20 a record that cannot be used: usages 0 and 1 are not for SMTP\n"
    );
    assert_eq!(
        commands.text(&["dane", "lookup", "example.net"]),
        "none\nproblem: the domain does not exist\n"
    );
    let hosts = commands.json(&["dane", "lookup", "--port", "26", "example.org"]);
    assert_eq!(hosts["hosts"][0]["tlsa"], "none");
    assert_eq!(hosts["hosts"][0]["authentic"], true);
    assert_eq!(
        commands.text(&["mtasts", "lookup", "example.net"]),
        "none\n"
    );
    let several = commands.json(&["mtasts", "lookup", "two.example"]);
    assert_eq!(several["status"], "permerror");
    let slow = commands.json(&["mtasts", "lookup", "slow.example"]);
    assert_eq!(slow["status"], "none");
    // No host for a policy that is announced is a mistake of the domain's, and lasts.
    for (domain, status) in [
        ("nohost.example", "permerror"),
        ("late.example", "temperror"),
    ] {
        let found = commands.json(&["mtasts", "lookup", domain]);
        assert_eq!(found["status"], status, "{found}");
    }
}

/// An authority's certificate, and the configuration of a server with one of it for `name`.
fn authority(name: &str) -> (String, Arc<ServerConfig>) {
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let root = params.self_signed(&key).unwrap();
    let issuer = Issuer::new(params, key);
    let own = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![name.to_owned()])
        .unwrap()
        .signed_by(&own, &issuer)
        .unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(own.serialize_der()));
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    (root.pem(), Arc::new(config))
}

/// Answers one connection; gives the port, and what was asked of it.
fn serve(config: Arc<ServerConfig>, answer: String) -> (String, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let served = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut stream = StreamOwned::new(ServerConnection::new(config).unwrap(), stream);
        let mut asked = Vec::new();
        let mut octets = [0; 1024];
        while !asked.ends_with(b"\r\n\r\n") {
            match stream.read(&mut octets) {
                Ok(0) | Err(_) => return String::new(),
                Ok(count) => asked.extend(&octets[..count]),
            }
        }
        // The other side may have heard enough.
        let _ = stream.write_all(answer.as_bytes());
        let _ = stream.flush();
        String::from_utf8(asked).unwrap()
    });
    (port, served)
}

const POLICY: &str = "version: STSv1\nmode: enforce\nmx: *.example.org\nmax_age: 86400\n";

#[test]
fn a_policy_is_fetched_from_the_host_it_has_to_be_on() {
    let commands = Commands::new("mtasts");
    let (pem, config) = authority("mta-sts.example.org");
    let ca = commands.path("ca.pem");
    fs::write(&ca, &pem).unwrap();
    let lookup = |port: &str, json: bool| {
        let mut args = vec![
            "mtasts",
            "lookup",
            "--port",
            port,
            "--ca",
            &ca,
            "example.org",
        ];
        if json {
            args.push("--json");
        }
        let (code, out, err) = commands.run(&args);
        assert_eq!((code, err.as_str()), (0, ""));
        out
    };
    let answer = |body: &str| {
        format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let (port, served) = serve(config.clone(), answer(POLICY));
    assert_eq!(
        lookup(&port, false),
        "found\nrecord: v=STSv1; id=a1;\npolicy:\nversion: STSv1\nmode: enforce\nmax_age: 86400\nmx: *.example.org\n"
    );
    let asked = served.join().unwrap();
    assert!(
        asked.starts_with("GET /.well-known/mta-sts.txt HTTP/1.1\r\nHost: mta-sts.example.org\r\n"),
        "{asked}"
    );
    for (answer, status, problem) in [
        (
            "HTTP/1.1 404 No\r\n\r\n".to_owned(),
            "permerror",
            "the server has no policy",
        ),
        (
            "HTTP/1.1 302 There\r\nLocation: https://127.0.0.1/\r\n\r\n".into(),
            "temperror",
            "the policy could not be fetched: the server sends us elsewhere, which is not followed",
        ),
        (
            answer(&" ".repeat(70_000)),
            "permerror",
            "the policy cannot be read: the policy is longer than 64 KiB",
        ),
        (
            answer("hello"),
            "permerror",
            "the policy cannot be read: version is missing",
        ),
    ] {
        let (port, served) = serve(config.clone(), answer);
        let told: Value = serde_json::from_str(&lookup(&port, true)).unwrap();
        served.join().unwrap();
        assert_eq!(told["status"], status);
        assert_eq!(told["problem"], problem);
        assert_eq!((&told["id"], &told["policy"]), (&"a1".into(), &Value::Null));
    }
    // Somebody else's certificate, and one for another name.
    for config in [authority("mta-sts.example.org").1, {
        let (pem, config) = authority("example.org");
        fs::write(&ca, pem).unwrap();
        config
    }] {
        let (port, served) = serve(config, answer(POLICY));
        let told: Value = serde_json::from_str(&lookup(&port, true)).unwrap();
        assert_eq!(served.join().unwrap(), "", "nothing was asked");
        assert_eq!(told["status"], "temperror");
        let problem = told["problem"].as_str().unwrap();
        assert!(
            problem.contains("TLS: invalid peer certificate"),
            "{problem}"
        );
    }
}

const REPORT: &str = "<feedback><report_metadata><org_name>example.net</org_name><report_id>7</report_id>\
    <date_range><begin>1</begin><end>2</end></date_range></report_metadata><policy_published><domain>example.org</domain><p>reject</p></policy_published>\
    <record><row><source_ip>192.0.2.1</source_ip><count>3</count></row></record></feedback>";

#[test]
fn reports_are_read_from_files_and_from_messages() {
    let commands = Commands::new("reports");
    let (plain, message, broken) = (
        commands.path("r.xml"),
        commands.path("r.eml"),
        commands.path("b.xml"),
    );
    fs::write(&plain, REPORT).unwrap();
    fs::write(&message, format!("Content-Type: text/xml\n\n{REPORT}\n")).unwrap();
    fs::write(&broken, "<!DOCTYPE f []><feedback/>").unwrap();
    let parse = |args: &[&str]| {
        told(&with_input(
            &[&["dmarc", "parsereportmsg"][..], args].concat(),
            b"",
        ))
    };
    let (code, out, err) = parse(&[&plain, &message, "--json"]);
    assert_eq!((code, err.as_str()), (0, ""));
    let all: Value = serde_json::from_str(&out).unwrap();
    for (place, file) in [&plain, &message].into_iter().enumerate() {
        let one = &all[place];
        assert_eq!(one["file"], **file);
        assert_eq!(
            one["summary"],
            serde_json::json!({ "org_name": "example.net", "report_id": "7", "begin": 1, "end": 2, "domain": "example.org", "p": "reject", "records": 1, "messages": 3 })
        );
        assert_eq!(one["report"]["records"][0]["source_ip"], "192.0.2.1");
    }
    let (code, out, err) = parse(&[&broken]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert_eq!(
        err,
        format!(
            "moxctl: {broken} is not taken as a report: it declares a document type or uses entities\n"
        )
    );
    let (code, out, _) = parse(&[&broken, &plain, "--json"]);
    let all: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, all.as_array().unwrap().len()), (1, 2));
    let json = br#"{"date-range":{"start-datetime":"2026-01-02T00:00:00","end-datetime":"2026-01-02T23:59:59Z"},"report-id":"x","policies":[]}"#;
    let (code, out, err) = told(&with_input(&["tlsrpt", "parsereportmsg"], json));
    assert_eq!((code, err.as_str()), (0, ""));
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(report["report-id"], "x");
}
