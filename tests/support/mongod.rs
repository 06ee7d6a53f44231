//! Real servers for tests: replica sets, standalones, and one server that all tests share.

use super::server::{Server, ServerOptions};
use mongodb::bson::{Bson, Document, doc};
use mongodb::options::ClientOptions;
use mongodb::{Client, Database};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::OnceCell;

pub(crate) use super::server::{Role, Signal};

const SET_NAME_DEFAULT: &str = "remelt";
const ROOT_USER: &str = "root";
const PRIMARY_TIMEOUT: Duration = Duration::from_secs(300);
/// How long one member may take to answer; a frozen one never does.
const MEMBER_TIMEOUT: Duration = Duration::from_secs(2);

/// How a replica set is started.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// Its name; shards of one cluster must differ in it.
    pub(crate) set_name: &'static str,
    /// What the set is to its deployment.
    pub(crate) role: Role,
    /// Members, 1 or 3.
    pub(crate) members: usize,
    /// Whether clients must authenticate; `uri()` then does so as a user who may do everything.
    pub(crate) auth: bool,
    /// More `--setParameter` of every member, each as `name=value`.
    pub(crate) parameters: Vec<String>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            set_name: SET_NAME_DEFAULT,
            role: Role::Whole,
            members: 1,
            auth: false,
            parameters: Vec::new(),
        }
    }
}

/// A replica set of its own for one test. Dropping it kills every member.
pub(crate) struct ReplicaSet {
    name: &'static str,
    members: Vec<Server>,
    root_password: Option<String>,
}

impl ReplicaSet {
    /// Starts a set of `members` without authentication and waits until all are ready.
    pub(crate) async fn start(members: usize) -> ReplicaSet {
        ReplicaSet::start_with(&Options { members, ..Options::default() }).await
    }

    /// Starts a set and waits until it has a primary and every other member is a secondary.
    pub(crate) async fn start_with(options: &Options) -> ReplicaSet {
        assert!(matches!(options.members, 1 | 3), "a set has 1 or 3 members");
        let server = ServerOptions {
            role: options.role,
            parameters: options.parameters.clone(),
            replica_set: Some(options.set_name.to_owned()),
            key: options.auth.then(random_word),
        };
        let starts = (0..options.members).map(|_| Server::start(&server));
        let mut set = ReplicaSet {
            name: options.set_name,
            members: futures_util::future::join_all(starts).await,
            root_password: None,
        };
        set.initiate(options.role).await;
        set.wait_until_healthy().await;
        if options.auth {
            // Without a user yet, the server lets a local client create the first one.
            let password = random_word();
            set.add_user(ROOT_USER, &password, vec![doc! {"role": "root", "db": "admin"}]).await;
            set.root_password = Some(password);
        }
        set
    }

    /// The whole set's connection string; with authentication that of a user who may do everything.
    pub(crate) fn uri(&self) -> String {
        self.uri_of(&self.credentials(), "")
    }

    /// As [`uri`](Self::uri), with a default database.
    pub(crate) fn database_uri(&self, database: &str) -> String {
        self.uri_of(&self.credentials(), database)
    }

    /// As [`uri`](Self::uri), as another user, see [`add_user`](Self::add_user).
    pub(crate) fn user_uri(&self, user: &str, password: &str) -> String {
        self.uri_of(&format!("{user}:{password}@"), "")
    }

    /// A connection string of one member alone, whatever its state.
    pub(crate) fn member_uri(&self, member: usize) -> String {
        let address = self.members[member].address();
        let credentials = self.credentials();
        format!("mongodb://{credentials}{address}/?directConnection=true&authSource=admin")
    }

    /// Where one member listens, as `host:port`.
    pub(crate) fn address(&self, member: usize) -> String {
        self.members[member].address()
    }

    /// A client of the whole set, bound to the test's own runtime.
    pub(crate) async fn client(&self) -> Client {
        connect(&self.uri()).await
    }

    /// The process id of a running member.
    pub(crate) fn pid(&self, member: usize) -> u32 {
        self.members[member].pid()
    }

    /// Creates a user in `admin` with the given roles.
    pub(crate) async fn add_user(&self, user: &str, password: &str, roles: Vec<Document>) {
        let command = doc! {"createUser": user, "pwd": password, "roles": roles};
        self.run_on_primary(command).await;
    }

    /// Sets a fail point on the primary: the whole `configureFailPoint` command.
    ///
    /// On a shared server restrict `failCommand` to the test's own client by `data.appName`.
    pub(crate) async fn fail_point(&self, command: Document) {
        self.run_on_primary(command).await;
    }

    /// Makes the primary step down for ten seconds, and returns when it has.
    pub(crate) async fn step_down(&self) {
        self.run_on_primary(doc! {"replSetStepDown": 10, "force": true}).await;
    }

    /// Kills a member and waits until it is gone.
    pub(crate) fn kill_9(&mut self, member: usize) {
        self.stop(member, Signal::Kill);
    }

    /// Sends a member a signal that ends it, and waits until it is gone.
    pub(crate) fn stop(&mut self, member: usize, signal: Signal) {
        self.members[member].stop(signal);
    }

    /// Sends a member a signal and does not wait, to freeze it and let it go on.
    pub(crate) fn signal(&mut self, member: usize, signal: Signal) {
        self.members[member].signal(signal);
    }

    /// Starts a stopped member on its old port and data; returns when it accepts connections.
    pub(crate) async fn restart(&mut self, member: usize) {
        self.members[member].restart().await;
    }

    /// Waits for a primary and says which member it is.
    pub(crate) async fn primary(&self) -> usize {
        let deadline = Instant::now() + PRIMARY_TIMEOUT;
        loop {
            for member in self.running() {
                if self.has_flag(member, "isWritablePrimary").await {
                    return member;
                }
            }
            wait_a_little(deadline, "no member became primary").await;
        }
    }

    /// Waits until there is a primary and every other running member is a secondary.
    pub(crate) async fn wait_until_healthy(&self) {
        let deadline = Instant::now() + PRIMARY_TIMEOUT;
        let primary = self.primary().await;
        for member in self.running().filter(|&member| member != primary) {
            while !self.has_flag(member, "secondary").await {
                wait_a_little(deadline, "a member did not become secondary").await;
            }
        }
    }

    /// The server's own hash over all collections of `database` that one member holds, once it has
    /// caught up.
    pub(crate) async fn hash_of(&self, member: usize, database: &str) -> String {
        let client = connect(&self.member_uri(member)).await;
        let deadline = Instant::now() + PRIMARY_TIMEOUT;
        let mut last = String::new();
        loop {
            let reply = client.database(database).run_command(doc! {"dbHash": 1}).await;
            let hash = reply.map(|r| r.get_str("md5").unwrap().to_owned()).unwrap_or_default();
            // Until a restarted member has caught up, its hash changes.
            if !hash.is_empty() && hash == last || Instant::now() > deadline {
                return hash;
            }
            last = hash;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    fn running(&self) -> impl Iterator<Item = usize> {
        (0..self.members.len()).filter(|&member| self.members[member].is_running())
    }

    async fn initiate(&self, role: Role) {
        let members: Vec<Document> = (0_i32..)
            .zip(&self.members)
            .map(|(id, server)| doc! {"_id": id, "host": server.address()})
            .collect();
        // Elections as fast as they are reliable on a busy machine.
        let settings = doc! {"electionTimeoutMillis": 2_000, "heartbeatIntervalMillis": 500};
        let mut config = doc! {"_id": self.name, "members": members, "settings": settings};
        if role == Role::ConfigServer {
            config.insert("configsvr", true);
        }
        self.run_on(0, doc! {"replSetInitiate": config}).await.expect("replSetInitiate failed");
    }

    async fn run_on_primary(&self, command: Document) {
        let primary = self.primary().await;
        let name = command.keys().next().cloned().unwrap_or_default();
        if let Err(error) = self.run_on(primary, command).await {
            panic!("{name} failed: {error}");
        }
    }

    async fn run_on(&self, member: usize, command: Document) -> mongodb::error::Result<Document> {
        let client = connect_within(&self.member_uri(member), MEMBER_TIMEOUT).await;
        client.database("admin").run_command(command).await
    }

    async fn has_flag(&self, member: usize, flag: &str) -> bool {
        match self.run_on(member, doc! {"hello": 1}).await {
            Ok(hello) => hello.get_bool(flag).unwrap_or(false),
            Err(_) => false,
        }
    }

    fn credentials(&self) -> String {
        match &self.root_password {
            Some(password) => format!("{ROOT_USER}:{password}@"),
            None => String::new(),
        }
    }

    fn uri_of(&self, credentials: &str, database: &str) -> String {
        let addresses: Vec<String> = self.members.iter().map(Server::address).collect();
        let addresses = addresses.join(",");
        let name = self.name;
        format!("mongodb://{credentials}{addresses}/{database}?replicaSet={name}&authSource=admin")
    }
}

/// A server that is no member of a replica set, so has no transactions and no snapshot reads.
pub(crate) struct Standalone {
    server: Server,
}

impl Standalone {
    /// Starts it without authentication.
    pub(crate) async fn start() -> Standalone {
        Standalone { server: Server::start(&ServerOptions::default()).await }
    }

    /// Its connection string.
    pub(crate) fn uri(&self) -> String {
        format!("mongodb://{}/", self.server.address())
    }

    /// A client, bound to the test's own runtime.
    pub(crate) async fn client(&self) -> Client {
        connect(&self.uri()).await
    }
}

/// A database of its own for one test, on the server that all tests share.
pub(crate) struct SharedDatabase {
    /// Connection string with the database as its default.
    pub(crate) uri: String,
    /// The database, through a client of the test's own.
    pub(crate) database: Database,
}

/// A fresh database on a single-member set that is started once for the whole test process.
///
/// Tests that stop or freeze members, or count the server's commands, start a set of their own.
pub(crate) async fn shared() -> SharedDatabase {
    static SET: OnceCell<ReplicaSet> = OnceCell::const_new();
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let set = SET.get_or_init(|| ReplicaSet::start(1)).await;
    let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let uri = set.database_uri(&name);
    SharedDatabase { database: connect(&uri).await.database(&name), uri }
}

/// How many insertions, updates and deletions the server of `client` has seen.
pub(crate) async fn writes_on(client: &Client) -> [Option<Bson>; 3] {
    let status = client.database("admin").run_command(doc! {"serverStatus": 1}).await.unwrap();
    let counters = status.get_document("opcounters").unwrap();
    ["insert", "update", "delete"].map(|name| counters.get(name).cloned())
}

/// A client that gives up in a time that a test can wait for.
async fn connect(uri: &str) -> Client {
    connect_within(uri, Duration::from_secs(20)).await
}

async fn connect_within(uri: &str, selection_timeout: Duration) -> Client {
    let mut options = ClientOptions::parse(uri).await.unwrap();
    options.server_selection_timeout = Some(selection_timeout);
    Client::with_options(options).unwrap()
}

async fn wait_a_little(deadline: Instant, what: &str) {
    assert!(Instant::now() < deadline, "{what} within {PRIMARY_TIMEOUT:?}");
    tokio::time::sleep(Duration::from_millis(20)).await;
}

/// 32 hex digits that no other test run has.
fn random_word() -> String {
    let half = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", half(), half())
}
