//! Which application a host names: `ENDPOINT--ID.localhost:PORT` on loopback, `ENDPOINT--ID.DOMAIN` with a domain.

use std::net::IpAddr;

use http::{HeaderMap, header};
use wharf_protocol::SessionId;

use crate::App;
use crate::guard::Names;

/// An application, and how its user comes to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) session: SessionId,
    pub(crate) endpoint: String,
    /// `SCHEME://HOST[:PORT]`, as the browser sees it.
    pub(crate) origin: String,
    /// The path below which it lies there; empty at an origin of its own.
    pub(crate) prefix: String,
}

impl Place {
    /// `HOST[:PORT]`.
    pub(crate) fn host(&self) -> &str {
        self.origin.split_once("://").map_or(&self.origin, |(_, host)| host)
    }

    /// Where it lies at an origin that it shares, whether it does or not.
    pub(crate) fn path(&self) -> String {
        format!("/s/{}/{}", self.session, self.endpoint)
    }

    pub(crate) fn scheme(&self) -> &str {
        self.origin.split_once("://").map_or("http", |(scheme, _)| scheme)
    }
}

/// The application that a request's host names.
pub(crate) fn place(names: &Names, headers: &HeaderMap) -> Option<Place> {
    let host = headers.get(header::HOST)?.to_str().ok()?.to_ascii_lowercase();
    let (label, parent) = host.split_once('.')?;
    if name(parent).parse::<IpAddr>().is_ok() {
        return None;
    }
    let scheme = names.scheme(parent)?;
    let (endpoint, id) = label.rsplit_once("--")?;
    let session = id.parse().ok()?;
    (!endpoint.is_empty()).then(|| Place {
        session,
        endpoint: endpoint.to_owned(),
        origin: format!("{scheme}://{host}"),
        prefix: String::new(),
    })
}

/// The origin of an application for a client that reaches the server by that base; `None` where there is none, because
/// it is another host without a domain, or only a Unix socket.
pub(crate) fn origin(app: &App, base: &str, endpoint: &str, id: &SessionId) -> Option<String> {
    below(base, app.domain.as_deref(), &format!("{endpoint}--{id}"))
}

/// Whether applications lie at the page's own origin, below `/s/`, for a client that reaches the server by that base:
/// what its browser sends by itself then says nothing about who asks.
pub(crate) fn is_shared(app: &App, base: &str) -> bool {
    base.starts_with("http") && below(base, app.domain.as_deref(), "").is_none()
}

fn below(base: &str, domain: Option<&str>, label: &str) -> Option<String> {
    let (scheme, host) = base.split_once("://")?;
    let port = host.strip_prefix(name(host)).unwrap_or_default();
    if domain.is_some_and(|domain| domain.eq_ignore_ascii_case(name(host))) {
        return Some(format!("{scheme}://{label}.{host}"));
    }
    let here = name(host) == "localhost"
        || name(host)
            .trim_matches(['[', ']'])
            .parse::<IpAddr>()
            .is_ok_and(|ip| ip.is_loopback() || ip.is_unspecified());
    match domain {
        _ if here => Some(format!("{scheme}://{label}.localhost{port}")),
        // By a proxy that speaks TLS in front of it.
        Some(domain) => Some(format!("https://{label}.{domain}")),
        None => None,
    }
}

/// A host without its port.
fn name(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.is_empty() => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "k3v9x2m7q4t8w1z6b5n0";

    #[test]
    fn a_host_names_an_application_only_below_one_of_our_own_names() {
        let names = Names::new(&["http://127.0.0.1:4000".to_owned()], Some("wharf.example"));
        let of = |host: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().unwrap());
            place(&names, &headers)
        };
        let found = of(&format!("my-app--{ID}.localhost:4000")).unwrap();
        assert_eq!((found.endpoint.as_str(), found.session.as_str()), ("my-app", ID));
        assert_eq!(found.origin, format!("http://my-app--{ID}.localhost:4000"));
        let found = of(&format!("Web--{}.Wharf.example", ID.to_uppercase())).unwrap();
        assert_eq!((found.endpoint.as_str(), found.scheme()), ("web", "https"));
        for host in [
            format!("web--{ID}.localhost:4001"),
            format!("web--{ID}.127.0.0.1:4000"),
            format!("web--{ID}.wharf.example.evil.example"),
            format!("web--{ID}.x.localhost:4000"),
            format!("web-{ID}.localhost:4000"),
            format!("--{ID}.localhost:4000"),
            "web--short.localhost:4000".to_owned(),
            "localhost:4000".to_owned(),
            "wharf.example".to_owned(),
        ] {
            assert_eq!(of(&host), None, "{host}");
        }
    }

    #[test]
    fn an_origin_is_good_where_it_is_used() {
        let of = |base, domain| below(base, domain, "a--b");
        for base in ["http://127.0.0.1:40", "http://localhost:40", "http://[::1]:40", "http://0.0.0.0:40"] {
            assert_eq!(of(base, None).as_deref(), Some("http://a--b.localhost:40"));
        }
        assert_eq!(of("https://w.example", Some("w.example")).as_deref(), Some("https://a--b.w.example"));
        assert_eq!(of("http://w.example:81", Some("w.example")).as_deref(), Some("http://a--b.w.example:81"));
        assert_eq!(of("http://10.0.0.1:40", Some("w.example")).as_deref(), Some("https://a--b.w.example"));
        assert_eq!(of("http://10.0.0.1:40", None), None);
        assert_eq!(of("unix:/run/wharf.sock", None), None);
    }
}
