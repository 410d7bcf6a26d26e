//! `moxctl config ...`: checks that need no server, changes that the running server makes.

use std::fs;
use std::io::ErrorKind;

use crate::args::{
    AccountCommand, AddressCommand, AliasCommand, Args, Config, ConfigCommand, DomainCommand,
};
use crate::config_files::{ConfigEdit, ConfigFiles, ctl_socket};
use crate::ctl::{self, Command};
use crate::failure::Failure;
use crate::{dns_records, privileges, transports};

pub(crate) fn run(args: &Args, config: &Config) -> Result<(), Failure> {
    let edit = match &config.command {
        ConfigCommand::Test(_) => return test(args),
        ConfigCommand::DnsRecords(records) => return dns_records::show(args, records),
        ConfigCommand::DnsCheck(check) => return dns_records::check(args, check),
        ConfigCommand::Domain(domain) => match &domain.command {
            DomainCommand::Add(add) => ConfigEdit::AddDomain {
                domain: add.domain.clone(),
            },
            DomainCommand::Rm(rm) => ConfigEdit::RemoveDomain {
                domain: rm.domain.clone(),
            },
        },
        ConfigCommand::Account(account) => match &account.command {
            AccountCommand::Add(add) => ConfigEdit::AddAccount {
                account: add.account.clone(),
                address: add.address.clone(),
            },
            AccountCommand::Rm(rm) => ConfigEdit::RemoveAccount {
                account: rm.account.clone(),
            },
        },
        ConfigCommand::Address(address) => match &address.command {
            AddressCommand::Add(add) => ConfigEdit::AddAddress {
                address: add.address.clone(),
                account: add.account.clone(),
            },
            AddressCommand::Rm(rm) => ConfigEdit::RemoveAddress {
                address: rm.address.clone(),
            },
        },
        ConfigCommand::Alias(alias) => match &alias.command {
            AliasCommand::List(_) => return list_aliases(args),
            AliasCommand::Add(add) => ConfigEdit::AddToAlias {
                alias: add.alias.clone(),
                member: add.member.clone(),
            },
            AliasCommand::Rm(rm) => ConfigEdit::RemoveFromAlias {
                alias: rm.alias.clone(),
                member: rm.member.clone(),
            },
        },
    };
    let notes: Vec<String> = ctl::ask(&ctl_socket(args)?, &Command::Config(edit.clone()))?;
    match edit {
        ConfigEdit::AddAccount { account, address } => println!(
            "account {account} with address {address} added; set its password with: moxctl setaccountpassword {account}"
        ),
        ConfigEdit::RemoveAccount { account } => println!("account {account} removed"),
        ConfigEdit::AddAddress { address, account } => {
            println!("address {address} added to account {account}");
        }
        ConfigEdit::RemoveAddress { address } => println!("address {address} removed"),
        ConfigEdit::AddToAlias { alias, member } => {
            println!("mail for {alias} goes to {member}");
        }
        ConfigEdit::RemoveFromAlias { alias, member } => match member {
            Some(member) => println!("mail for {alias} goes to {member} no longer"),
            None => println!("alias {alias} removed"),
        },
        ConfigEdit::AddDomain { domain } => println!(
            "domain {domain} added, with keys that sign its mail; publish what moxctl config dnsrecords {domain} prints, \
             then see whether all is there: moxctl config dnscheck {domain}"
        ),
        ConfigEdit::RemoveDomain { domain } => {
            println!("domain {domain} removed; its keys are in dkim/old");
        }
    }
    for note in notes {
        println!("{note}");
    }
    Ok(())
}

fn list_aliases(args: &Args) -> Result<(), Failure> {
    let files = ConfigFiles::load(&ConfigFiles::locate(args))?;
    if files.dynamic.aliases.is_empty() {
        println!("there are no aliases");
    }
    for alias in files.dynamic.aliases.values() {
        let members: Vec<String> = alias.members.iter().map(ToString::to_string).collect();
        let may_send = match alias.members_may_send {
            true => " (members may send)",
            false => "",
        };
        println!("{}: {}{may_send}", alias.address, members.join(", "));
    }
    Ok(())
}

/// Reads all a start would read, and as root becomes the server's user, as a start does: what that user cannot read would
/// keep the server from starting.
fn test(args: &Args) -> Result<(), Failure> {
    let mut files = ConfigFiles::load(&ConfigFiles::locate(args))?;
    let mut wrong = Vec::new();
    for (name, listener) in &files.fixed.listeners {
        if let Err(failure) = files.certificates(name, listener) {
            wrong.push(failure.to_string());
        }
    }
    if let Err(failure) = transports::load(&files.static_path, &files.fixed) {
        wrong.push(failure.to_string());
    }
    if let Err(failure) = as_its_user(&mut files) {
        wrong.push(failure.to_string());
    }
    if !wrong.is_empty() {
        return Err(Failure::Failed(wrong.join("\n")));
    }
    println!(
        "{} and {} are fine: listeners {}, domains {}, accounts {}",
        files.static_path.display(),
        files.dynamic_path.display(),
        files.fixed.listeners.len(),
        files.dynamic.domains.len(),
        files.dynamic.accounts.len()
    );
    Ok(())
}

/// Reads what a running server reads again, and sees that it gets to its data directory. This process is done afterwards.
fn as_its_user(files: &mut ConfigFiles) -> Result<(), Failure> {
    if !privileges::is_root() {
        return Ok(());
    }
    privileges::drop_to(&files.fixed.user)?;
    files.reload()?;
    // A start makes the directory, and gives it to its user.
    let data_dir = files.data_dir();
    match fs::metadata(&data_dir) {
        Err(e) if e.kind() == ErrorKind::PermissionDenied => Err(Failure::Failed(format!(
            "user {:?} cannot get to the data directory {}: let it pass the folders above (chmod a+x), or name another data_dir",
            files.fixed.user,
            data_dir.display()
        ))),
        _ => Ok(()),
    }
}
