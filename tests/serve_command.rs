//! `remelt serve` as a process: what it refuses, what it says, how it ends, and a database that goes away.

use crate::support::command::{remelt, run};
use crate::support::http::{HttpAnswer, connect, exchange};
use crate::support::mongod::{ReplicaSet, shared};
use crate::support::serve_process::ServeProcess;
use crate::support::watched::{store, token};
use mongodb::bson::{doc, oid::ObjectId};
use std::time::Duration;

const TOKEN: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f0";
const CANARY: &str = "canarysecretcanarysecret";
const NPUB: &str = "npub1u6zqfk0m8aj08gygxzm3892uy9vu4fhsea3lulcfh375d9kafmnqc46lks";

struct Process(ServeProcess);

impl Process {
    fn start(uri: &str) -> Process {
        let mut command = remelt(["serve", "--listen", "127.0.0.1:0", "--interval", "1s"]);
        command.env("MONGODB_URI", uri).env("REMELT_API_TOKEN", TOKEN);
        Process(ServeProcess::start(command, "http"))
    }

    fn get(&self, path: &str) -> HttpAnswer {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {TOKEN}\r\nConnection: close\r\n\r\n",
            self.0.address
        );
        exchange(connect(self.0.address), request.as_bytes()).unwrap()
    }

    /// Asks until the answer has this status.
    fn until(&self, path: &str, status: u16) -> HttpAnswer {
        loop {
            let answer = self.get(path);
            if answer.status == status {
                return answer;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Ctrl-C; gives everything that it said.
    fn interrupt(self) -> String {
        self.0.interrupt().1
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_logs_holds_neither_token_nor_secret_and_ctrl_c_ends_it_well() {
    let shared = shared().await;
    let mut melted = token(1, NPUB, ObjectId::new());
    melted.insert("proofs", vec![doc! {"id": "00", "amount": 8, "secret": CANARY, "C": CANARY}]);
    melted.insert("transaction_type", "melted");
    shared.database.collection("cashu_tokens").insert_one(melted).await.unwrap();
    let process = Process::start(&shared.uri);
    process.until("/readyz", 200);
    let status = process.get("/admin/migration/status").data();
    assert_eq!(status["migration"]["problematicTokens"], 1);
    process.get(&format!("/admin/runs/{CANARY}"));
    process.get(&format!("/admin/migration/status?token={TOKEN}"));
    let said = process.interrupt();
    assert!(said.contains("/admin/migration/status"), "there is an access log:\n{said}");
    for hidden in [TOKEN, CANARY] {
        assert!(!said.contains(hidden), "{hidden} is in the log:\n{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_database_is_gone_it_is_not_ready_and_says_what_was_known_as_stale() {
    let mut set = ReplicaSet::start(1).await;
    let uri =
        format!("{}&serverSelectionTimeoutMS=500&connectTimeoutMS=500", set.database_uri("nctool"));
    let database = set.client().await.database("nctool");
    store(&database, &[], &[]).await;
    database.collection("cashu_tokens").insert_one(token(1, NPUB, ObjectId::new())).await.unwrap();
    let process = Process::start(&uri);
    process.until("/readyz", 200);
    set.kill_9(0);
    process.until("/readyz", 503);
    let status = process.get("/admin/migration/status").data();
    assert_eq!((&status["stale"], &status["health"]["totalTokens"]), (&true.into(), &1.into()));
    assert!(status["staleReason"].as_str().unwrap().contains("Database connection not ready"));
    set.restart(0).await;
    process.until("/readyz", 200);
    assert_eq!(process.get("/admin/migration/status").data()["stale"], false);
    process.interrupt();
}

#[tokio::test(flavor = "multi_thread")]
async fn it_starts_before_the_database_and_answers_that_it_is_not_ready() {
    let process = Process::start("mongodb://127.0.0.1:1/nctool?serverSelectionTimeoutMS=300");
    process.until("/readyz", 503);
    assert_eq!(process.get("/admin/migration/status").status, 503);
    assert_eq!(process.get("/healthz").status, 200);
    process.interrupt();
}

#[test]
fn it_does_not_start_without_a_good_token_or_where_the_token_would_be_overheard() {
    let refused = |arguments: &[&str], token: Option<&str>, code: i32| {
        let mut command = remelt(["--json", "serve", "--uri", "mongodb://127.0.0.1:1/nctool"]);
        command.args(arguments).env_remove("REMELT_API_TOKEN");
        token.map(|token| command.env("REMELT_API_TOKEN", token));
        crate::support::command::finish(&mut command).exits(code).error()
    };
    assert!(refused(&[], None, 2).1.contains("no API token"));
    assert_eq!(refused(&[], Some("short"), 3).0, "api_token");
    assert_eq!(refused(&[], Some(&"a".repeat(64)), 3).0, "api_token");
    assert_eq!(refused(&["--listen", "0.0.0.0:0"], Some(TOKEN), 3).0, "unprotected");
    let (code, message, hint) = refused(&["--webhook", "ftp://hidden"], Some(TOKEN), 2);
    assert_eq!(code, "usage");
    assert!(!format!("{message}{hint}").contains("hidden"), "{message}; {hint}");
    let malformed = remelt(["serve", "--uri", "mongodb://user:hidden@@"])
        .env("REMELT_API_TOKEN", TOKEN)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&malformed.stderr);
    assert!(!malformed.status.success() && said.contains("malformed"), "{said}");
    assert!(!said.contains("hidden"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn monitor_once_says_everything_and_leaves_a_code_for_scripts() {
    let shared = shared().await;
    store(&shared.database, &[], &[]).await;
    let wallet = ObjectId::new();
    let at_mint = doc! {"_id": wallet, "npub": NPUB, "mint_url": "https://mint.example.com"};
    shared.database.collection("cashu_wallets").insert_one(at_mint).await.unwrap();
    let tokens = shared.database.collection("cashu_tokens");
    tokens.insert_one(token(1, NPUB, wallet)).await.unwrap();
    let well = run(["monitor", "--once", "--json", "--uri", &shared.uri]).exits(0).json();
    assert_eq!(well["status"], "healthy", "{well:#}");
    tokens.update_one(doc! {}, doc! {"$set": {"total_amount": -8}}).await.unwrap();
    let ill = run(["monitor", "--once", "--json", "--uri", &shared.uri]).exits(4).json();
    assert_eq!(ill["balances"]["usersWithIssues"], 1, "{ill:#}");
    assert_eq!(ill["alerts"][0]["rule"], "balance_inconsistency", "{ill:#}");
    run(["monitor", "--once", "--uri", "mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=300"])
        .exits(1);
}
