//! Sends planned requests and turns their answers into records.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use futures::future::{BoxFuture, FutureExt as _, join_all};
use zookeeper_client::{Acls, Client, CreateMode, Error, MultiWriteResult, Stat};

use super::plan::Request;
use super::{Kind, Operation, Recorded, parent};

const SETTLED_WITHIN: Duration = Duration::from_secs(90);
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(20);

/// What a request led to, as far as its answer tells.
#[derive(Clone, Copy, Debug)]
struct Answer {
    zxid: Option<i64>,
    /// Of a single set or ACL change.
    stat: Option<Stat>,
}

pub(super) async fn connect(connect: &str) -> Result<Client> {
    let deadline = Instant::now() + SETTLED_WITHIN;
    loop {
        let connector = Client::connector().with_session_timeout(Duration::from_secs(20));
        match connector.connect(connect).await {
            Ok(client) => return Ok(client),
            Err(error) if Instant::now() > deadline => return Err(error).context(format!("connecting to {connect}")),
            Err(_) => tokio::time::sleep(ASK_AGAIN_AFTER).await,
        }
    }
}

pub(super) struct Executor {
    client: Client,
    connect: String,
    /// The life that a path has now.
    lives: HashMap<String, Life>,
}

#[derive(Clone, Copy)]
struct Life {
    czxid: i64,
    owner: i64,
}

impl Executor {
    pub(super) fn new(client: Client, connect: &str) -> Self {
        Self { client, connect: connect.to_owned(), lives: HashMap::new() }
    }

    /// Sends all of them at once; every one must succeed.
    pub(super) async fn pipeline(&mut self, requests: &[Request], recorded: &mut Recorded) -> Result<()> {
        let client = self.client.clone();
        // A request is queued when it is called, so this is also the order of execution.
        let answers: Vec<_> = requests.iter().map(|request| send(&client, request)).collect();
        for (request, answer) in requests.iter().zip(join_all(answers).await) {
            let answer = answer.with_context(|| format!("{request:?}"))?;
            self.record(request, answer, recorded)?;
        }
        Ok(())
    }

    /// Sends one and sees to it that it happens exactly once, whatever becomes of the connection.
    pub(super) async fn one(&mut self, request: &Request, recorded: &mut Recorded) -> Result<()> {
        let deadline = Instant::now() + SETTLED_WITHIN;
        let mut in_doubt = false;
        loop {
            let client = self.client.clone();
            if in_doubt {
                match happened(&client, request).await {
                    Ok(Some(answer)) => return self.record(request, answer, recorded),
                    Ok(None) => in_doubt = false,
                    Err(error) => self.bear(error, deadline).await.with_context(|| format!("settling {request:?}"))?,
                }
                continue;
            }
            match send(&client, request).await {
                Ok(answer) => return self.record(request, answer, recorded),
                Err(error) => {
                    self.bear(error, deadline).await.with_context(|| format!("{request:?}"))?;
                    in_doubt = true;
                }
            }
        }
    }

    /// Creates a sequential znode; gives its path.
    pub(super) async fn sequential(
        &mut self,
        prefix: &str,
        value: &[u8],
        recorded: &mut Recorded,
    ) -> Result<Vec<String>> {
        let options = CreateMode::PersistentSequential.with_acls(Acls::anyone_all());
        let deadline = Instant::now() + SETTLED_WITHIN;
        let (path, stat) = loop {
            let client = self.client.clone();
            match client.create(prefix, value, &options).await {
                Ok((stat, sequence)) => break (format!("{prefix}{sequence}"), stat),
                Err(error) => self.bear(error, deadline).await.with_context(|| format!("creating {prefix}"))?,
            }
            if let Some(made) = self.unknown_child(parent(prefix), deadline).await? {
                break made;
            }
        };
        self.lives.insert(path.clone(), Life { czxid: stat.czxid, owner: 0 });
        recorded.push(created(&path, stat.czxid, value, 0));
        Ok(vec![path])
    }

    /// A session of its own creates these, deletes the first few, and ends.
    pub(super) async fn ephemerals(
        &mut self,
        paths: &[(String, Vec<u8>)],
        request: &Request,
        recorded: &mut Recorded,
    ) -> Result<Vec<String>> {
        let Request::Ephemerals { deleted, .. } = request else { bail!("{request:?} makes no ephemerals") };
        let options = CreateMode::Ephemeral.with_acls(Acls::anyone_all());
        let deadline = Instant::now() + SETTLED_WITHIN;
        let holder = connect(&self.connect).await?;
        for (path, value) in paths {
            let stat = loop {
                match holder.create(path, value, &options).await {
                    Ok((stat, _)) => break Some(stat),
                    // The session and what it held are gone; so is the need for more.
                    Err(Error::SessionExpired) => break None,
                    Err(error) => self.bear(error, deadline).await.with_context(|| format!("creating {path}"))?,
                }
                if let Some(stat) = self.stat(path, deadline).await? {
                    break Some(stat);
                }
            };
            let Some(stat) = stat else { break };
            self.lives.insert(path.clone(), Life { czxid: stat.czxid, owner: stat.ephemeral_owner });
            recorded.push(created(path, stat.czxid, value, stat.ephemeral_owner));
        }
        for (path, _) in paths.iter().take(*deleted) {
            if recorded.tree.contains_key(path) {
                self.one(&Request::Delete { path: path.clone() }, recorded).await?;
            }
        }
        drop(holder);

        let held: Vec<&String> =
            paths.iter().map(|(path, _)| path).filter(|path| recorded.tree.contains_key(*path)).collect();
        for path in &held {
            while self.stat(path, deadline).await?.is_some() {
                ensure!(Instant::now() < deadline, "{path} outlives its session by more than {SETTLED_WITHIN:?}");
                tokio::time::sleep(ASK_AGAIN_AFTER).await;
            }
        }
        if let Some(first) = held.first() {
            // All of them have one parent and went in one transaction.
            let under = parent(first);
            let stat = self.stat(under, deadline).await?.with_context(|| format!("{under} is gone"))?;
            for path in held {
                self.deleted(path, Some(stat.pzxid), recorded)?;
            }
        }
        Ok(Vec::new())
    }

    /// The Stat of a path as it is now, whatever it takes to read it.
    async fn stat(&mut self, path: &str, deadline: Instant) -> Result<Option<Stat>> {
        loop {
            let client = self.client.clone();
            match synced_stat(&client, path).await {
                Ok(stat) => return Ok(stat),
                Err(error) => self.bear(error, deadline).await.with_context(|| format!("reading {path}"))?,
            }
        }
    }

    /// The child that is there although nobody was told of its creation.
    async fn unknown_child(&mut self, under: &str, deadline: Instant) -> Result<Option<(String, Stat)>> {
        loop {
            let client = self.client.clone();
            let listed = async {
                client.sync("/").await?;
                client.list_children(under).await
            };
            match listed.await {
                Ok(children) => {
                    let mut paths = children.iter().map(|name| format!("{under}/{name}"));
                    let Some(path) = paths.find(|path| !self.lives.contains_key(path)) else { return Ok(None) };
                    let stat = self.stat(&path, deadline).await?.with_context(|| format!("{path} is gone"))?;
                    return Ok(Some((path, stat)));
                }
                Err(error) => self.bear(error, deadline).await.with_context(|| format!("listing {under}"))?,
            }
        }
    }

    /// Waits a little after an error that passes by itself; any other is returned.
    async fn bear(&mut self, error: Error, deadline: Instant) -> Result<()> {
        if Instant::now() > deadline {
            return Err(error).context(format!("not settled within {SETTLED_WITHIN:?}"));
        }
        match error {
            // What the operating system says of a connection comes as Custom.
            Error::ConnectionLoss | Error::Timeout | Error::SessionMoved | Error::Throttled | Error::Custom(_) => {
                tokio::time::sleep(ASK_AGAIN_AFTER).await
            }
            Error::SessionExpired | Error::ClientClosed | Error::NoHosts => {
                self.client = connect(&self.connect).await?
            }
            error => return Err(error.into()),
        }
        Ok(())
    }

    fn record(&mut self, request: &Request, answer: Answer, recorded: &mut Recorded) -> Result<()> {
        match request {
            Request::Create { path, value, .. } => {
                let czxid = answer.zxid.with_context(|| format!("the creation of {path} has no zxid"))?;
                self.lives.insert(path.clone(), Life { czxid, owner: 0 });
                recorded.push(created(path, czxid, value, 0));
            }
            Request::Set { path, value, version } => {
                if let Some(stat) = answer.stat {
                    ensure!(stat.version == *version, "{path}: planned version {version}, answered {}", stat.version);
                }
                let life = self.life(path)?;
                recorded.push(Operation {
                    path: path.clone(),
                    kind: Kind::DataChanged,
                    version: Some(*version),
                    aversion: None,
                    zxid: answer.zxid,
                    czxid: life.czxid,
                    value: Some(value.clone()),
                    ephemeral_owner: life.owner,
                });
            }
            Request::SetAcl { path, aversion, .. } => {
                if let Some(stat) = answer.stat {
                    ensure!(
                        stat.aversion == *aversion,
                        "{path}: planned aversion {aversion}, answered {}",
                        stat.aversion
                    );
                }
                let life = self.life(path)?;
                recorded.push(Operation {
                    path: path.clone(),
                    kind: Kind::AclChanged,
                    version: None,
                    aversion: Some(*aversion),
                    zxid: None,
                    czxid: life.czxid,
                    value: None,
                    ephemeral_owner: life.owner,
                });
            }
            Request::Delete { path } => self.deleted(path, answer.zxid, recorded)?,
            Request::Multi(parts) => {
                for part in parts {
                    self.record(part, Answer { zxid: answer.zxid, stat: None }, recorded)?;
                }
            }
            Request::Sequential { .. } | Request::Ephemerals { .. } => {
                bail!("{request:?} is recorded where it is done")
            }
        }
        Ok(())
    }

    fn deleted(&mut self, path: &str, zxid: Option<i64>, recorded: &mut Recorded) -> Result<()> {
        let life =
            self.lives.remove(path).with_context(|| format!("{path} was deleted without having been created"))?;
        recorded.push(Operation {
            path: path.to_owned(),
            kind: Kind::Deleted,
            version: None,
            aversion: None,
            zxid: Some(zxid.with_context(|| format!("the deletion of {path} has no zxid"))?),
            czxid: life.czxid,
            value: None,
            ephemeral_owner: life.owner,
        });
        Ok(())
    }

    fn life(&self, path: &str) -> Result<Life> {
        self.lives.get(path).copied().with_context(|| format!("{path} was never created"))
    }
}

fn created(path: &str, czxid: i64, value: &[u8], ephemeral_owner: i64) -> Operation {
    Operation {
        path: path.to_owned(),
        kind: Kind::Created,
        version: Some(0),
        aversion: None,
        zxid: Some(czxid),
        czxid,
        value: Some(value.to_vec()),
        ephemeral_owner,
    }
}

/// Queues a request at once; the future is its answer. A deletion's zxid is read from its parent right behind it.
fn send<'a>(client: &'a Client, request: &'a Request) -> BoxFuture<'a, Result<Answer, Error>> {
    match request {
        Request::Create { path, value, mode } => {
            let answer = client.create(path, value, &mode.options());
            async move { answer.await.map(|(stat, _)| Answer { zxid: Some(stat.czxid), stat: None }) }.boxed()
        }
        Request::Set { path, value, .. } => {
            let answer = client.set_data(path, value, None);
            async move { answer.await.map(|stat| Answer { zxid: Some(stat.mzxid), stat: Some(stat) }) }.boxed()
        }
        Request::SetAcl { path, acl, .. } => {
            let answer = client.set_acl(path, acl, None);
            async move { answer.await.map(|stat| Answer { zxid: None, stat: Some(stat) }) }.boxed()
        }
        Request::Delete { path } => {
            let answer = client.delete(path, None);
            let above = client.check_stat(parent(path));
            async move {
                answer.await?;
                Ok(Answer { zxid: above.await?.map(|stat| stat.pzxid), stat: None })
            }
            .boxed()
        }
        Request::Multi(parts) => {
            let mut writer = client.new_multi_writer();
            for part in parts {
                let added = match part {
                    Request::Create { path, value, mode } => writer.add_create(path, value, &mode.options()),
                    Request::Set { path, value, .. } => writer.add_set_data(path, value, None),
                    Request::Delete { path } => writer.add_delete(path, None),
                    _ => Err(Error::BadArguments(&"a multi creates, sets and deletes")),
                };
                if let Err(error) = added {
                    return async move { Err(error) }.boxed();
                }
            }
            let answer = writer.commit();
            // Whatever the last creation or deletion changed has its parent still there.
            let structural = parts.iter().rev().find_map(|part| match part {
                Request::Create { path, .. } | Request::Delete { path } => Some(parent(path)),
                _ => None,
            });
            let above = structural.map(|path| client.check_stat(path));
            async move {
                let results = answer.await.map_err(Error::from)?;
                let above = match above {
                    Some(above) => above.await?.map(|stat| stat.pzxid),
                    None => None,
                };
                let set = results.iter().find_map(|result| match result {
                    MultiWriteResult::SetData { stat } if !stat.is_invalid() => Some(stat.mzxid),
                    _ => None,
                });
                Ok(Answer { zxid: above.or(set), stat: None })
            }
            .boxed()
        }
        Request::Sequential { .. } | Request::Ephemerals { .. } => {
            async { Err(Error::BadArguments(&"this request stands alone")) }.boxed()
        }
    }
}

/// Whether a request whose answer was lost was executed, read from what it leaves behind.
async fn happened(client: &Client, request: &Request) -> Result<Option<Answer>, Error> {
    let answer = |zxid| Some(Answer { zxid: Some(zxid), stat: None });
    Ok(match request {
        Request::Create { path, .. } => synced_stat(client, path).await?.and_then(|stat| answer(stat.czxid)),
        Request::Set { path, version, .. } => {
            synced_stat(client, path).await?.filter(|stat| stat.version == *version).and_then(|stat| answer(stat.mzxid))
        }
        Request::SetAcl { path, aversion, .. } => synced_stat(client, path)
            .await?
            .filter(|stat| stat.aversion == *aversion)
            .map(|stat| Answer { zxid: None, stat: Some(stat) }),
        Request::Delete { path } => match synced_stat(client, path).await? {
            Some(_) => None,
            None => synced_stat(client, parent(path)).await?.and_then(|stat| answer(stat.pzxid)),
        },
        // Its last part sets a marker (see `Planner`).
        Request::Multi(parts) => match parts.last() {
            Some(Request::Set { path, version, .. }) => synced_stat(client, path)
                .await?
                .filter(|stat| stat.version == *version)
                .and_then(|stat| answer(stat.mzxid)),
            _ => return Err(Error::BadArguments(&"this multi leaves no marker")),
        },
        Request::Sequential { .. } | Request::Ephemerals { .. } => None,
    })
}

/// What the leader has committed by now, seen from this session's server.
async fn synced_stat(client: &Client, path: &str) -> Result<Option<Stat>, Error> {
    client.sync("/").await?;
    client.check_stat(path).await
}
