//! An address of this host that is not loopback, for as long as a test needs one: an interface of the test's own.

use std::net::Ipv4Addr;
use std::process::Command;

/// It is there until it is dropped.
#[derive(Debug)]
pub struct FarAddress {
    interface: String,
    /// The address.
    pub ip: Ipv4Addr,
}

fn ip(args: &[&str]) {
    let output = Command::new("ip").args(args).output().expect("iproute2 is installed");
    assert!(output.status.success(), "ip {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

impl FarAddress {
    /// Makes one; tests that run at the same time have different ones.
    ///
    /// # Panics
    /// Without root.
    #[track_caller]
    pub fn new() -> Self {
        let pid = std::process::id();
        let part = |number: u32| u8::try_from(number % 250 + 1).unwrap_or(1);
        let address = Ipv4Addr::new(10, 219, part(pid / 250), part(pid));
        let made = Self { interface: format!("far{pid}"), ip: address };
        // One that bridges nothing: every kernel on which containers run has them.
        ip(&["link", "add", &made.interface, "type", "bridge"]);
        // Without addresses that it would give itself a moment later: browsers give up what they load when one comes.
        ip(&["link", "set", &made.interface, "addrgenmode", "none"]);
        ip(&["address", "add", &format!("{address}/32"), "dev", &made.interface]);
        ip(&["link", "set", &made.interface, "up"]);
        made
    }
}

impl Default for FarAddress {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for FarAddress {
    fn drop(&mut self) {
        _ = Command::new("ip").args(["link", "delete", &self.interface]).status();
    }
}
