//! Which file systems lie behind a network (or a user-space server): there a call may hang with the other end, and a
//! mapped page may vanish under its reader.

use std::{io, path::Path};

/// By the kernel's magic numbers. FUSE covers GlusterFS, sshfs, s3fs and virtiofs.
const NETWORKS: &[(u32, &str)] = &[
    (0x6969, "nfs"),
    (0xFF53_4D42, "cifs"),
    (0xFE53_4D42, "smb"),
    (0x517B, "smb"),
    (0x00C3_6400, "ceph"),
    (0x6573_5546, "fuse"),
    (0x0102_1997, "9p"),
    (0x0BD0_0BD0, "lustre"),
    (0x7461_636F, "ocfs2"),
    (0x0116_1970, "gfs2"),
    (0x5346_414F, "afs"),
    (0x7375_7245, "coda"),
    (0x4750_4653, "gpfs"),
    (0x1983_0326, "beegfs"),
];

/// The kind of network file system that `path` lies on, or `None` on a local one.
pub fn network_of(path: &Path) -> io::Result<Option<&'static str>> {
    let magic = rustix::fs::statfs(path)?.f_type as u32;
    Ok(NETWORKS
        .iter()
        .find(|(known, _)| *known == magic)
        .map(|(_, name)| *name))
}
