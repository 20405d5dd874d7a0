//! One connection: packets in, packets out, each in its own time.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader, BufWriter};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;

use super::effect::ConnectionId;
use super::server::{Inlet, Load, Shared};
use super::words;

/// What a writer is told.
pub(super) enum Outgoing {
    /// Without its length, and since when it waits.
    Packet(Vec<u8>, Instant),
    /// Nothing more comes.
    Close,
}

impl Outgoing {
    pub fn bytes(&self) -> usize {
        match self {
            Self::Packet(packet, _) => packet.len(),
            Self::Close => 0,
        }
    }
}

/// Forgets the connection however its task ends.
struct Guard {
    shared: Arc<Shared>,
    id: ConnectionId,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.shared.closed(self.id);
    }
}

/// Serves one client until either side has enough.
pub(super) async fn serve(shared: Arc<Shared>, server: usize, mut stream: TcpStream, peer: SocketAddr) {
    // Small packets that somebody waits for.
    let _ = stream.set_nodelay(true);
    let mut head = [0; 4];
    let Ok(_) = stream.read_exact(&mut head).await else { return };
    if words::is_word(head) {
        let about = words::About {
            server,
            version: version(&shared),
            mode: shared.broken.mode(server, shared.options.servers),
            running: shared.broken.running(shared.options.servers),
            servers: shared.options.servers,
            uptime: shared.uptime(),
            files: files(),
        };
        let text = shared.machine(|machine| words::answer(&head, machine, &about));
        let _ = stream.write_all(text.as_bytes()).await;
        let _ = stream.shutdown().await;
        return;
    }
    let Some(inlet) = shared.open(server, peer) else { return };
    let Inlet { id, queue, load, cut } = inlet;
    let _guard = Guard { shared: Arc::clone(&shared), id };
    let (reader, writer) = stream.into_split();
    // Why it ends makes no difference: the client sees a closed connection.
    let _: io::Result<()> = tokio::select! {
        biased;
        () = cut.notified() => Ok(()),
        done = write(&shared, writer, queue, &load) => done,
        done = read(&shared, id, head, BufReader::new(reader), &load) => done,
    };
}

/// What this process has open, and may have.
fn files() -> (u64, u64) {
    let open = std::fs::read_dir("/proc/self/fd").map_or(0, |files| files.count());
    let most = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    (u64::try_from(open).unwrap_or(u64::MAX), most.unwrap_or(u64::MAX))
}

fn version(shared: &Shared) -> &'static str {
    match shared.options.zxids_in_notifications {
        true => "3.9.3-zktrail-embedded, built on no server",
        false => "3.8.4-zktrail-embedded, built on no server",
    }
}

async fn read(
    shared: &Shared,
    id: ConnectionId,
    mut head: [u8; 4],
    mut reader: BufReader<OwnedReadHalf>,
    load: &Load,
) -> io::Result<()> {
    // Above half of what may be queued for it, a client is not listened to until it has read.
    let enough = shared.options.outgoing_bytes_max / 2;
    loop {
        let length = usize::try_from(i32::from_be_bytes(head)).unwrap_or(usize::MAX);
        if length > shared.options.packet_bytes_max {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a packet beyond the limit"));
        }
        let mut packet = vec![0; length];
        reader.read_exact(&mut packet).await?;
        while load.bytes.load(Ordering::Relaxed) > enough {
            load.taken.notified().await;
        }
        shared.run(|machine, now, out| machine.packet(id, &packet, now, out));
        reader.read_exact(&mut head).await?;
    }
}

async fn write(
    shared: &Shared,
    writer: OwnedWriteHalf,
    mut queue: mpsc::Receiver<Outgoing>,
    load: &Load,
) -> io::Result<()> {
    let mut writer = BufWriter::new(writer);
    while let Some(outgoing) = queue.recv().await {
        let Outgoing::Packet(packet, since) = outgoing else { break };
        if let Some(delay) = shared.broken.delay() {
            writer.flush().await?;
            tokio::time::sleep_until((since + delay).into()).await;
        }
        if shared.broken.cuts_now() {
            shared.cut_all();
            return Ok(());
        }
        let length = u32::try_from(packet.len()).map_err(io::Error::other)?;
        writer.write_all(&length.to_be_bytes()).await?;
        writer.write_all(&packet).await?;
        if queue.is_empty() {
            writer.flush().await?;
        }
        load.bytes.fetch_sub(packet.len(), Ordering::Relaxed);
        load.taken.notify_one();
    }
    writer.flush().await?;
    writer.shutdown().await
}
