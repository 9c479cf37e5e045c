//! The API's description in the documentation is the one that is served.
//!
//! `WHARF_UPDATE=1 cargo test -p wharf-server describe` writes it again.

use std::path::Path;

#[test]
fn the_description_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi.json");
    let now = wharf_server::openapi() + "\n";
    if std::env::var_os("WHARF_UPDATE").is_some() {
        std::fs::write(&path, &now).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap();
    assert!(kept == now, "docs/openapi.json is old: run this test once with WHARF_UPDATE=1");
}
