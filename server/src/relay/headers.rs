//! What of a request reaches an application, and what of its answer reaches the browser.
//!
//! | | |
//! |---|---|
//! | hop by hop | dropped both ways, but for an upgrade that both sides want |
//! | `Forwarded`, `X-Forwarded-*`, `X-Real-IP` | of a client dropped; host, scheme and prefix set anew |
//! | `Host`, `Origin`, `Cookie` | pass: the application sees the address that the browser sees |
//! | `Location` with the application's own address | becomes the origin's |
//! | `Set-Cookie` | of this host only, below the prefix, and never one of Wharf's |
//! | `Service-Worker-Allowed`, `Alt-Svc`, `Strict-Transport-Security` | dropped: they reach beyond the application |
//! | `Clear-Site-Data`, `NEL`, `Report-To`, opener policy | so do these at an origin that it shares with the page |

use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue};

use super::door::is_own_cookie;
use super::origin::Place;

/// Of one connection, not of the exchange.
const HOP: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// What reaches beyond the application's answers at an origin of its own.
const BEYOND: [&str; 3] = ["service-worker-allowed", "alt-svc", "strict-transport-security"];

/// What does so at an origin that it shares.
const BEYOND_SHARED: [&str; 4] = ["clear-site-data", "nel", "report-to", "use-as-dictionary"];

const OPENER: HeaderName = HeaderName::from_static("cross-origin-opener-policy");

fn drop_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        // What frames or routes a message is never dropped on a client's word.
        .filter(|name| *name != header::HOST && *name != header::CONTENT_LENGTH)
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in HOP {
        headers.remove(name);
    }
}

/// What a side wants to go on as, when it wants to change the protocol.
pub(super) fn upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    let asked = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|name| name.trim().eq_ignore_ascii_case("upgrade"));
    headers.get(header::UPGRADE).filter(|_| asked).cloned()
}

fn set_upgrade(headers: &mut HeaderMap, to: Option<HeaderValue>) {
    if let Some(to) = to {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, to);
    }
}

/// Makes a client's headers the application's; `prefix` is what was taken off the path.
pub(super) fn request(headers: &mut HeaderMap, place: &Place, prefix: &str) {
    let upgrade = upgrade(headers);
    drop_hop(headers);
    let told: Vec<HeaderName> = headers
        .keys()
        .filter(|name| {
            let name = name.as_str();
            name.starts_with("x-forwarded-") || name == "forwarded" || name == "x-real-ip"
        })
        .cloned()
        .collect();
    for name in told {
        headers.remove(name);
    }
    // Bodies are asked for as they come.
    headers.remove(header::EXPECT);
    for (name, value) in [
        ("host", place.host()),
        ("x-forwarded-host", place.host()),
        ("x-forwarded-proto", place.scheme()),
        ("x-forwarded-prefix", prefix),
    ] {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    set_upgrade(headers, upgrade);
}

/// Makes an application's headers the browser's. `port` is where it listens, when that is known.
pub(super) fn response(headers: &mut HeaderMap, place: &Place, port: Option<u16>, upgraded: bool) {
    let upgrade = upgrade(headers).filter(|_| upgraded);
    drop_hop(headers);
    for name in BEYOND {
        headers.remove(name);
    }
    if !place.prefix.is_empty() {
        for name in BEYOND_SHARED {
            headers.remove(name);
        }
        // The page says the opposite of itself, so that a window of one is no window of the other.
        headers.insert(OPENER, HeaderValue::from_static("unsafe-none"));
    }
    if let Some(to) = headers.get(header::LOCATION).and_then(|to| location(to.to_str().ok()?, place, port)) {
        headers.insert(header::LOCATION, to);
    }
    let cookies: Vec<HeaderValue> =
        headers.get_all(header::SET_COOKIE).iter().filter_map(|cookie| confined(cookie, place)).collect();
    headers.remove(header::SET_COOKIE);
    for cookie in cookies {
        headers.append(header::SET_COOKIE, cookie);
    }
    set_upgrade(headers, upgrade);
}

/// Where a redirect goes for the browser; `None`: as it stands.
fn location(to: &str, place: &Place, port: Option<u16>) -> Option<HeaderValue> {
    let absolute = to.split_once("://").filter(|(scheme, _)| matches!(*scheme, "http" | "https"));
    let path = match absolute {
        Some((_, rest)) => {
            let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
            let (authority, path) = rest.split_at(end);
            if !is_own(authority, place, port) {
                return None;
            }
            path
        }
        None if to.starts_with("//") => {
            let end = to[2..].find(['/', '?', '#']).map_or(to.len(), |end| end + 2);
            if !is_own(&to[2..end], place, port) {
                return None;
            }
            &to[end..]
        }
        None if to.starts_with('/') && !place.prefix.is_empty() => to,
        None => return None,
    };
    // An application that knows its prefix has said it already.
    let said = path
        .strip_prefix(&place.prefix)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?', '#']));
    let prefix = if said { "" } else { place.prefix.as_str() };
    let slash = if path.starts_with('/') { "" } else { "/" };
    HeaderValue::from_str(&format!("{}{prefix}{slash}{path}", place.origin)).ok()
}

/// Whether that is the application's own address: where it listens, or what we said in `Host`.
fn is_own(authority: &str, place: &Place, port: Option<u16>) -> bool {
    if authority.eq_ignore_ascii_case(place.host()) {
        return true;
    }
    let (host, named) = match authority.rsplit_once(':') {
        Some((host, named)) if !named.contains(']') => (host, named.parse::<u16>().ok()),
        _ => (authority, Some(80)),
    };
    let here = matches!(host.to_ascii_lowercase().as_str(), "localhost" | "127.0.0.1" | "[::1]" | "0.0.0.0");
    // Of a socket, or an older monitor, no port is known: then any on loopback, which no browser could reach anyway.
    here && (port.is_none() || named == port)
}

/// A cookie of an application, kept to its host and path.
fn confined(cookie: &HeaderValue, place: &Place) -> Option<HeaderValue> {
    let text = std::str::from_utf8(cookie.as_bytes()).ok()?;
    let mut parts = text.split(';');
    let pair = parts.next()?;
    // One without a name is sent back as its value alone, which may look like a pair.
    let sent = pair.trim().trim_start_matches(['=', ' ', '\t']);
    if is_own_cookie(sent.split_once('=').map_or(sent, |(name, _)| name)) {
        return None;
    }
    let mut kept = vec![pair.to_owned()];
    let mut path = None;
    for part in parts {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        match name.trim().to_ascii_lowercase().as_str() {
            "domain" => {}
            "path" if !place.prefix.is_empty() => path = Some(value.trim().to_owned()),
            _ => kept.push(part.to_owned()),
        }
    }
    if !place.prefix.is_empty() {
        let below = path.filter(|path| path.starts_with('/')).unwrap_or_default();
        let said = below.starts_with(&format!("{}/", place.prefix));
        let prefix = if said { "" } else { place.prefix.as_str() };
        kept.push(format!(" Path={prefix}{}", if below.is_empty() { "/" } else { &below }));
    }
    HeaderValue::from_bytes(kept.join(";").as_bytes()).ok()
}

#[cfg(test)]
mod tests;
