//! The transports of `mox.ron`, with the files that they name.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use mox_machine::Secret;
use mox_node::Transport;
use mox_server::config::{Login, Password, Static, Transport as Kind};

use crate::failure::Failure;
use crate::files::read_at_most;
use crate::https;

/// Octets of a file with a password at most.
const PASSWORD_FILE_MAX: u64 = 4_096;

/// All transports of a file, `mox.ron`. Blocks.
///
/// # Errors
/// With everything that is wrong with the files, a line each.
pub(crate) fn load(
    file: &Path,
    fixed: &Static,
) -> Result<BTreeMap<String, Arc<Transport>>, Failure> {
    let (mut loaded, mut wrong) = (BTreeMap::new(), Vec::new());
    let folder = file.parent().unwrap_or_else(|| Path::new("."));
    let open = is_open(file);
    for (name, kind) in &fixed.transports {
        let (login, ca) = match kind {
            Kind::Smarthost(smarthost) => (smarthost.login.as_ref(), smarthost.ca.as_ref()),
            Kind::Socks5(socks) => (socks.login.as_ref(), None),
            Kind::Fail(_) => (None, None),
        };
        let mut note = |field, failure: &Failure| {
            wrong.push(format!("mox.ron: transports.{name:?}.{field}: {failure}"));
        };
        if open && login.is_some_and(|login| matches!(login.password, Password::Said(_))) {
            let failure = Failure::Failed(format!(
                "{file} can be read by everybody; chmod 640 {file}, or write the password into a file of its own and name that as password_file",
                file = file.display()
            ));
            note("password", &failure);
        }
        let password = login.map(|login| password(folder, login)).transpose();
        let password = password.unwrap_or_else(|failure| {
            note("password_file", &failure);
            None
        });
        let authorities = ca
            .map(|ca| https::authorities(&folder.join(ca)))
            .transpose();
        let authorities = authorities.unwrap_or_else(|failure| {
            note("ca", &failure);
            None
        });
        let transport = Transport {
            kind: kind.clone(),
            password,
            authorities: authorities.map(Arc::new),
        };
        loaded.insert(name.clone(), Arc::new(transport));
    }
    match wrong.is_empty() {
        true => Ok(loaded),
        false => Err(Failure::Failed(wrong.join("\n"))),
    }
}

/// Everybody may read it. What is not there is read by nobody.
fn is_open(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|found| found.mode() & 0o004 != 0)
}

fn password(folder: &Path, login: &Login) -> Result<Secret<String>, Failure> {
    let file = match &login.password {
        Password::Said(password) => return Ok(password.clone()),
        Password::File(file) => folder.join(file),
    };
    let unusable = |why: String| Failure::Failed(format!("{} {why}", file.display()));
    fs::metadata(&file).map_err(|e| Failure::io("read", &file, &e))?;
    if is_open(&file) {
        return Err(unusable(format!(
            "can be read by everybody; chmod 600 {}",
            file.display()
        )));
    }
    let octets = read_at_most(&file, PASSWORD_FILE_MAX)?;
    let text = String::from_utf8(octets).map_err(|_| unusable("is not UTF-8".into()))?;
    match text.lines().next() {
        Some(line) if !line.is_empty() && !line.chars().any(char::is_control) => {
            Ok(Secret::new(line.to_owned()))
        }
        _ => Err(unusable(
            "has no password; write it into the first line".into(),
        )),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_password_in_the_configuration_is_not_for_everybody_to_read() {
        let dir = std::env::temp_dir().join(format!("mox-said-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let file = dir.join("mox.ron");
        let text = r#"(data_dir: "d", hostname: "mail.example.org", listeners: {"a": (ips: ["0.0.0.0"], smtp: ())},
            postmaster: (account: "jo"),
            transports: {"p": smarthost(host: "h.example", user: "me", password: "a secret")})"#;
        fs::write(&file, text).unwrap();
        let fixed = Static::parse("mox.ron", text).unwrap();
        let read = |mode| {
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            load(&file, &fixed).map_err(|failure| failure.to_string())
        };
        let why = read(0o644).unwrap_err();
        assert!(
            why.starts_with("mox.ron: transports.\"p\".password: ") && why.contains("chmod 640 "),
            "{why}"
        );
        assert!(!why.contains("a secret"));
        assert!(read(0o640).is_ok());
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn passwords_are_read_from_files_that_not_everybody_can_read() {
        let dir = std::env::temp_dir().join(format!("mox-transports-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let file = dir.join("provider.password");
        let login = Login {
            user: "me".into(),
            password: Password::File("provider.password".into()),
        };
        let read = |text: &str, mode| {
            fs::write(&file, text).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            password(&dir, &login).map_err(|failure| failure.to_string())
        };
        assert_eq!(
            read("a secret\n# note\n", 0o600),
            Ok(Secret::new("a secret".into()))
        );
        let why = read("secret\n", 0o644).unwrap_err();
        assert!(
            why.contains("can be read by everybody; chmod 600 "),
            "{why}"
        );
        let why = read("\n", 0o600).unwrap_err();
        assert!(why.ends_with("has no password; write it into the first line"));
        fs::remove_dir_all(&dir).unwrap();
        assert!(password(&dir, &login).is_err());
    }
}
