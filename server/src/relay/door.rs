//! Who comes to an application: with a ticket, a pass, a bearer token of Wharf's, or by the owner's own socket.

use axum::response::Response;
use http::header::{AUTHORIZATION, COOKIE, ORIGIN, SET_COOKIE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method};
use wharf_core::Passed;
use wharf_core::actor::Actor;
use wharf_protocol::{ErrorCode, Problem};

use super::origin::Place;
use super::{ENTER, see_other};
use crate::App;
use crate::guard::cookies;
use crate::listen::Peer;
use crate::problem::not_found;

/// How the tokens of Wharf's begin: an application's own is another.
const TOKENS: [&str; 3] = ["wht_", "whg_", "whp_"];

/// Somebody who was let in.
#[derive(Debug)]
pub(super) struct Admitted {
    pub(super) actor: Actor,
    /// A pass with new time, for the browser to keep.
    pub(super) renewed: Option<HeaderValue>,
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// The cookie that holds a pass. With TLS its name says that no other host can have set it, and, at an origin of the
/// application's own, that nobody has set it for a part of that origin.
fn cookie_name(place: &Place) -> &'static str {
    match (place.scheme(), place.prefix.is_empty()) {
        ("https", true) => "__Host-wharf-app",
        ("https", false) => "__Secure-wharf-app",
        _ => "wharf-app",
    }
}

/// Whether a cookie's name is one of ours, which no application sees or sets.
pub(super) fn is_own_cookie(name: &str) -> bool {
    let name = name.trim();
    matches!(name, "wharf-app" | "__Host-wharf-app" | "__Secure-wharf-app")
        || crate::guard::is_page_cookie(name)
}

/// Turns away what another site's page asks, whatever cookies the browser sent along.
pub(super) fn check_page(place: &Place, request: &Parts) -> Result<(), Problem> {
    let headers = &request.headers;
    let foreign = || {
        Problem::new(ErrorCode::Forbidden, "a page of another origin may not ask here")
            .hint("open the application at its own address")
    };
    if let Some(origin) = headers.get(ORIGIN)
        && !origin.to_str().is_ok_and(|origin| origin.eq_ignore_ascii_case(&place.origin))
    {
        return Err(foreign());
    }
    // The browser's own word: another application of the same domain is `same-site`, and may only link here.
    let followed = matches!(request.method, Method::GET | Method::HEAD)
        && text(headers, "sec-fetch-mode") == Some("navigate")
        && text(headers, "sec-fetch-dest").is_none_or(|dest| dest == "document");
    match text(headers, "sec-fetch-site") {
        None | Some("same-origin" | "none") => Ok(()),
        Some(_) if followed => Ok(()),
        Some(_) => Err(foreign()),
    }
}

/// Turns a ticket into a pass, and sends the browser to the application.
pub(super) async fn enter(app: &App, place: &Place, request: &Parts) -> Result<Response, Problem> {
    if request.uri.path() != ENTER {
        return Err(not_found());
    }
    if request.method != Method::GET {
        return Err(Problem::new(ErrorCode::MethodNotAllowed, "this address does not take that method"));
    }
    let query = request.uri.query().unwrap_or_default();
    let (mut ticket, mut to) = (String::new(), "/".to_owned());
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*name {
            "ticket" => ticket = value.into_owned(),
            "to" => to = value.into_owned(),
            _ => {}
        }
    }
    // A path of this origin, and nothing that a browser could read as another one.
    let stays = to.starts_with('/')
        && !to[1..].starts_with(['/', '\\'])
        && to.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    let to = if stays { to.as_str() } else { "/" };
    match app.launcher.spend_ticket(&ticket, &place.session, &place.endpoint) {
        Ok(pass) => {
            let mut response = see_other(&format!("{}{to}", place.origin))?;
            response.headers_mut().append(SET_COOKIE, cookie(place, &pass)?);
            Ok(response)
        }
        // Opened a second time, by somebody who is in already.
        Err(problem) => match admit_pass(app, place, &request.headers).await? {
            Some(_) => see_other(&format!("{}{to}", place.origin)),
            None => Err(problem),
        },
    }
}

/// A pass for a browser to keep. At an origin of its own an application may be linked to from elsewhere.
pub(super) fn cookie(place: &Place, pass: &str) -> Result<HeaderValue, Problem> {
    let secure = if place.scheme() == "https" { "; Secure" } else { "" };
    let (path, site) = if place.prefix.is_empty() { ("/", "Lax") } else { (place.prefix.as_str(), "Strict") };
    let text = format!("{}={pass}; Path={path}; HttpOnly; SameSite={site}{secure}", cookie_name(place));
    HeaderValue::from_str(&text).map_err(|_| Problem::new(ErrorCode::Internal, "not a cookie"))
}

/// Who comes with a pass. Of several the first good one counts: a page of the same origin may have set others.
async fn admit_pass(app: &App, place: &Place, headers: &HeaderMap) -> Result<Option<Passed>, Problem> {
    let wanted = cookie_name(place);
    let mut refused = None;
    for pair in cookies(headers).filter_map(|pair| std::str::from_utf8(pair).ok()) {
        let Some((_, pass)) = pair.split_once('=').filter(|(name, _)| *name == wanted) else { continue };
        match app.launcher.admit_pass(pass, &place.session, &place.endpoint).await {
            Ok(passed) => return Ok(Some(passed)),
            Err(problem) => refused = Some(problem),
        }
    }
    refused.map_or(Ok(None), Err)
}

/// Wharf's own token in a header, if it is one.
fn token(value: &HeaderValue) -> Option<&str> {
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    let own = |token: &&str| TOKENS.iter().any(|begin| token.starts_with(begin));
    Some(token.trim()).filter(|_| scheme.eq_ignore_ascii_case("bearer")).filter(own)
}

/// Takes Wharf's own cookies and tokens out of a request: they are none of the application's business.
pub(super) fn forget(headers: &mut HeaderMap) {
    let others = |value: &&HeaderValue| token(value).is_none();
    let others: Vec<HeaderValue> = headers.get_all(AUTHORIZATION).iter().filter(others).cloned().collect();
    headers.remove(AUTHORIZATION);
    for value in others {
        headers.append(AUTHORIZATION, value);
    }
    let own = |pair: &&[u8]| pair.split(|byte| *byte == b'=').next().is_some_and(is_own_name);
    let kept = cookies(headers).filter(|pair| !own(pair)).collect::<Vec<_>>().join(&b"; "[..]);
    headers.remove(COOKIE);
    if !kept.is_empty()
        && let Ok(kept) = HeaderValue::from_bytes(&kept)
    {
        headers.insert(COOKIE, kept);
    }
}

fn is_own_name(name: &[u8]) -> bool {
    std::str::from_utf8(name).is_ok_and(is_own_cookie)
}

/// Lets somebody in, and takes the credential out of the request.
pub(super) async fn admit(app: &App, place: &Place, request: &mut Parts) -> Result<Admitted, Problem> {
    let peer = request.extensions.get::<Peer>().copied();
    let headers = &request.headers;
    let admitted = if let Some(token) = headers.get_all(AUTHORIZATION).iter().find_map(token) {
        Admitted { actor: app.launcher.authenticate(token).await?, renewed: None }
    } else if let Some(passed) = admit_pass(app, place, headers).await? {
        let renewed = passed.renew.then(|| app.launcher.pass(&passed.actor, &place.session, &place.endpoint));
        let renewed = renewed.map(|pass| cookie(place, &pass)).transpose()?;
        Admitted { actor: passed.actor, renewed }
    } else if let Some(Peer::Uid(uid)) = peer
        && uid == rustix::process::geteuid().as_raw()
    {
        Admitted { actor: app.launcher.owner_actor(), renewed: None }
    } else {
        return Err(Problem::new(ErrorCode::Unauthenticated, "this needs a token, or an address from Wharf")
            .hint("open the application from the page or with `wharf connect ID --open`"));
    };
    forget(&mut request.headers);
    Ok(admitted)
}
