//! One mongod process: its directory, its port, its life and its death.
//!
//! The server's parent is a shell that reads signal names from a pipe which only this process holds.
//! When the pipe closes, however this process ends, the shell kills the server and deletes its
//! directory, so a killed test run leaves nothing behind. (Only a member that was stopped and not yet
//! restarted at that moment leaves its directory in the temp directory.)

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const PORT_ATTEMPTS: usize = 10;
const READY_TIMEOUT: Duration = Duration::from_secs(60);
const STOP_TIMEOUT: Duration = Duration::from_secs(60);

/// The server holds descriptor 3, so that the pipe behind it ends exactly when the server does.
const WATCHDOG: &str = r#"
directory=$1
shift
"$@" 3>&1 >"$directory/output" 2>&1 </dev/null &
server=$!
echo "$server"
exec >/dev/null 2>&1
while read -r word; do
    case $word in
        LEAVE) wait "$server"; exit ;;
        *) kill -s "$word" "$server" ;;
    esac
done
kill -s KILL "$server"
wait "$server"
rm -rf -- "$directory"
"#;

/// The mongod that `tests/setup` fetched.
pub(crate) struct MongodBinary {
    path: PathBuf,
}

impl MongodBinary {
    /// Finds it in cargo's target directory.
    pub(crate) fn locate() -> MongodBinary {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
        let path = target.join("mongod-6.0.5/mongod");
        assert!(
            path.is_file(),
            "these tests need a real server and there is no {}: run tests/setup",
            path.display()
        );
        MongodBinary { path }
    }
}

/// What a test can send to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    /// Clean shutdown.
    Term,
    /// Death without a chance to do anything.
    Kill,
    /// Freezes the process.
    Stop,
    /// Lets a frozen process go on.
    Cont,
}

impl Signal {
    fn name(self) -> &'static str {
        match self {
            Signal::Term => "TERM",
            Signal::Kill => "KILL",
            Signal::Stop => "STOP",
            Signal::Cont => "CONT",
        }
    }
}

/// What a server is to its deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Role {
    /// It, or its replica set, is the whole deployment.
    #[default]
    Whole,
    /// It knows the shards of a cluster and what lies where.
    ConfigServer,
    /// It holds a part of the documents of a cluster.
    Shard,
}

/// How one server is started.
#[derive(Debug, Clone, Default)]
pub(crate) struct ServerOptions {
    /// What it is to its deployment.
    pub(crate) role: Role,
    /// `--setParameter`, each as `name=value`.
    pub(crate) parameters: Vec<String>,
    /// Name of the replica set that the server is to be a member of.
    pub(crate) replica_set: Option<String>,
    /// Content of the key file; with it the server demands authentication.
    pub(crate) key: Option<String>,
}

/// One mongod on a free loopback port, with its data in a temp directory.
pub(crate) struct Server {
    port: u16,
    arguments: Vec<String>,
    process: Option<Process>,
    directory: TempDir,
}

impl Server {
    /// Starts a server and waits until it accepts connections.
    pub(crate) async fn start(options: &ServerOptions) -> Server {
        let binary = MongodBinary::locate();
        for _ in 0..PORT_ATTEMPTS {
            let directory = tempfile::Builder::new().prefix("remelt-mongod-").tempdir().unwrap();
            fs::create_dir(directory.path().join("data")).unwrap();
            let port = free_port();
            let arguments = arguments(&binary, directory.path(), port, options);
            let mut server = Server { port, arguments, process: None, directory };
            match server.launch().await {
                Ok(()) => return server,
                Err(log) => assert!(port_was_taken(&log), "mongod did not start:\n{log}"),
            }
        }
        panic!("no free port for mongod in {PORT_ATTEMPTS} attempts");
    }

    /// Starts the stopped server again, on its old port and data.
    pub(crate) async fn restart(&mut self) {
        assert!(self.process.is_none(), "a server must be stopped before it is restarted");
        for _ in 0..PORT_ATTEMPTS {
            match self.launch().await {
                Ok(()) => return,
                Err(log) => assert!(port_was_taken(&log), "mongod did not restart:\n{log}"),
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        panic!("port {} was taken while its server was down", self.port);
    }

    /// Host and port, as a connection string has them.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The process id of the running server.
    pub(crate) fn pid(&self) -> u32 {
        self.running().pid
    }

    /// Whether the server was started and not yet stopped.
    pub(crate) fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// Sends a signal and does not wait for what comes of it.
    pub(crate) fn signal(&mut self, signal: Signal) {
        let process = self.process.as_mut().expect("the server is not running");
        process.send(signal.name());
        if matches!(signal, Signal::Stop) {
            process.wait_until_stopped();
        }
    }

    /// Sends a signal that ends the server and waits until it has ended.
    pub(crate) fn stop(&mut self, signal: Signal) {
        self.signal(signal);
        let process = self.process.take().unwrap();
        process.wait_for_end();
    }

    fn running(&self) -> &Process {
        self.process.as_ref().expect("the server is not running")
    }

    /// Starts the process; its log when it ends before it accepts connections.
    async fn launch(&mut self) -> Result<(), String> {
        fs::remove_file(self.directory.path().join("log")).ok();
        let process = Process::start(self.directory.path(), &self.arguments);
        let deadline = Instant::now() + READY_TIMEOUT;
        loop {
            if process.has_ended() {
                process.wait_for_end();
                return Err(self.log());
            }
            // A connection would prove less: another program may have taken the port.
            if self.read("log").contains("Waiting for connections") {
                self.process = Some(process);
                return Ok(());
            }
            assert!(
                Instant::now() < deadline,
                "mongod accepts no connections after {READY_TIMEOUT:?}:\n{}",
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// What the server printed, and the end of its log.
    fn log(&self) -> String {
        let log = self.read("log");
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(40)..].join("\n");
        format!("{}{tail}", self.read("output"))
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.directory.path().join(name)).unwrap_or_default()
    }
}

fn arguments(
    binary: &MongodBinary,
    directory: &Path,
    port: u16,
    options: &ServerOptions,
) -> Vec<String> {
    let path = |name: &str| directory.join(name).display().to_string();
    let mut arguments = vec![binary.path.display().to_string()];
    let mut add = |name: &str, value: String| arguments.extend([name.to_owned(), value]);
    add("--dbpath", path("data"));
    add("--logpath", path("log"));
    add("--bind_ip", "127.0.0.1".to_owned());
    add("--port", port.to_string());
    add("--wiredTigerCacheSizeGB", "0.25".to_owned());
    add("--setParameter", "enableTestCommands=1".to_owned());
    add("--setParameter", "diagnosticDataCollectionEnabled=false".to_owned());
    for parameter in &options.parameters {
        add("--setParameter", parameter.clone());
    }
    if let Some(name) = &options.replica_set {
        add("--replSet", name.clone());
        add("--oplogSize", "1024".to_owned());
        // A clean shutdown waits 15 s for clients to leave unless told otherwise.
        add("--setParameter", "shutdownTimeoutMillisForSignaledShutdown=100".to_owned());
    }
    if let Some(key) = &options.key {
        let file = directory.join("key");
        fs::write(&file, key).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        add("--keyFile", path("key"));
    }
    match options.role {
        Role::Whole => {}
        Role::ConfigServer => arguments.push("--configsvr".to_owned()),
        Role::Shard => arguments.push("--shardsvr".to_owned()),
    }
    arguments.push("--nounixsocket".to_owned());
    arguments
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

fn port_was_taken(log: &str) -> bool {
    log.contains("Address already in use")
}

/// The shell that watches the server, and the pipe that keeps both alive.
struct Process {
    watchdog: Child,
    words: Option<ChildStdin>,
    /// Finishes when the server has ended.
    end: JoinHandle<()>,
    pid: u32,
}

impl Process {
    fn start(directory: &Path, arguments: &[String]) -> Process {
        let mut watchdog = Command::new("/bin/sh")
            .args(["-c", WATCHDOG, "watchdog"])
            .arg(directory)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Ctrl-C at the terminal must reach the tests but not the watchdog.
            .process_group(0)
            .spawn()
            .unwrap();
        let mut output = BufReader::new(watchdog.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let pid = line.trim().parse().unwrap();
        let end = std::thread::spawn(move || {
            output.read_to_string(&mut String::new()).ok();
        });
        Process { words: watchdog.stdin.take(), watchdog, end, pid }
    }

    fn has_ended(&self) -> bool {
        self.end.is_finished()
    }

    fn send(&mut self, word: &str) {
        let pipe = self.words.as_mut().unwrap();
        writeln!(pipe, "{word}").expect("the server's watchdog is gone");
    }

    /// Waits until the signal to stop, which the watchdog passes on, has stopped the server.
    fn wait_until_stopped(&self) {
        let stat = format!("/proc/{}/stat", self.pid);
        // The state is the first word behind the program's name.
        let is_stopped = || {
            let stat = std::fs::read_to_string(&stat).unwrap();
            stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
        };
        while !is_stopped() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits for the server's end; its data stays.
    fn wait_for_end(mut self) {
        let deadline = Instant::now() + STOP_TIMEOUT;
        while !self.has_ended() {
            assert!(
                Instant::now() < deadline,
                "mongod {} still runs {STOP_TIMEOUT:?} after the signal to end",
                self.pid
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        self.send("LEAVE");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.words.take());
        self.watchdog.wait().ok();
    }
}
