//! The job id of a local process: `PID:START:BOOT`.
//!
//! A process id alone is reused; with its start time (clock ticks since boot) and the first eight
//! digits of the boot id it names one process for ever, so a stranger is never signalled.

use std::fmt;
use std::str::FromStr;

/// One process of one boot of one host.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ProcessId {
    /// The process id.
    pub pid: i32,
    /// Field 22 of `/proc/PID/stat`: clock ticks between boot and the process's start.
    pub start: u64,
    /// First eight hexadecimal digits of `/proc/sys/kernel/random/boot_id`.
    pub boot: String,
}

/// A text that names no process.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a process's job id: PID:START:BOOT")]
pub struct InvalidProcessId;

impl fmt::Display for ProcessId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}:{}", self.pid, self.start, self.boot)
    }
}

impl FromStr for ProcessId {
    type Err = InvalidProcessId;
    fn from_str(text: &str) -> Result<Self, InvalidProcessId> {
        let mut parts = text.split(':');
        let (Some(pid), Some(start), Some(boot), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(InvalidProcessId);
        };
        let pid = pid.parse().ok().filter(|pid| *pid > 1).ok_or(InvalidProcessId)?;
        let start = start.parse().map_err(|_| InvalidProcessId)?;
        let hex = boot.len() == 8 && boot.bytes().all(|byte| byte.is_ascii_hexdigit());
        hex.then(|| Self { pid, start, boot: boot.to_owned() }).ok_or(InvalidProcessId)
    }
}

impl ProcessId {
    /// Reads the start time out of the text of `/proc/PID/stat`.
    ///
    /// The command's name stands in parentheses and may itself hold parentheses and blanks, so
    /// counting begins after the last one.
    pub fn start_of(stat: &str) -> Option<u64> {
        let (_, fields) = stat.rsplit_once(')')?;
        fields.split_ascii_whitespace().nth(19)?.parse().ok()
    }

    /// Reads the session that a process belongs to out of the text of `/proc/PID/stat`: the process id of its leader, or 0
    /// for one that this process id namespace does not show.
    pub fn session_of(stat: &str) -> Option<i32> {
        let (_, fields) = stat.rsplit_once(')')?;
        fields.split_ascii_whitespace().nth(3)?.parse().ok()
    }

    /// Shortens a boot id to what a job id keeps of it.
    pub fn boot_of(boot_id: &str) -> String {
        boot_id.trim().chars().filter(char::is_ascii_hexdigit).take(8).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_id_survives_a_round_trip() {
        let id = ProcessId { pid: 4242, start: 99, boot: "0a1b2c3d".to_owned() };
        assert_eq!(id.to_string().parse(), Ok(id));
        for text in ["1:2:0a1b2c3d", "-5:2:0a1b2c3d", "42:2", "42:2:0a1b2c3d:x", "42:2:zzzzzzzz"] {
            assert_eq!(text.parse::<ProcessId>(), Err(InvalidProcessId), "{text}");
        }
    }

    #[test]
    fn a_name_full_of_parentheses_does_not_hide_the_start_time() {
        let stat = "42 (a) b (c) S 1 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 777 1 2";
        assert_eq!(ProcessId::start_of(stat), Some(777));
        assert_eq!(ProcessId::session_of(stat), Some(42));
    }
}
