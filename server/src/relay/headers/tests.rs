use super::*;

fn place(prefix: &str) -> Place {
    Place {
        session: "k3v9x2m7q4t8w1z6b5n0".parse().unwrap(),
        endpoint: "web".to_owned(),
        origin: "http://web--id.localhost:4000".to_owned(),
        prefix: prefix.to_owned(),
    }
}

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(*name, value.parse().unwrap());
    }
    headers
}

#[test]
fn a_client_tells_nothing_about_its_way() {
    let mut given = headers(&[
        ("host", "evil.example"),
        ("connection", "keep-alive, X-Secret, Host"),
        ("x-secret", "of this connection"),
        ("te", "trailers"),
        ("x-forwarded-host", "evil.example"),
        ("x-forwarded-for", "1.2.3.4"),
        ("x-forwarded-anything", "x"),
        ("forwarded", "host=evil"),
        ("upgrade", "websocket"),
        ("accept", "text/html"),
    ]);
    request(&mut given, &place("/s/id/web"), "/s/id/web");
    let wanted = headers(&[
        ("host", "web--id.localhost:4000"),
        ("accept", "text/html"),
        ("x-forwarded-host", "web--id.localhost:4000"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-prefix", "/s/id/web"),
    ]);
    assert_eq!(given, wanted);
}

#[test]
fn an_upgrade_passes_when_it_is_asked_for() {
    let mut given = headers(&[("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")]);
    request(&mut given, &place(""), "");
    assert_eq!(
        (&given["connection"], &given["upgrade"]),
        (&"upgrade".parse().unwrap(), &"websocket".parse().unwrap())
    );
    let mut answer = headers(&[("connection", "upgrade"), ("upgrade", "websocket")]);
    response(&mut answer.clone(), &place(""), None, true);
    response(&mut answer, &place(""), None, false);
    assert!(answer.is_empty(), "nobody asked for it: {answer:?}");
}

#[test]
fn only_its_own_address_in_a_location_becomes_the_origins() {
    let at = |to: &str, prefix: &str| {
        let mut answer = headers(&[("location", to)]);
        response(&mut answer, &place(prefix), Some(8888), false);
        answer["location"].to_str().unwrap().to_owned()
    };
    let own = "http://web--id.localhost:4000";
    for (to, seen) in [
        ("http://localhost:8888/a?b#c", format!("{own}/a?b#c")),
        ("http://127.0.0.1:8888", format!("{own}/")),
        ("https://[::1]:8888?x=1", format!("{own}/?x=1")),
        ("//LocalHost:8888/a", format!("{own}/a")),
        ("https://web--id.localhost:4000/a", format!("{own}/a")),
    ] {
        assert_eq!(at(to, ""), seen);
    }
    for to in [
        "/a",
        "a?b",
        "http://localhost:9999/other",
        "http://localhost:8888@evil.example/",
        "http://localhost:8888.evil.example/",
        "https://example.org/?next=http://localhost:8888/",
        "//example.org/a",
        "javascript:alert(1)",
    ] {
        assert_eq!(at(to, ""), to);
    }
    assert_eq!(at("/a", "/s/id/web"), format!("{own}/s/id/web/a"));
    assert_eq!(at("/s/id/web/a", "/s/id/web"), format!("{own}/s/id/web/a"));
    assert_eq!(at("http://localhost:8888/a", "/s/id/web"), format!("{own}/s/id/web/a"));
}

#[test]
fn cookies_stay_within_the_application() {
    let seen = |cookie: &str, prefix: &str| {
        let mut answer = headers(&[("set-cookie", cookie)]);
        response(&mut answer, &place(prefix), None, false);
        answer.get("set-cookie").map(|seen| seen.to_str().unwrap().to_owned())
    };
    assert_eq!(
        seen("a=b; Domain=localhost; Path=/x; HttpOnly; max-age=3", "").as_deref(),
        Some("a=b; Path=/x; HttpOnly; max-age=3")
    );
    for own in [
        "wharf=x",
        "wharf-app=x; Path=/",
        "__Host-wharf-app=x; Secure",
        " wharf =x",
        "=wharf-app=x",
        " = wharf=x",
    ] {
        assert_eq!(seen(own, ""), None, "{own}");
    }
    assert_eq!(seen("a=b; path=/", "/s/id/web").as_deref(), Some("a=b; Path=/s/id/web/"));
    assert_eq!(seen("a=b; PATH=/x", "/s/id/web").as_deref(), Some("a=b; Path=/s/id/web/x"));
    assert_eq!(seen("a=b", "/s/id/web").as_deref(), Some("a=b; Path=/s/id/web/"));
    assert_eq!(seen("a=b; Path=/s/id/web/y", "/s/id/web").as_deref(), Some("a=b; Path=/s/id/web/y"));
}

#[test]
fn nothing_reaches_beyond_the_application() {
    let mut answer = headers(&[
        ("service-worker-allowed", "/"),
        ("alt-svc", "h2=\":1\""),
        ("strict-transport-security", "max-age=9"),
        ("keep-alive", "timeout=5"),
        ("transfer-encoding", "chunked"),
        ("content-type", "text/plain"),
        ("etag", "x"),
    ]);
    response(&mut answer, &place(""), None, false);
    assert_eq!(answer, headers(&[("content-type", "text/plain"), ("etag", "x")]));
}
