//! Which proxy leads to a server, by the variables of the process.

use std::net::IpAddr;

use http::Uri;

use super::surroundings::Surroundings;

/// The proxy for `server`: none for this machine itself, nor for what `NO_PROXY` names.
pub(super) fn of(surroundings: &Surroundings, server: &Uri) -> Option<String> {
    let proxy = surroundings.get(&["HTTPS_PROXY", "https_proxy"])?;
    let direct = surroundings.get(&["NO_PROXY", "no_proxy"]).unwrap_or_default();
    let host = host(server);
    let port = server.port_u16().unwrap_or(443);
    let excepted = is_loopback(server) || direct.split(',').any(|rule| covers(rule.trim(), host, port));
    (!excepted).then(|| proxy.to_owned())
}

/// The host without the brackets of an IPv6 address.
pub(super) fn host(server: &Uri) -> &str {
    server.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']')
}

pub(super) fn is_loopback(server: &Uri) -> bool {
    let host = host(server);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Whether a rule of `NO_PROXY` means this host: `*`, a name and what is below it, an address, a network; each with a
/// port or without.
fn covers(rule: &str, host: &str, port: u16) -> bool {
    if rule == "*" {
        return true;
    }
    if let (Some(network), Ok(address)) = (network(rule), host.parse()) {
        return is_in(network, address);
    }
    let (rule, wanted) = match rule.rsplit_once(':') {
        Some((name, digits)) if !name.contains(':') || name.ends_with(']') => (name, digits.parse().ok()),
        _ => (rule, None),
    };
    let rule = rule.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    let host = host.to_ascii_lowercase();
    let name = rule.trim_start_matches('*').trim_start_matches('.');
    let below = host.strip_suffix(name).is_some_and(|front| front.ends_with('.'));
    let named = host == name && !rule.starts_with('.') && !rule.starts_with('*');
    !name.is_empty() && (below || named) && wanted.is_none_or(|wanted: u16| wanted == port)
}

fn network(rule: &str) -> Option<(IpAddr, u32)> {
    let (address, bits) = rule.split_once('/')?;
    Some((address.parse().ok()?, bits.parse().ok()?))
}

fn is_in((network, bits): (IpAddr, u32), address: IpAddr) -> bool {
    let same = |a: u128, b: u128, width: u32| bits <= width && (bits == 0 || (a ^ b) >> (width - bits) == 0);
    match (network, address) {
        (IpAddr::V4(a), IpAddr::V4(b)) => same(a.to_bits().into(), b.to_bits().into(), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => same(a.to_bits(), b.to_bits(), 128),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn proxy(direct: &str, server: &str) -> Option<String> {
        let variables = [("HTTPS_PROXY", "http://proxy:3128"), ("NO_PROXY", direct)];
        of(&Surroundings::of(&variables, Path::new("")), &server.parse().unwrap())
    }

    #[test]
    fn what_no_proxy_names_is_reached_directly() {
        for (direct, server) in [
            ("*", "https://api.example.org"),
            ("other, example.org", "https://api.example.org:6443"),
            ("example.org", "https://Example.org"),
            (".example.org", "https://api.example.org"),
            ("*.example.org", "https://api.example.org"),
            ("api.example.org:6443", "https://api.example.org:6443"),
            ("10.0.0.0/8", "https://10.1.2.3:443"),
            ("10.1.2.3", "https://10.1.2.3"),
            ("fd00::/8", "https://[fd00::1]:6443"),
            ("0.0.0.0/0", "https://10.1.2.3"),
            ("", "https://127.0.0.1:6443"),
            ("", "https://localhost:6443"),
            ("", "https://[::1]:6443"),
        ] {
            assert_eq!(proxy(direct, server), None, "NO_PROXY={direct} {server}");
        }
    }

    #[test]
    fn everything_else_goes_through_the_proxy() {
        for (direct, server) in [
            ("", "https://api.example.org"),
            ("example.org", "https://badexample.org"),
            (".example.org", "https://example.org"),
            ("api.example.org:443", "https://api.example.org:6443"),
            ("10.0.0.0/8", "https://11.1.2.3"),
            ("10.0.0.0/99", "https://10.1.2.3"),
            ("fd00::/8", "https://10.1.2.3"),
            (",", "https://api.example.org"),
        ] {
            assert_eq!(proxy(direct, server).as_deref(), Some("http://proxy:3128"), "NO_PROXY={direct} {server}");
        }
        assert_eq!(of(&Surroundings::of(&[], Path::new("")), &"https://a.org".parse().unwrap()), None);
    }
}
