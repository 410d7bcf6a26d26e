//! unbound with zones of its own, signed where DNSSEC is to vouch for them.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process::{Child, Command, Stdio};

use crate::scratch::{Scratch, run};

/// What becomes of a zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signing {
    /// It is as it is.
    Plain,
    /// It is signed, and unbound knows its key.
    Signed,
    /// The same, and then somebody changed a record behind the signer's back: the first text is now the second.
    Forged(&'static str, &'static str),
}

/// An instance of its own, until the test ends.
#[derive(Debug)]
pub struct Unbound {
    child: Child,
    address: SocketAddr,
    _scratch: Scratch,
}

impl Unbound {
    /// Starts one that knows these zones by their names, in the text of master files, and for which `broken.example` is nowhere to
    /// be had. It needs some time to answer.
    pub fn start(zones: &[(&str, String, Signing)]) -> Self {
        let scratch = Scratch::new();
        let dir = scratch.path().to_str().unwrap().to_owned();
        let mut settings = String::new();
        for (zone, text, signing) in zones {
            scratch.write(zone, text);
            let mut file = (*zone).to_owned();
            if *signing != Signing::Plain {
                file = format!("{zone}.signed");
                let anchor = sign(&dir, zone);
                settings += &format!("server:\n trust-anchor-file: \"{dir}/{anchor}.ds\"\n");
            }
            if let Signing::Forged(was, is) = signing {
                let path = scratch.path().join(&file);
                let text = std::fs::read_to_string(&path).unwrap();
                assert!(text.contains(was), "{text}");
                std::fs::write(&path, text.replace(was, is)).unwrap();
            }
            settings += &format!(
                "auth-zone:\n name: {zone}\n zonefile: \"{dir}/{file}\"\n for-downstream: no\n for-upstream: yes\n \
                 fallback-enabled: no\n"
            );
        }
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = socket.local_addr().unwrap();
        drop(socket);
        // Nobody is there from whom broken.example could be had.
        let config = scratch.write(
            "unbound.conf",
            format!(
                "server:\n interface: 127.0.0.1\n port: {}\n do-daemonize: no\n chroot: \"\"\n username: \"\"\n \
                 directory: \"{dir}\"\n pidfile: \"\"\n use-syslog: no\n logfile: \"{dir}/log\"\n ede: yes\n \
                 do-not-query-localhost: no\n module-config: \"validator iterator\"\n\
                 remote-control:\n control-enable: no\n\
                 auth-zone:\n name: \"broken.example\"\n primary: 127.0.0.1@1\n for-downstream: no\n for-upstream: yes\n \
                 fallback-enabled: no\n{settings}",
                address.port()
            ),
        );
        let child = Command::new("/usr/sbin/unbound")
            .arg("-c")
            .arg(config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self {
            child,
            address,
            _scratch: scratch,
        }
    }

    /// Where it answers, as `--resolver` wants it.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Unbound {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Makes a key and signs the zone with it. The name of the key's files.
fn sign(dir: &str, zone: &str) -> String {
    let script = format!(
        "cd {dir} && key=$(ldns-keygen -a ECDSAP256SHA256 -k {zone}) && ldns-signzone {zone} $key && echo $key"
    );
    let said = run("sh", &["-c", &script], b"");
    String::from_utf8(said).unwrap().trim().to_owned()
}
