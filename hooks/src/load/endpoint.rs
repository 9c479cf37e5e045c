//! `[connect.NAME]`: one endpoint of a session.

use wharf_protocol::api::EndpointKind;
use wharf_protocol::monitor::EndpointDeclared;
use wharf_protocol::template::Finding;

use super::node::{At, Kind, Node};
use super::section::Section;

/// Whether a text may name an endpoint, an option or a template.
pub(crate) fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    name.len() <= 63
        && bytes.next().is_some_and(|byte| byte.is_ascii_lowercase())
        && bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

/// Whether a socket may be there: a path, or a plain name that fits into a socket's address with its directory.
fn is_place(socket: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    socket.starts_with('/')
        || (!socket.is_empty() && socket.len() <= 40 && !socket.starts_with('.') && socket.bytes().all(plain))
}

/// Reads one endpoint.
pub(crate) fn read(name: &str, at: &At, node: &Node, out: &mut Vec<Finding>) -> Option<EndpointDeclared> {
    let mut section = Section::new(format!("[connect.{name}]"), node, out);
    let kind = section.take("kind");
    let port = section.take("port");
    let socket = section.text("socket", out);
    let prefix = section.flag("prefix", out);
    section.finish(out);
    let kind = match kind.map(|node| (&node.kind, &node.at)) {
        Some((Kind::String(word), at)) => match word.as_str() {
            "http" => EndpointKind::Http,
            "tcp" => EndpointKind::Tcp,
            "vnc" => EndpointKind::Vnc,
            "tty" => EndpointKind::Tty,
            _ => {
                out.push(at.error("kind", "`kind` has to be \"http\", \"tcp\", \"vnc\" or \"tty\""));
                return None;
            }
        },
        Some((_, at)) => {
            out.push(at.error("type", "`kind` has to be \"http\", \"tcp\", \"vnc\" or \"tty\""));
            return None;
        }
        None => {
            out.push(at.error("missing", format!("[connect.{name}] needs `kind`: http, tcp, vnc or tty")));
            return None;
        }
    };
    let port = match port.map(|node| (&node.kind, &node.at)) {
        None => None,
        Some((Kind::Integer(port), at)) => match u16::try_from(*port) {
            Ok(port) => Some(port),
            Err(_) => {
                out.push(at.error("port", "`port` has to be from 0 to 65535"));
                None
            }
        },
        Some((_, at)) => {
            out.push(at.error("type", "`port` has to be a whole number from 0 to 65535"));
            None
        }
    };
    match (kind, &port, &socket) {
        (EndpointKind::Tty, _, _) => {}
        (_, Some(_), Some(_)) => {
            out.push(at.error("endpoint", format!("[connect.{name}] takes `port` or `socket`, not both")));
        }
        (_, None, None) => {
            out.push(at.error("missing", format!("[connect.{name}] needs `port` or `socket`")));
        }
        (_, None, Some(socket)) if !is_place(socket) => {
            let words =
                "`socket` is an absolute path, or the name of a file in a directory of the session's own";
            out.push(at.error("endpoint", format!("[connect.{name}] {words}")));
        }
        (_, _, _) => {}
    }
    if prefix == Some(true) && kind != EndpointKind::Http {
        out.push(at.error("endpoint", format!("[connect.{name}] takes `prefix` only with kind = \"http\"")));
    }
    let prefix = prefix.unwrap_or(false);
    let endpoint = EndpointDeclared { name: name.to_owned(), kind, port, socket, prefix };
    if !endpoint.is_named_well() {
        let words = "names of endpoints are a-z, then a-z, 0-9 and single -, at most 31 in all";
        out.push(at.error("name", format!("\"{name}\": {words}")));
    }
    Some(endpoint)
}
