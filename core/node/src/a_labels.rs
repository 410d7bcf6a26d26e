//! Domains and addresses in the one form in which they are compared: in lower case, domains in A-labels.

// What is grouped here by domain is told from bundles there.
pub(crate) use mox_mailbox::in_a_labels;

/// The domain of an address in that form; nothing of what has none.
pub(crate) fn domain_of(address: &str) -> String {
    let domain = address.rsplit_once('@').map(|(_, domain)| domain);
    domain.map(in_a_labels).unwrap_or_default()
}

/// An address is at a domain. Nobody who asks has to know by which of its names a client wrote it.
pub(crate) fn is_at(domain: &str, address: &str) -> bool {
    let at = address.rsplit_once('@').map(|(_, at)| at);
    at.is_some_and(|at| is_one(at, domain, in_a_labels))
}

/// Two addresses are one, also as to the letter case of their local parts.
pub(crate) fn is_same(a: &str, b: &str) -> bool {
    is_one(a, b, |address| match address.rsplit_once('@') {
        Some((local, domain)) => format!("{}@{}", local.to_lowercase(), in_a_labels(domain)),
        None => address.to_lowercase(),
    })
}

/// Two texts have one form. Of ASCII only the letter case differs: a long queue is looked through fast.
fn is_one(a: &str, b: &str, form: fn(&str) -> String) -> bool {
    match a.is_ascii() && b.is_ascii() {
        true => a.eq_ignore_ascii_case(b),
        false => form(a) == form(b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_names_of_a_domain_are_one_whatever_the_case_of_their_letters() {
        let names = [
            "bücher.example",
            "BÜCHER.Example",
            "xn--bcher-kva.example",
            "XN--Bcher-KVA.example",
        ];
        for name in names {
            assert_eq!(in_a_labels(name), "xn--bcher-kva.example");
            let address = format!("Jo@{name}");
            assert_eq!(domain_of(&address), "xn--bcher-kva.example");
            for other in names {
                assert!(is_at(other, &address), "{other} {address}");
                assert!(
                    is_same(&format!("jo@{other}"), &address),
                    "{other} {address}"
                );
                assert!(
                    !is_same(&format!("al@{other}"), &address),
                    "{other} {address}"
                );
            }
            assert!(!is_at("bucher.example", &address));
        }
        assert_eq!(in_a_labels("[IPv6:2001:DB8::1]"), "[ipv6:2001:db8::1]");
        assert_eq!(domain_of("jo"), "");
        // Without a domain nothing is at one; the null path is itself.
        assert!(!is_at("", "jo") && !is_at("bücher.example", ""));
        assert!(is_same("", "") && !is_same("", "jo@bücher.example"));
    }
}
