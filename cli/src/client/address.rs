//! Where a launcher listens: `unix:PATH`, `http://HOST:PORT`, `https://HOST:PORT`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// A launcher's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    /// A Unix socket; any length.
    Unix(PathBuf),
    /// TCP.
    Tcp {
        /// A name or an address, without brackets.
        host: String,
        /// The port.
        port: u16,
        /// Whether it is spoken through TLS.
        tls: bool,
    },
}

/// A text that is no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no address: write unix:PATH, http://HOST:PORT or https://HOST:PORT")]
pub(crate) struct InvalidAddress {
    text: String,
}

impl Address {
    /// The `Host` header.
    pub(crate) fn host(&self) -> String {
        match self {
            Self::Unix(_) => "localhost".to_owned(),
            Self::Tcp { host, port, .. } => format!("{}:{port}", bracketed(host)),
        }
    }
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

impl FromStr for Address {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        let invalid = || InvalidAddress { text: text.to_owned() };
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            if path.is_empty() || path.contains('\0') {
                return Err(invalid());
            }
            return std::path::absolute(path).map(Self::Unix).map_err(|_| invalid());
        }
        let (tls, rest) = match (text.strip_prefix("http://"), text.strip_prefix("https://")) {
            (Some(rest), _) => (false, rest),
            (None, Some(rest)) => (true, rest),
            (None, None) => return Err(invalid()),
        };
        let authority: http::uri::Authority =
            rest.strip_suffix('/').unwrap_or(rest).parse().map_err(|_| invalid())?;
        if authority.as_str().contains('@') {
            return Err(invalid());
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(invalid());
        }
        let port = match authority.port() {
            Some(port) => port.as_str().parse().map_err(|_| invalid())?,
            None if authority.as_str().ends_with(':') => return Err(invalid()),
            None => {
                if tls {
                    443
                } else {
                    80
                }
            }
        };
        Ok(Self::Tcp { host: host.to_owned(), port, tls })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(out, "unix:{}", path.display()),
            Self::Tcp { host, port, tls } => {
                write!(out, "{}://{}:{port}", if *tls { "https" } else { "http" }, bracketed(host))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_and_write() {
        for text in ["unix:/run/w.sock", "http://127.0.0.1:8080", "https://[::1]:8443", "http://login1:80"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        assert_eq!("https://login1/".parse::<Address>().unwrap().to_string(), "https://login1:443");
    }

    #[test]
    fn what_is_no_address_is_named() {
        for text in [
            "",
            "unix:",
            "gopher://x",
            "http://",
            "http://u@h:1",
            "http://h:99999",
            "http://h:1/path",
            "h:1",
            "http://h:",
        ] {
            let error = text.parse::<Address>().unwrap_err().to_string();
            assert!(error.contains(&format!("{text:?}")), "{error}");
        }
    }
}
