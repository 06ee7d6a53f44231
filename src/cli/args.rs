//! The arguments of every command.

use super::config::nearest;
use super::failure::Refusal;
use super::monitoring::MonitorArgs;
use super::run::same_server;
use clap::builder::{PathBufValueParser, TypedValueParser};
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use remelt::analysis::{MEMORY_BYTES_MIN, SpentAt};
use remelt::live::WORKERS_DEFAULT;
use remelt::model::{FindingCode, Timestamp};
use remelt::snapshot::input::InputOptions;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Repairs Cashu token ledgers in MongoDB offline, and replays the repair.
#[derive(Debug, Parser)]
#[command(name = "remelt", version, about, max_term_width = 80, arg_required_else_help = true)]
#[command(after_help = "Exit codes: 0 done, 1 failed, 2 usage, 3 refused by a safety check, \
    4 done with something left for a person.\n\nTry it without a server:\n  \
    remelt generate /tmp/ledger --tokens 100000 --damage\n  remelt rehearse /tmp/ledger")]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Heading of the options of every command.
const EVERYWHERE: &str = "Options of every command";

/// Options of every command.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Print the result, or the error, as one JSON object on standard output
    #[arg(long, global = true, help_heading = EVERYWHERE)]
    pub(crate) json: bool,
    /// No progress and no notes on standard error
    #[arg(long, short, global = true, help_heading = EVERYWHERE)]
    pub(crate) quiet: bool,
    /// Say on standard error what is done; -vv also every batch
    #[arg(long, short, global = true, help_heading = EVERYWHERE, action = ArgAction::Count, conflicts_with = "quiet")]
    pub(crate) verbose: u8,
    /// How log lines, notes and progress look on standard error
    #[arg(long, value_name = "FORMAT", value_enum, global = true, help_heading = EVERYWHERE, default_value = "text")]
    pub(crate) log_format: LogFormat,
    /// File with defaults; else $REMELT_CONFIG, else ~/.config/remelt/config.toml
    #[arg(long, value_name = "FILE", global = true, help_heading = EVERYWHERE)]
    pub(crate) config: Option<PathBuf>,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    Text,
    /// One JSON object a line, and nothing else on standard error
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// The whole cycle on a copy: analyze, apply, verify, roll back, compare
    Rehearse(RehearseArgs),
    /// Stream the ledger from MongoDB to a snapshot, at one point in time
    Export(ExportArgs),
    /// Read a snapshot: findings, balances, CSV reports and a plan
    Analyze(AnalyzeArgs),
    /// What a plan would change, for whom, and what speaks against it
    Preview(PreviewArgs),
    /// One token of a plan: before, after, and why
    Explain(ExplainArgs),
    /// Derive every figure of a plan's reports anew, and say whether they hold
    Audit(AuditArgs),
    /// Check every prerequisite of applying a plan to a database
    Validate(ValidateArgs),
    /// Apply a plan to the database, or to a copy of its snapshot
    Apply(ApplyArgs),
    /// Compare every planned token with the plan, and look for new damage
    Verify(VerifyArgs),
    /// Restore the original bytes of what a run changed
    Rollback(RollbackArgs),
    /// Runs, progress, health and recommendations of a database
    Status(StatusArgs),
    /// Exact differences between two snapshots, by document and field
    Diff(DiffArgs),
    /// Admin API, dashboard, monitoring and metrics over HTTP
    Serve(ServeArgs),
    /// Check the ledger continuously, or once, and alert
    Monitor(MonitorCommandArgs),
    /// Write a realistic ledger with a known truth
    Generate(GenerateArgs),
    /// Print the completions of a shell
    Completions(CompletionsArgs),
    /// Print the manual page, or write those of all commands
    Man(ManArgs),
}

/// Which snapshot, and how to find the collections in it.
#[derive(Debug, Args)]
pub(crate) struct SnapshotArgs {
    /// Database: of several in a dump the one to read; on a server, else the connection string's, else nctool
    #[arg(long, value_name = "NAME")]
    pub(crate) db: Option<String>,
    /// Name of the tokens' collection
    #[arg(long, value_name = "NAME", default_value = "cashu_tokens")]
    pub(crate) tokens: String,
    /// Name of the wallets' collection
    #[arg(long, value_name = "NAME", default_value = "cashu_wallets")]
    pub(crate) wallets: String,
    /// Accept a dump without wallets; where there are none, checks that need
    /// them are not made
    #[arg(long)]
    pub(crate) without_wallets: bool,
    /// Most bytes that one compressed file may decompress to
    #[arg(long, value_name = "SIZE", value_parser = size, default_value = "1TiB")]
    pub(crate) inflated_bytes_max: u64,
    /// Most decompressed bytes for each compressed one
    #[arg(long, value_name = "N", default_value_t = 200)]
    pub(crate) inflate_ratio_max: u32,
}

impl SnapshotArgs {
    /// As the input layer takes them.
    pub(crate) fn input_options(&self) -> InputOptions {
        InputOptions {
            db: self.db.clone(),
            tokens: self.tokens.clone(),
            wallets: self.wallets.clone(),
            require_wallets: !self.without_wallets,
            inflated_bytes_max: self.inflated_bytes_max,
            inflate_ratio_max: self.inflate_ratio_max,
        }
    }
}

/// Which MongoDB deployment and database.
#[derive(Args)]
pub(crate) struct ServerArgs {
    /// Connection string; better given as MONGODB_URI, which no process list shows
    #[arg(long, value_name = "URI", env = "MONGODB_URI", hide_env_values = true)]
    pub(crate) uri: String,
    /// Database; else the connection string's, else nctool
    #[arg(long, value_name = "NAME")]
    pub(crate) db: Option<String>,
}

impl ServerArgs {
    /// The options by which another command reaches this server.
    pub(crate) fn same(&self) -> String {
        same_server(Some(&self.uri), self.db.as_deref())
    }
}

impl std::fmt::Debug for ServerArgs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerArgs").field("db", &self.db).finish_non_exhaustive()
    }
}

/// How files are compressed.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum CompressArg {
    /// As they are, without compression
    None,
    /// Zstandard
    Zstd,
    /// gzip, as mongodump --gzip
    Gzip,
}

/// How far documents are of one point in time.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum ConsistencyArg {
    /// One cluster time for all documents
    Snapshot,
    /// Documents may be of different times; said everywhere after
    None,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  MONGODB_URI=mongodb://reader@db1/nctool remelt export snapshot\n  \
    remelt export snapshot --uri mongodb://db1 --compress zstd\n  \
    remelt export for-analysis-only --uri mongodb://db1 --without-secrets"
)]
pub(crate) struct ExportArgs {
    /// New directory for the snapshot
    #[arg(value_parser = new_path())]
    pub(crate) snapshot_dir: PathBuf,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// Name of the tokens' collection
    #[arg(long, value_name = "NAME", default_value = "cashu_tokens")]
    pub(crate) tokens: String,
    /// Name of the wallets' collection
    #[arg(long, value_name = "NAME", default_value = "cashu_wallets")]
    pub(crate) wallets: String,
    /// Accept a database without wallets
    #[arg(long)]
    pub(crate) without_wallets: bool,
    /// How to store the documents
    #[arg(long, value_enum, default_value = "none")]
    pub(crate) compress: CompressArg,
    /// Replace secrets by hashes under a key that is thrown away: the snapshot
    /// can be analysed but its plan can't be applied
    #[arg(long)]
    pub(crate) without_secrets: bool,
    /// Keep the wallets' private keys, for a complete dump
    #[arg(long, conflicts_with = "without_secrets")]
    pub(crate) with_wallet_keys: bool,
    /// Whether all documents must be of one point in time
    #[arg(long, value_enum, default_value = "snapshot")]
    pub(crate) consistency: ConsistencyArg,
}

/// Where `spent_at` comes from.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum SpentAtArg {
    /// The repair time
    Repair,
    /// The token's own createdAt
    Created,
    /// The token's own updatedAt
    Updated,
}

impl From<SpentAtArg> for SpentAt {
    fn from(arg: SpentAtArg) -> SpentAt {
        match arg {
            SpentAtArg::Repair => SpentAt::Repair,
            SpentAtArg::Created => SpentAt::Created,
            SpentAtArg::Updated => SpentAt::Updated,
        }
    }
}

/// How to analyse.
#[derive(Debug, Args)]
pub(crate) struct RuleArgs {
    /// What becomes spent_at of a repaired token
    #[arg(long, value_enum, default_value = "repair")]
    pub(crate) spent_at: SpentAtArg,
    /// The repair time, RFC 3339; now when not given
    #[arg(long, value_name = "RFC3339")]
    pub(crate) repair_time: Option<Timestamp>,
    /// Memory for what grows with the data; the rest spills to TMPDIR
    #[arg(long, value_name = "SIZE", value_parser = memory, default_value = "1GiB")]
    pub(crate) memory: u64,
    /// Worker threads; all processors when not given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) threads: Option<u16>,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  remelt rehearse dump/nctool\n  \
    remelt rehearse nctool.archive.gz --keep /tmp/rehearsal")]
pub(crate) struct RehearseArgs {
    /// Snapshot directory, mongodump directory or archive, or a .bson file
    pub(crate) snapshot: PathBuf,
    /// Keep plan, repaired and restored copy in this new directory
    #[arg(long, value_name = "DIR", value_parser = new_path())]
    pub(crate) keep: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) rule: RuleArgs,
    #[command(flatten)]
    pub(crate) source: SnapshotArgs,
}

/// What computes an analysis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum EngineArg {
    /// This program, from a snapshot; makes a plan
    Local,
    /// The database itself, in place, by aggregation; exports nothing and makes
    /// no plan
    Mongodb,
}

#[derive(Args)]
#[command(
    override_usage = "remelt analyze [OPTIONS] <SNAPSHOT> <PLAN_DIR>\n       \
    remelt analyze [OPTIONS] --engine mongodb --uri <URI>",
    after_help = "Examples:\n  remelt analyze dump/nctool plan\n  \
    remelt analyze nctool.archive.gz plan --repair-time 2026-01-31T12:00:00Z\n  \
    remelt analyze dump plan --fail-on double_counted,duplicate_field\n  \
    MONGODB_URI=mongodb://reader@db1/nctool remelt analyze --engine mongodb"
)]
pub(crate) struct AnalyzeArgs {
    /// Snapshot directory, mongodump directory or archive, or a .bson file
    #[arg(required_unless_present = "engine", required_if_eq("engine", "local"))]
    pub(crate) snapshot: Option<PathBuf>,
    /// New directory for the plan and the reports
    #[arg(value_parser = new_path(), required_unless_present = "engine",
          required_if_eq("engine", "local"))]
    pub(crate) plan_dir: Option<PathBuf>,
    /// Exit with 4 when one of these findings occurs (codes, or `any`)
    #[arg(long, value_name = "CODES", value_delimiter = ',', value_parser = fail_on)]
    pub(crate) fail_on: Vec<FailOn>,
    /// Write the rows of the CSV reports as Parquet, too
    #[arg(long)]
    pub(crate) parquet: bool,
    /// What computes the figures
    #[arg(long, value_enum, default_value = "local")]
    pub(crate) engine: EngineArg,
    /// Connection string for --engine mongodb; better given as MONGODB_URI,
    /// which no process list shows
    #[arg(long, value_name = "URI", env = "MONGODB_URI", hide_env_values = true)]
    pub(crate) uri: Option<String>,
    /// With --engine mongodb: whether all documents must be of one point in time
    /// (a standalone server can't, and says so)
    #[arg(long, value_enum, default_value = "snapshot")]
    pub(crate) consistency: ConsistencyArg,
    #[command(flatten)]
    pub(crate) rule: RuleArgs,
    #[command(flatten)]
    pub(crate) source: SnapshotArgs,
}

impl std::fmt::Debug for AnalyzeArgs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AnalyzeArgs").field("snapshot", &self.snapshot).finish_non_exhaustive()
    }
}

/// What `--fail-on` names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FailOn {
    Any,
    Code(FindingCode),
}

/// Consent to a command that writes.
#[derive(Debug, Args)]
pub(crate) struct ConfirmArgs {
    /// Really do it; without this, say what would be done and exit with 3
    #[arg(long)]
    pub(crate) confirm: bool,
    /// Do not ask for the database's name to be typed (for scripts)
    #[arg(long)]
    pub(crate) yes: bool,
}

impl ConfirmArgs {
    /// Whether nobody is to be asked or told any more.
    pub(crate) fn is_given(&self) -> bool {
        self.confirm && self.yes
    }
}

/// A plan's other side: the database, or a copy of the snapshot.
#[derive(Args)]
pub(crate) struct TargetArgs {
    /// Connection string; better given as MONGODB_URI, which no process list shows
    #[arg(long, value_name = "URI", env = "MONGODB_URI", hide_env_values = true)]
    pub(crate) uri: Option<String>,
    /// Work on this snapshot instead of a server
    #[arg(long, value_name = "SNAPSHOT")]
    pub(crate) snapshot: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) source: SnapshotArgs,
}

/// Where a plan is replayed, or looked at.
pub(crate) enum Target<'a> {
    Server(ServerArgs),
    Snapshot(&'a Path),
}

impl TargetArgs {
    /// The one that was named: `--snapshot`, which a MONGODB_URI in the environment does not change, or
    /// the server.
    pub(crate) fn target(&self) -> Result<Target<'_>, Refusal> {
        match (&self.snapshot, &self.uri) {
            (Some(snapshot), _) => Ok(Target::Snapshot(snapshot)),
            (None, Some(uri)) => {
                Ok(Target::Server(ServerArgs { uri: uri.clone(), db: self.source.db.clone() }))
            }
            (None, None) => Err(Refusal::usage(
                "neither --uri (or MONGODB_URI) nor --snapshot was given; name the database or the \
                 snapshot to work on",
            )),
        }
    }
}

impl std::fmt::Debug for TargetArgs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TargetArgs").field("snapshot", &self.snapshot).finish_non_exhaustive()
    }
}

/// What to do about documents that are no longer what the plan saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnDriftArg {
    /// Write nothing if there is one
    Abort,
    /// Leave them as they are, list them, and write the rest
    Skip,
}

/// How to work on a server.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// What to do about documents that have changed since
    #[arg(long, value_enum, default_value = "abort")]
    pub(crate) on_drift: OnDriftArg,
    /// Transactions at the same time
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=16), default_value_t = WORKERS_DEFAULT)]
    pub(crate) workers: u8,
    /// Most documents in a transaction; a batch of the plan when not given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) batch: Option<u32>,
    /// Most documents written a second
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) max_rate: Option<u64>,
    /// Wait while a secondary is further behind than this
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) max_lag: Option<u64>,
    /// Replica set and database to write to, as SET/DB, when the plan's snapshot
    /// came from another one or does not say
    #[arg(long, value_name = "SET/DB")]
    pub(crate) target: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    remelt apply plan --uri mongodb://db1/nctool --confirm\n  \
    remelt apply plan --snapshot dump/nctool --out repaired --confirm\n\n\
    Killed or interrupted, the same command goes on where it was. While a file\n\
    named pause lies in the run's directory, no new batch is begun.")]
pub(crate) struct ApplyArgs {
    /// Directory with the plan
    pub(crate) plan_dir: PathBuf,
    #[command(flatten)]
    pub(crate) to: TargetArgs,
    /// New directory for the repaired copy (with --snapshot)
    #[arg(long, value_name = "DIR", value_parser = new_path(), requires = "snapshot")]
    pub(crate) out: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) consent: ConfirmArgs,
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  remelt verify plan --uri mongodb://db1/nctool\n  \
    remelt verify plan --snapshot repaired")]
pub(crate) struct VerifyArgs {
    /// Directory with the plan
    pub(crate) plan_dir: PathBuf,
    #[command(flatten)]
    pub(crate) to: TargetArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    remelt rollback plan --uri mongodb://db1/nctool --confirm\n  \
    remelt rollback 66c0ffee0123456789abcdef --uri mongodb://db1/nctool --confirm\n  \
    remelt rollback plan --snapshot repaired --out restored --confirm")]
pub(crate) struct RollbackArgs {
    /// Directory with the plan, or the id of a run on the server
    #[arg(value_name = "PLAN_DIR|RUN_ID")]
    pub(crate) what: PathBuf,
    #[command(flatten)]
    pub(crate) to: TargetArgs,
    /// New directory for the restored copy (with --snapshot)
    #[arg(long, value_name = "DIR", value_parser = new_path(), requires = "snapshot")]
    pub(crate) out: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) consent: ConfirmArgs,
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

#[derive(Args)]
#[command(after_help = "Examples:\n  remelt preview plan\n  \
    remelt preview plan --uri mongodb://db1/nctool")]
pub(crate) struct PreviewArgs {
    /// Directory with the plan
    pub(crate) plan_dir: PathBuf,
    /// Also measure on this server how long applying takes; writes nothing.
    /// MONGODB_URI stands in for it
    #[arg(long, value_name = "URI", env = "MONGODB_URI", hide_env_values = true)]
    pub(crate) uri: Option<String>,
    /// Database; else the connection string's, else nctool
    #[arg(long, value_name = "NAME")]
    pub(crate) db: Option<String>,
    /// Users to list
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(crate) top: usize,
}

impl std::fmt::Debug for PreviewArgs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PreviewArgs").field("plan_dir", &self.plan_dir).finish_non_exhaustive()
    }
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  remelt explain plan 660000000200000002000002\n  \
    remelt explain plan 660000000200000002000002 --snapshot dump/nctool")]
pub(crate) struct ExplainArgs {
    /// Directory with the plan
    pub(crate) plan_dir: PathBuf,
    /// The token's id, as the reports show it
    pub(crate) token_id: String,
    /// Look in the plan's snapshot for its siblings too: source, change, copies
    #[arg(long, value_name = "SNAPSHOT")]
    pub(crate) snapshot: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) source: SnapshotArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  remelt status --uri mongodb://db1/nctool")]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// Name of the tokens' collection
    #[arg(long, value_name = "NAME", default_value = "cashu_tokens")]
    pub(crate) tokens: String,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  remelt validate plan --uri mongodb://db1/nctool")]
pub(crate) struct ValidateArgs {
    /// Directory with the plan
    pub(crate) plan_dir: PathBuf,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  remelt audit plan\n  \
    remelt audit plan --snapshot snapshot\n\nExits with 1 when something does not hold.")]
pub(crate) struct AuditArgs {
    /// Directory with the plan
    pub(crate) plan_dir: PathBuf,
    /// The snapshot that the plan was made from: everything is derived from it, too
    #[arg(long, value_name = "SNAPSHOT")]
    pub(crate) snapshot: Option<PathBuf>,
    /// Memory for what grows with the data; the rest spills to TMPDIR
    #[arg(long, value_name = "SIZE", value_parser = memory, default_value = "1GiB")]
    pub(crate) memory: u64,
    /// Worker threads; all processors when not given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) threads: Option<u16>,
    #[command(flatten)]
    pub(crate) source: SnapshotArgs,
}

impl AuditArgs {
    /// How to repeat the analysis; the plan itself says what rule it follows.
    pub(crate) fn rule(&self) -> RuleArgs {
        RuleArgs {
            spent_at: SpentAtArg::Repair,
            repair_time: None,
            memory: self.memory,
            threads: self.threads,
        }
    }
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  remelt diff dump/nctool repaired")]
pub(crate) struct DiffArgs {
    /// First snapshot
    pub(crate) first: PathBuf,
    /// Second snapshot
    pub(crate) second: PathBuf,
    /// Most differences to list
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(crate) limit: usize,
    #[command(flatten)]
    pub(crate) source: SnapshotArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    openssl rand -hex 32 > token; chmod 600 token\n  \
    remelt serve --uri mongodb://reader@db1/nctool --token-file token\n  \
    remelt serve --token-file token --listen 0.0.0.0:3443 \\\n    \
      --tls-cert cert.pem --tls-key key.pem --state-dir /var/lib/remelt\n\n\
    A read-only user is enough; nothing over HTTP can change data.")]
pub(crate) struct ServeArgs {
    /// Address to listen on; others than loopback need TLS or --behind-proxy
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:3000")]
    pub(crate) listen: SocketAddr,
    /// File with the API token, at least 128 bits; else REMELT_API_TOKEN
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// Certificate chain, PEM
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// Its private key, PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,
    /// A proxy in front does TLS and tells the client's address
    #[arg(long)]
    pub(crate) behind_proxy: bool,
    /// Most requests a second of one client; 0 for no limit
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(crate) rate_limit: u32,
    #[command(flatten)]
    pub(crate) monitor: MonitorArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  remelt monitor --uri mongodb://reader@db1/nctool --once\n  \
    remelt monitor --interval 5m --webhook https://alerts.example/remelt\n\n\
    With --once it exits with 4 when an alert of high or medium priority is open.")]
pub(crate) struct MonitorCommandArgs {
    /// Check once, print the health check, and end
    #[arg(long)]
    pub(crate) once: bool,
    #[command(flatten)]
    pub(crate) monitor: MonitorArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  remelt generate /tmp/ledger --tokens 100000 --damage")]
pub(crate) struct GenerateArgs {
    /// New directory
    #[arg(value_parser = new_path())]
    pub(crate) out_dir: PathBuf,
    /// Number of token documents
    #[arg(long, value_name = "N")]
    pub(crate) tokens: u64,
    /// Same seed, same bytes
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub(crate) seed: u64,
    /// Every kind of damage, not only the bug
    #[arg(long)]
    pub(crate) damage: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    remelt completions bash > ~/.local/share/bash-completion/completions/remelt\n  \
    remelt completions zsh > ~/.zfunc/_remelt    # a directory in $fpath\n  \
    remelt completions fish > ~/.config/fish/completions/remelt.fish")]
pub(crate) struct CompletionsArgs {
    /// Which shell
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  remelt man | man -l -\n  \
    remelt man ~/.local/share/man/man1")]
pub(crate) struct ManArgs {
    /// Directory for the pages of all commands; it is made when it is not there
    #[arg(value_parser = new_path())]
    pub(crate) dir: Option<PathBuf>,
}

/// A place for something new. A URI is none: its password would become a directory's name.
fn new_path() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(|path| {
        if path.to_string_lossy().contains("://") {
            return Err("expected a path, found a URI");
        }
        Ok(path)
    })
}

/// A size such as `512MiB`, `2GB` or a number of bytes.
fn size(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "t" | "tib" => 1 << 40,
        _ => return Err("expected a size such as 512MiB, 1GiB or 1000000".into()),
    };
    let number: u64 =
        number.parse().map_err(|_| "expected a size such as 512MiB, 1GiB or 1000000")?;
    number.checked_mul(factor).ok_or_else(|| "larger than 2^64 bytes".into())
}

pub(crate) fn memory(text: &str) -> Result<u64, String> {
    let bytes = size(text)?;
    if bytes < MEMORY_BYTES_MIN {
        return Err(format!("at least {}MiB is needed", MEMORY_BYTES_MIN >> 20));
    }
    Ok(bytes)
}

fn fail_on(text: &str) -> Result<FailOn, String> {
    if text == "any" {
        return Ok(FailOn::Any);
    }
    FindingCode::from_code(text).map(FailOn::Code).ok_or_else(|| {
        if let Some(near) = nearest(text, FindingCode::ALL.iter().map(|code| code.as_str())) {
            return format!("did you mean {near}?");
        }
        let codes: Vec<&str> = FindingCode::ALL.iter().map(|code| code.as_str()).collect();
        format!("expected any, or one of {}", codes.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_arguments_are_coherent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn sizes_are_read_in_both_kinds_of_units() {
        assert_eq!(size("1GiB"), Ok(1 << 30));
        assert_eq!(size("512m"), Ok(512 << 20));
        assert_eq!(size("2GB"), Ok(2_000_000_000));
        assert_eq!(size("17"), Ok(17));
        for bad in ["", "GiB", "1.5GiB", "-1", "1XB", "99999999TiB"] {
            assert!(size(bad).is_err(), "{bad}");
        }
        assert!(memory("1MiB").is_err());
    }
}
