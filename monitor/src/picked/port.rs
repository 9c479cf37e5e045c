//! A free port for the command to listen on.
//!
//! Between the picking and the command's own bind it is nobody's. So it is none that the kernel hands out by itself, to
//! whoever connects or binds to port 0; and no other monitor picks it: each holds a name for it among the abstract
//! sockets, which belong to the network namespace as the port does, for as long as its session lasts. A program that binds
//! to that very number meanwhile can still take it; a Unix socket, or `wharf-monitor endpoint add` after the bind, leaves no
//! such moment.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};
use std::ops::RangeInclusive;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Tries before the kernel's own choice is taken.
const TRIES: u32 = 64;
/// The lowest that is picked: below it are ports with meanings of their own.
const LOWEST: u16 = 10_000;
/// So many to pick from are enough.
const ENOUGH: u16 = 1_000;

/// A port that no other monitor picks.
#[derive(Debug)]
pub(super) struct Claimed {
    pub(super) port: u16,
    _name: Option<UnixDatagram>,
}

/// Picks one that nobody listens on now.
pub(super) fn pick() -> io::Result<Claimed> {
    let kernels = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    if let Some(among) = apart_from(&kernels) {
        let count = u32::from(among.end() - among.start()) + 1;
        for _ in 0..TRIES {
            let mut random = [0; 4];
            getrandom::fill(&mut random).map_err(io::Error::other)?;
            let port = among.start() + u16::try_from(u32::from_ne_bytes(random) % count).unwrap_or(0);
            if let Ok(name) = claim(port)
                && is_free(port)
            {
                return Ok(Claimed { port, _name: Some(name) });
            }
        }
    }
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
    Ok(Claimed { port, _name: claim(port).ok() })
}

fn claim(port: u16) -> io::Result<UnixDatagram> {
    UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(format!("wharf-port-{port}"))?)
}

/// On all addresses: a program may listen on any of them.
fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok()
        && (TcpListener::bind((Ipv6Addr::LOCALHOST, port)).is_ok()
            || TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_err())
}

/// What lies below or above the range that the kernel hands out, as it tells that; none where that takes all.
fn apart_from(kernels: &str) -> Option<RangeInclusive<u16>> {
    let mut ends = kernels.split_ascii_whitespace().map_while(|end| end.parse::<u16>().ok());
    let (low, high) = (ends.next()?, ends.next()?);
    if low >= LOWEST + ENOUGH {
        return Some(LOWEST..=low - 1);
    }
    (high <= u16::MAX - ENOUGH).then(|| high + 1..=u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn none_is_picked_that_the_kernel_hands_out() {
        assert_eq!(apart_from("32768\t60999\n"), Some(10_000..=32_767));
        assert_eq!(apart_from("1024 60999"), Some(61_000..=65_535));
        assert_eq!(apart_from("1024 65535"), None);
        assert_eq!(apart_from(""), None);
    }

    #[test]
    fn no_other_monitor_picks_it_until_it_is_let_go() {
        let first = pick().unwrap();
        assert!(TcpListener::bind((Ipv4Addr::LOCALHOST, first.port)).is_ok(), "it is the command's to bind");
        assert!(claim(first.port).is_err());
        let port = first.port;
        drop(first);
        assert!(claim(port).is_ok());
    }

    #[test]
    fn one_that_somebody_listens_on_is_not_free() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        assert!(!is_free(taken.local_addr().unwrap().port()));
    }
}
