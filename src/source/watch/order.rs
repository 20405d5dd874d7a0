//! Puts a session's events and answers back into the order in which the server sent them.
//!
//! The client crate delivers events through one unbounded channel and each answer through a channel of its own, so
//! awaiting an answer and draining the events afterwards mixes in events that came later. But its session task handles
//! packets one by one and wakes receivers while it does: our wakers run *inside* that task, between two packets. An
//! event's waker moves the event into [`Wire`]'s queue, an answer's waker appends the answer's token; so the queue has
//! the packets' order, exactly, and the crate's unbounded channels never hold more than one packet.
//!
//! The queue is bounded: past `items_max` events are dropped and one [`Item::Overrun`] stands where they would have
//! been, so the loss has a place.

use std::cell::Cell;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::task::{Context, Poll, Wake, Waker};

use tokio::sync::Notify;
use zookeeper_client::{EventType, PersistentWatcher, SessionState, WatchedEvent};

use crate::zk::Micros;

/// What the queue holds, in the order of the packets.
#[derive(Debug)]
pub(super) enum Item {
    Event {
        event: WatchedEvent,
        heard_at: Micros,
    },
    State(SessionState),
    /// The answer to the request with this token is there.
    Answer {
        token: u64,
        heard_at: Micros,
    },
    /// Events were dropped here: the queue was full.
    Overrun,
}

pub(super) type Reply<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A request that was sent: its answer may already be known.
pub(super) enum Asked<T> {
    Waiting(Reply<T>),
    /// An [`Item::Answer`] for it is in the queue all the same.
    Answered(T),
}

/// One session's ordered queue.
pub(super) struct Wire {
    shared: Arc<Shared>,
}

struct Shared {
    inner: Mutex<Inner>,
    ready: Notify,
}

struct Inner {
    watcher: Option<PersistentWatcher>,
    items: VecDeque<Item>,
    items_max: usize,
    overrun: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Held {
    No,
    Yes,
    /// A waker ran on the thread that holds the lock: poll once more before letting go.
    Again,
}

thread_local! {
    /// Whether this thread is polling with the queue's lock held: a waker that fires then must not lock again.
    static HELD: Cell<Held> = const { Cell::new(Held::No) };
}

impl Wire {
    pub(super) fn new(items_max: usize) -> Self {
        let inner = Inner { watcher: None, items: VecDeque::new(), items_max, overrun: false };
        Self { shared: Arc::new(Shared { inner: Mutex::new(inner), ready: Notify::new() }) }
    }

    /// Sends a request by polling `reply` for the first time; its answer will be an [`Item::Answer`] with `token`.
    ///
    /// The lock is held meanwhile, which stops the session task at its next event. So if the answer is there at once, all
    /// events before it are already in the queue and none after it is.
    pub(super) fn ask<T>(&self, token: u64, mut reply: Reply<T>) -> Asked<T> {
        let waker = Waker::from(Arc::new(AnswerWaker { shared: Arc::downgrade(&self.shared), token }));
        let mut inner = self.shared.lock();
        match poll_held(&mut reply, &waker) {
            Poll::Pending => Asked::Waiting(reply),
            Poll::Ready(value) => {
                inner.items.push_back(Item::Answer { token, heard_at: Micros::now() });
                drop(inner);
                self.shared.ready.notify_one();
                Asked::Answered(value)
            }
        }
    }

    /// Starts to move this watcher's events into the queue, until its session ends.
    pub(super) fn follow(&self, watcher: PersistentWatcher) {
        self.shared.lock().watcher = Some(watcher);
        self.shared.drain();
    }

    /// Whether a watcher is being followed. It serves the whole session, over all its connections.
    pub(super) fn is_following(&self) -> bool {
        self.shared.lock().watcher.is_some()
    }

    /// Takes events again after an overrun.
    pub(super) fn resume(&self) {
        self.shared.lock().overrun = false;
    }

    pub(super) fn pop(&self) -> Option<Item> {
        self.shared.lock().items.pop_front()
    }

    pub(super) fn len(&self) -> usize {
        self.shared.lock().items.len()
    }

    /// Returns when the queue may hold something. Cancel safe.
    pub(super) async fn ready(&self) {
        self.shared.ready.notified().await;
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.shared.lock().watcher = None;
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Moves every event that the crate has delivered into the queue and leaves a waker for the next one.
    fn drain(self: &Arc<Self>) {
        let waker = Waker::from(Arc::new(EventWaker { shared: Arc::downgrade(self) }));
        let mut inner = self.lock();
        while let Some(watcher) = inner.watcher.as_mut() {
            // The crate's watcher panics where its session died without a last word (a panic in its task, a runtime
            // that shuts down). That is an end like any other.
            let polled = if std::thread::panicking() {
                Err(())
            } else {
                let poll = || poll_held(&mut std::pin::pin!(watcher.changed()), &waker);
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(poll)).map_err(drop)
            };
            match polled {
                Ok(Poll::Pending) => break,
                Ok(Poll::Ready(event)) => inner.push(event),
                Err(()) => inner.push(WatchedEvent::new_session(SessionState::Closed)),
            }
        }
        HELD.set(Held::No);
        drop(inner);
        self.ready.notify_one();
    }
}

impl Inner {
    fn push(&mut self, event: WatchedEvent) {
        if event.event_type == EventType::Session {
            if event.session_state.is_terminated() {
                // Asked again, the watcher would panic.
                self.watcher = None;
            }
            self.items.push_back(Item::State(event.session_state));
        } else if self.overrun {
            // Dropped: the overrun's gap covers it.
        } else if self.items.len() >= self.items_max {
            self.overrun = true;
            self.items.push_back(Item::Overrun);
        } else {
            self.items.push_back(Item::Event { event, heard_at: Micros::now() });
        }
    }
}

/// Polls with the queue's lock held by this thread, and again as long as the waker fired on this very thread.
fn poll_held<F: Future + Unpin>(future: &mut F, waker: &Waker) -> Poll<F::Output> {
    loop {
        HELD.set(Held::Yes);
        let polled = Pin::new(&mut *future).poll(&mut Context::from_waker(waker));
        let again = HELD.replace(Held::No) == Held::Again;
        if polled.is_ready() || !again {
            return polled;
        }
    }
}

/// Whether this thread holds the lock; if so the holder is told to look again.
fn held_here() -> bool {
    if HELD.get() == Held::No {
        return false;
    }
    HELD.set(Held::Again);
    true
}

struct EventWaker {
    shared: Weak<Shared>,
}

impl Wake for EventWaker {
    fn wake(self: Arc<Self>) {
        if held_here() {
            return;
        }
        if let Some(shared) = self.shared.upgrade() {
            shared.drain();
        }
    }
}

struct AnswerWaker {
    shared: Weak<Shared>,
    token: u64,
}

impl Wake for AnswerWaker {
    fn wake(self: Arc<Self>) {
        if held_here() {
            return;
        }
        if let Some(shared) = self.shared.upgrade() {
            let heard_at = Micros::now();
            shared.lock().items.push_back(Item::Answer { token: self.token, heard_at });
            shared.ready.notify_one();
        }
    }
}
