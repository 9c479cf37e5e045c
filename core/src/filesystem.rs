//! Whether a file system is this host's own. Asks the kernel; reads and writes nothing.

use std::path::Path;

/// Magic numbers of file systems that others serve (`statfs(2)`, and their own sources).
const NETWORK: [u64; 16] = [
    0x6969,      // NFS
    0x517b,      // SMB
    0xff53_4d42, // CIFS
    0xfe53_4d42, // SMB2
    0x5346_414f, // AFS
    0x6b41_4653, // kAFS
    0x7375_7245, // Coda
    0x00c3_6400, // Ceph
    0x6573_5546, // FUSE
    0x0bd0_0bd0, // Lustre
    0x4750_4653, // GPFS
    0x1983_0326, // BeeGFS
    0xaad7_aaea, // PanFS
    0x2003_0528, // OrangeFS
    0x0116_1970, // GFS2
    0x0102_1997, // 9P
];

/// Whether others serve it: then looking at a file may take as long as they like, memory is not shared through it, and
/// locks are slow and doubtful. What cannot be asked counts as our own.
pub fn is_network(path: &Path) -> bool {
    #[expect(clippy::cast_sign_loss, reason = "magic numbers are bit patterns")]
    rustix::fs::statfs(path).is_ok_and(|found| NETWORK.contains(&(found.f_type as u64 & 0xffff_ffff)))
}
