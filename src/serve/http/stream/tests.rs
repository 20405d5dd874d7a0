use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;

use super::super::{AppState, Credentials, Hosts, Readiness, SnapshotRefused, bind, router};
use super::*;
use crate::history::view::View;
use crate::query::fixture::{self, observed, part, rows};
use crate::query::{Engine, Limits};
use crate::serve::access_log::AccessLog;

/// A history that was watched all day.
fn view(cluster: &str, parts: Vec<Arc<crate::history::part::Part>>, head: &[fixture::Row]) -> View {
    observed(fixture::view(cluster, parts, head), &[(0, 86_000, None)])
}

/// A served door over a history that a test changes.
struct Served {
    address: SocketAddr,
    views: Arc<Mutex<Vec<View>>>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    ended: tokio::task::JoinHandle<std::io::Result<()>>,
}

async fn served(first: View) -> Served {
    let views = Arc::new(Mutex::new(vec![first]));
    let seen = views.clone();
    let sources = Arc::new(move || Ok(seen.lock().unwrap().clone()));
    let engine = Engine::new(sources, Limits::default(), &std::env::temp_dir()).unwrap();
    let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let state = AppState {
        engine,
        metrics: Arc::new(String::new),
        health: Arc::new(|| Ok(())),
        ready: Arc::new(Vec::<Readiness>::new),
        snapshot: Arc::new(|_| Box::pin(async { Err(SnapshotRefused::Unauthorised) })),
        hosts: Hosts::new(address, []),
        credentials: Credentials::default(),
        access_log: AccessLog::to_log(),
        version: "0",
    };
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let shutdown = async move {
        let _ = stopped.await;
    };
    let ended = tokio::spawn(super::super::serve(listener, router(state), shutdown));
    Served { address, views, stop: Some(stop), ended }
}

/// A client of the stream, as it goes over the wire.
struct Client {
    reader: BufReader<TcpStream>,
}

/// One event: its name, its id, its data.
#[derive(Clone, Debug, PartialEq)]
struct Told {
    name: String,
    id: String,
    data: serde_json::Value,
}

impl Client {
    fn open(address: SocketAddr, query: &str, last: Option<&str>) -> Self {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let last = last.map(|id| format!("Last-Event-ID: {id}\r\n")).unwrap_or_default();
        write!(stream, "GET /changes/stream?{query} HTTP/1.0\r\nHost: {address}\r\n{last}\r\n").unwrap();
        Self { reader: BufReader::new(stream) }
    }

    /// The status and what comes with it.
    fn refused(mut self) -> (u16, String) {
        let mut text = String::new();
        self.reader.read_to_string(&mut text).unwrap();
        (text.split(' ').nth(1).unwrap().parse().unwrap(), text)
    }

    /// The next event, comments passed over; `None` at the end.
    fn next(&mut self) -> Option<Told> {
        let (mut name, mut id, mut data) = (String::new(), String::new(), String::new());
        loop {
            let mut line = String::new();
            if self.reader.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            match line.trim_end() {
                "" if !data.is_empty() => {
                    return Some(Told { name, id, data: serde_json::from_str(&data).unwrap() });
                }
                line => match line.split_once(": ") {
                    Some(("event", value)) => name = value.to_owned(),
                    Some(("id", value)) => id = value.to_owned(),
                    Some(("data", value)) => data = value.to_owned(),
                    _ => {}
                },
            }
        }
    }

    fn seqs(&mut self, count: usize) -> Vec<i64> {
        self.changes(count).iter().map(|told| told.data["seq"].as_i64().unwrap()).collect()
    }

    fn changes(&mut self, count: usize) -> Vec<Told> {
        let mut changes = Vec::new();
        while changes.len() < count {
            let told = self.next().expect("the stream ended");
            if told.name == "change" {
                changes.push(told);
            }
        }
        changes
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_comes_back_gets_each_change_once() {
    let folder = tempfile::tempdir().unwrap();
    let parts = vec![part(folder.path(), "prod", fixture::DAY, &rows(1, 101, 7))];
    let served = served(view("prod", parts.clone(), &rows(101, 151, 7))).await;
    let (address, views) = (served.address, served.views.clone());
    blocking(move || {
        let mut client = Client::open(address, "since=oldest", None);
        let first = client.changes(60);
        assert_eq!(first[0].data["seq"], 1);
        assert_eq!(first[0].data["cursor"], first[0].id.as_str());
        // Cut in the middle; what comes meanwhile is not lost.
        drop(client);
        *views.lock().unwrap() = vec![view("prod", parts.clone(), &rows(101, 171, 7))];
        let mut again = Client::open(address, "since=now", Some(&first[59].id));
        assert_eq!(again.seqs(110), (61..171).collect::<Vec<i64>>());
        // Also what is recorded while it is open.
        *views.lock().unwrap() = vec![view("prod", parts, &rows(101, 181, 7))];
        assert_eq!(again.seqs(10), (171..181).collect::<Vec<i64>>());
        let mut by_url = Client::open(address, &format!("cursor={}", first[29].id), None);
        assert_eq!(by_url.seqs(3), [31, 32, 33]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn filters_hold_back_what_was_not_asked_for() {
    let served = served(view("prod", Vec::new(), &rows(1, 40, 4))).await;
    let address = served.address;
    blocking(move || {
        let mut client = Client::open(address, "since=oldest&path=/app/0001&path=/app/0003", None);
        assert_eq!(client.seqs(6), [1, 3, 5, 7, 9, 11]);
        let mut plain = Client::open(address, "since=oldest&kind=data_changed,deleted&cluster=prod", None);
        let told = plain.changes(1);
        assert!(told[0].data["data"].is_string(), "{told:?}");
        let mut bare = Client::open(address, "since=oldest&values=false", None);
        let told = bare.changes(1);
        assert!(told[0].data.get("data").is_none() && told[0].data["path"] == "/app/0001", "{told:?}");
        for (query, words) in [
            ("path=app", "can match nothing"),
            ("kind=born", "there is no kind"),
            ("since=soon", "since:"),
            ("values=maybe", "true or false"),
            ("cursor=x", "damaged"),
            ("color=red", "there is no parameter"),
        ] {
            let (status, text) = Client::open(address, query, None).refused();
            assert!(status == 400 && text.contains(words), "{query}: {text}");
        }
        let (status, text) = Client::open(address, "", Some("AAAA")).refused();
        assert!(status == 400 && text.contains("Last-Event-ID"), "{text}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cursor_of_another_history_is_told() {
    let served = served(view("prod", Vec::new(), &rows(1, 40, 4))).await;
    let (address, views) = (served.address, served.views.clone());
    blocking(move || {
        let id = Client::open(address, "since=oldest", None).changes(30)[29].id.clone();
        *views.lock().unwrap() = vec![view("prod", Vec::new(), &rows(1, 11, 4))];
        let mut client = Client::open(address, "", Some(&id));
        let told = client.next().expect("an event");
        assert_eq!((told.name.as_str(), told.id.as_str()), ("error", id.as_str()));
        assert!(told.data["error"].as_str().unwrap().contains("another history"), "{told:?}");
        assert_eq!(client.next(), None);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_are_counted_and_end_with_the_agent() {
    let mut served = served(view("prod", Vec::new(), &rows(1, 40, 4))).await;
    let address = served.address;
    let clients = blocking(move || {
        let mut clients: Vec<Client> = (0..STREAMS_MAX).map(|_| Client::open(address, "since=oldest", None)).collect();
        for client in &mut clients {
            assert_eq!(client.seqs(1), [1]);
        }
        let (status, text) = Client::open(address, "", None).refused();
        assert!(status == 503 && text.contains("streams are open"), "{text}");
        // One that goes makes room for another.
        clients.pop();
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let mut another = Client::open(address, "since=oldest", None);
            if another.next().is_some() {
                clients.push(another);
                return clients;
            }
            assert!(Instant::now() < deadline, "no room");
            std::thread::yield_now();
        }
    })
    .await;
    let _ = served.stop.take().unwrap().send(());
    blocking(move || {
        for mut client in clients {
            while client.next().is_some() {}
        }
    })
    .await;
    tokio::time::timeout(Duration::from_secs(30), served.ended).await.unwrap().unwrap().unwrap();
}

/// The writer alone, with a reader that takes nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_does_not_read_is_given_up_with_its_cursor() {
    let views = vec![view("prod", Vec::new(), &rows(1, 400, 4))];
    let engine = Engine::new(Arc::new(move || Ok(views.clone())), Limits::default(), &std::env::temp_dir()).unwrap();
    let history = History { session: engine.session(crate::query::Access::full()), handle: Handle::current() };
    let (sender, mut receiver) = mpsc::channel(EVENTS_WAITING_MAX);
    let caller = Caller {
        door: crate::serve::Door::Http,
        address: "127.0.0.1".parse().unwrap(),
        access: crate::query::Access::full(),
        is_owner: false,
    };
    let streams = Streams::default();
    let writer = Writer {
        sender,
        cursor: Cursor::default(),
        values: true,
        patience: Duration::from_millis(200),
        stopped: streams.stopped.subscribe(),
        handle: Handle::current(),
        spoke_at: Instant::now(),
        line: AccessLog::to_log().query(&caller, "GET /changes/stream"),
        _permit: Arc::new(Semaphore::new(1)).acquire_owned().await.unwrap(),
    };
    let last = blocking(move || writer.run(&history, &Asked { values: true, ..Asked::default() })).await.unwrap();
    let mut waiting = Vec::new();
    while let Some(text) = receiver.recv().await {
        waiting.push(text);
    }
    assert_eq!(waiting.len(), EVENTS_WAITING_MAX);
    let id = |text: &str| text.lines().find_map(|line| line.strip_prefix("id: ").map(str::to_owned));
    assert!(last.starts_with("event: error\n"), "{last}");
    assert_eq!(id(&last), waiting.last().and_then(|text| id(text)), "it goes on behind the last that waits");
}
