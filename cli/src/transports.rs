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

/// All transports; `folder` is that of `mox.ron`. Blocks.
///
/// # Errors
/// With everything that is wrong with the files, a line each.
pub(crate) fn load(
    folder: &Path,
    fixed: &Static,
) -> Result<BTreeMap<String, Arc<Transport>>, Failure> {
    let (mut loaded, mut wrong) = (BTreeMap::new(), Vec::new());
    for (name, kind) in &fixed.transports {
        let (login, ca) = match kind {
            Kind::Smarthost(smarthost) => (smarthost.login.as_ref(), smarthost.ca.as_ref()),
            Kind::Socks5(socks) => (socks.login.as_ref(), None),
            Kind::Fail(_) => (None, None),
        };
        let mut note = |field, failure: &Failure| {
            wrong.push(format!("mox.ron: transports.{name:?}.{field}: {failure}"));
        };
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

fn password(folder: &Path, login: &Login) -> Result<Secret<String>, Failure> {
    let file = match &login.password {
        Password::Said(password) => return Ok(password.clone()),
        Password::File(file) => folder.join(file),
    };
    let unusable = |why: String| Failure::Failed(format!("{} {why}", file.display()));
    let found = fs::metadata(&file).map_err(|e| Failure::io("read", &file, &e))?;
    if found.mode() & 0o004 != 0 {
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
