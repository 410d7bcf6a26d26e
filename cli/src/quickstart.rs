//! `moxctl quickstart`: configuration, account and password for a new server.

use std::fs;
use std::path::PathBuf;

use mox_address::{Domain, Host, Path as Address};
use mox_server::config::{Dynamic, Static};

use crate::args::Quickstart;
use crate::config_files::ConfigFiles;
use crate::credentials::{derive, generate_password};
use crate::domain_keys::{KEY_FOLDER, NewKeys};
use crate::failure::Failure;
use crate::offline::{Offline, make_private_dir, set_password};
use crate::password::os_seed;
use crate::timestamp::now;
use crate::{dns_records, files, privileges, template};

/// The user that a server started as root becomes.
const USER: &str = "mox";

pub(crate) fn run(args: &Quickstart) -> Result<(), Failure> {
    let plan = Plan::new(args)?;
    plan.refuse_to_overwrite()?;
    let seed = os_seed()?;
    let password = generate_password(&seed.child("password", 0));
    let row = derive(&password, false, &seed.child("salt", 0))?;
    let keys = NewKeys::make(&plan.domain, now(), &plan.config)?;

    let made = plan.write(&keys).and_then(|()| {
        let offline = Offline::open(&plan.data)?;
        set_password(&offline, &plan.account, None, row, now())?;
        offline.close()?;
        plan.give_to_user()?;
        // As the server will read it.
        ConfigFiles::load(&plan.static_path)
    });
    match made {
        Ok(files) => {
            let records = dns_records::zone_of(&files, &plan.domain);
            println!("{}", plan.report(password.expose(), &records));
            Ok(())
        }
        Err(failure) => {
            plan.undo(&keys);
            Err(failure)
        }
    }
}

/// What will be made.
struct Plan {
    address: String,
    domain: Domain,
    hostname: Domain,
    account: String,
    config: PathBuf,
    data: PathBuf,
    static_path: PathBuf,
    dynamic_path: PathBuf,
}

impl Plan {
    fn new(args: &Quickstart) -> Result<Self, Failure> {
        let usage =
            |why: String| Failure::Usage(format!("{why}; run: moxctl quickstart you@example.org"));
        let address = Address::parse(&args.address, true)
            .map_err(|e| usage(format!("{:?} is no address: {e}", args.address)))?;
        let Host::Domain(domain) = &address.host else {
            return Err(usage(format!("{:?} has no domain", args.address)));
        };
        let ascii = domain
            .to_ascii()
            .map_err(|e| usage(format!("{:?}: {e}", args.address)))?;
        if !ascii.as_str().contains('.') {
            return Err(usage(format!("{ascii} is no domain on the Internet")));
        }
        if address.local.as_str().contains('+') {
            return Err(usage(format!(
                "{:?} has a +, which will separate subaddresses",
                args.address
            )));
        }
        let hostname = match &args.hostname {
            Some(name) => Domain::parse(name, true)
                .and_then(|d| d.to_ascii())
                .map_err(|e| Failure::Usage(format!("--hostname {name:?} is no host name: {e}")))?,
            None => hostname(&ascii),
        };
        if !hostname.as_str().contains('.') {
            return Err(Failure::Usage(format!(
                "--hostname {:?} is no full host name; write the whole name, like mail.{ascii}",
                hostname.as_str()
            )));
        }
        let config = args.dir.join("config");
        Ok(Self {
            account: account_name(address.local.as_str()),
            address: format!("{}@{}", address.local, ascii.to_unicode()),
            domain: ascii,
            hostname,
            data: args.dir.join("data"),
            static_path: config.join("mox.ron"),
            dynamic_path: config.join("domains.ron"),
            config,
        })
    }

    fn refuse_to_overwrite(&self) -> Result<(), Failure> {
        let keys = self.config.join(KEY_FOLDER);
        for path in [&self.static_path, &self.dynamic_path, &keys, &self.data] {
            if path.symlink_metadata().is_ok() {
                return Err(Failure::Failed(format!(
                    "{} is there already and is not overwritten; remove it, or name another place with --dir",
                    path.display()
                )));
            }
        }
        Ok(())
    }

    /// Writes the files and reads them as the server will.
    fn write(&self, keys: &NewKeys) -> Result<(), Failure> {
        let fixed = template::static_file(&self.hostname, &self.account, USER);
        let dynamic = template::dynamic_file(
            &self.domain.to_unicode(),
            &self.account,
            &self.address,
            &keys.dkim,
        );
        let wrong = |e: mox_server::config::Problems| Failure::Failed(e.to_string());
        let parsed =
            Static::parse(&self.static_path.display().to_string(), &fixed).map_err(wrong)?;
        Dynamic::parse(&self.dynamic_path.display().to_string(), &dynamic, &parsed)
            .map_err(wrong)?;
        make_private_dir(&self.config)?;
        make_private_dir(&self.data)?;
        keys.write(&self.config)?;
        for (path, text) in [(&self.static_path, &fixed), (&self.dynamic_path, &dynamic)] {
            files::create_new(path, text.as_bytes(), 0o640)
                .map_err(|e| Failure::io("write", path, &e))?;
        }
        Ok(())
    }

    fn give_to_user(&self) -> Result<(), Failure> {
        if privileges::is_root() && privileges::exists(USER) {
            privileges::give_to(&self.config, USER)?;
            privileges::give_to(&self.data, USER)?;
        }
        Ok(())
    }

    /// Removes what was made, and nothing else: all of it was not there before.
    fn undo(&self, keys: &NewKeys) {
        keys.undo(&self.config);
        let _ = fs::remove_file(&self.static_path);
        let _ = fs::remove_file(&self.dynamic_path);
        let _ = fs::remove_dir(&self.config);
        let _ = fs::remove_dir_all(&self.data);
    }

    fn report(&self, password: &str, records: &str) -> String {
        let Self {
            address,
            hostname,
            domain,
            account,
            ..
        } = self;
        let config = self.static_path.display();
        let (config_dir, data_dir) = (self.config.display(), self.data.display());
        let mut out = format!(
            "Written: {config}, {dynamic} and the store in {data}.\n\
             \n\
             Account {account}, address and login name {address}, password (shown only now):\n\
             \n    {password}\n\
             \n\
             Mail programs: read by IMAP on {hostname}, port 993 with TLS;\n\
             send by SMTP on {hostname}, port 465 with TLS or 587 with STARTTLS.\n\
             \n\
             DNS: {hostname} needs an address (A, and AAAA if this machine has IPv6), whose reverse name (PTR) should be\n\
             {hostname} again; your provider sets that. The domain needs these, as in a zone file:\n\
             \n{records}\n\
             moxctl config dnsrecords {domain} prints them again, moxctl config dnscheck {domain} says whether they are there.\n\
             Keys that sign what you send are in {config_dir}/dkim: nobody else may have them.\n\
             \n\
             The TLS certificate is self-signed: mail programs will warn. For another one see tls in {config}.\n\
             \n\
             Next:\n",
            dynamic = self.dynamic_path.display(),
            data = self.data.display(),
        );
        if !privileges::exists(USER) {
            out += &format!(
                "    useradd --system --no-create-home --home-dir / --shell /usr/sbin/nologin {USER}\n"
            );
        }
        if !(privileges::is_root() && privileges::exists(USER)) {
            out += &format!("    chown -R {USER} {config_dir} {data_dir}\n");
        }
        out += &format!(
            "    moxctl --config {config} config test\n    moxctl --config {config} serve\n\
             both as root: serve becomes user {USER} once it has opened its ports."
        );
        out
    }
}

/// The name of this machine if it is a full one, else `mail.` and the domain.
fn hostname(domain: &Domain) -> Domain {
    let system = nix::unistd::gethostname()
        .ok()
        .and_then(|name| name.into_string().ok());
    let full = system
        .filter(|name| {
            name.contains('.') && !name.ends_with(".localdomain") && !name.ends_with(".local")
        })
        .and_then(|name| Domain::parse(&name, false).ok());
    full.or_else(|| Domain::parse(&format!("mail.{domain}"), false).ok())
        .unwrap_or_else(|| domain.clone())
}

/// A name for the account: the local part as far as it can be one.
fn account_name(local: &str) -> String {
    let kept: String = local
        .to_lowercase()
        .chars()
        .filter(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(*c))
        .skip_while(|c| !c.is_ascii_alphanumeric())
        .take(64)
        .collect();
    if kept.is_empty() { "main".into() } else { kept }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_name_is_what_the_local_part_leaves() {
        assert_eq!(account_name("Jo.Doe"), "jo.doe");
        assert_eq!(account_name("_x!y"), "xy");
        assert_eq!(account_name("ü"), "main");
        assert_eq!(account_name(&"a".repeat(100)).len(), 64);
    }
}
