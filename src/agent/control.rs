//! How other commands find the running agent of a folder and prove that they may ask it something.

use std::io::{ErrorKind, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The agent's HTTP door, and the token that opens its controls. Readable by the folder's owner alone.
#[derive(Clone, Serialize, Deserialize)]
pub struct Door {
    /// `ip:port`.
    pub http: String,
    pub token: String,
}

impl std::fmt::Debug for Door {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Door").field("http", &self.http).finish_non_exhaustive()
    }
}

/// The door's file while its agent runs; removed when this is dropped.
#[derive(Debug)]
pub struct OpenDoor {
    path: PathBuf,
    pub door: Door,
}

impl OpenDoor {
    /// The door's file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes a fresh token and writes the file into the folder, which must exist.
    pub fn open(data_dir: &Path, http: std::net::SocketAddr) -> std::io::Result<Self> {
        let mut random = [0u8; 24];
        getrandom::fill(&mut random)?;
        let token = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let door = Door { http: reachable(http).to_string(), token };
        let path = path(data_dir);
        let temporary = path.with_extension("new");
        let mut file =
            std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        serde_json::to_writer(&file, &door)?;
        file.flush()?;
        std::fs::rename(&temporary, &path)?;
        Ok(Self { path, door })
    }
}

impl Drop for OpenDoor {
    fn drop(&mut self) {
        // Left behind by a crash it does no harm: nobody answers there.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Where a door that is bound to every address is reached from this machine.
fn reachable(bound: SocketAddr) -> SocketAddr {
    let ip = match bound.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, bound.port())
}

/// The door of the folder's agent; `None` where none was opened.
pub fn read_door(data_dir: &Path) -> std::io::Result<Option<Door>> {
    match std::fs::read(path(data_dir)) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn path(data_dir: &Path) -> PathBuf {
    data_dir.join(".agent.json")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_door_is_its_owners_and_goes_with_the_agent() {
        let dir = tempfile::tempdir().expect("a folder");
        let address = "127.0.0.1:9847".parse().expect("an address");
        let open = OpenDoor::open(dir.path(), address).expect("a door");
        let mode = std::fs::metadata(path(dir.path())).expect("the file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let read = read_door(dir.path()).expect("readable").expect("a door");
        assert_eq!(read.token, open.door.token);
        assert!(!format!("{read:?}").contains(&read.token), "a token is never shown");
        drop(open);
        assert!(read_door(dir.path()).expect("readable").is_none());
    }
}
