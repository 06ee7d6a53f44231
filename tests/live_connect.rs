//! Connecting: what a deployment says of itself, and errors that show no password.

use crate::support::mongod::{Options, ReplicaSet, Standalone, shared};
use mongodb::bson::doc;
use remelt::server::{DeploymentKind, Server, ServerError, ServerOptions};

fn options(uri: &str) -> ServerOptions {
    ServerOptions { uri: uri.to_owned(), db: None }
}

#[tokio::test]
async fn a_replica_set_tells_its_name_and_id() {
    let shared = shared().await;
    let server = Server::connect(&options(&shared.uri)).await.unwrap();
    assert_eq!(server.db(), shared.database.name());
    assert_eq!(server.deployment().kind, DeploymentKind::ReplicaSet);
    assert_eq!(server.deployment().replica_set.as_deref(), Some("remelt"));
    assert_eq!(server.deployment().replica_set_id.as_ref().unwrap().len(), 24);
    assert_eq!(server.deployment().server_version, "6.0.5");
    let named = ServerOptions { db: Some("other".into()), ..options(&shared.uri) };
    assert_eq!(Server::connect(&named).await.unwrap().db(), "other");
}

#[tokio::test]
async fn a_standalone_is_told_apart() {
    let standalone = Standalone::start().await;
    let server = Server::connect(&options(&standalone.uri())).await.unwrap();
    assert_eq!(server.deployment().kind, DeploymentKind::Standalone);
    assert_eq!(server.db(), "nctool");
}

#[tokio::test]
async fn a_limited_user_is_served_without_the_id_and_a_wrong_password_is_permission_denied() {
    let set = ReplicaSet::start_with(&Options { auth: true, ..Options::default() }).await;
    set.add_user("reader", "pass", vec![doc! {"role": "read", "db": "nctool"}]).await;
    let server = Server::connect(&options(&set.user_uri("reader", "pass"))).await.unwrap();
    assert_eq!(server.deployment().replica_set_id, None);
    assert!(!server.hosts().contains("pass"));
    let error = Server::connect(&options(&set.user_uri("reader", "sesame"))).await.unwrap_err();
    assert_eq!(error, ServerError::Authentication);
    assert!(error.to_string().starts_with("Permission denied"));
}

#[tokio::test]
async fn a_malformed_address_is_not_echoed_and_a_dead_one_is_not_ready() {
    for uri in ["mongodb://user:sesame@", "sesame", "http://sesame@host", "mongodb://u:se@sa@me:1"]
    {
        let error = Server::connect(&options(uri)).await.unwrap_err();
        assert_eq!(error, ServerError::BadUri, "{uri}");
        assert!(!error.to_string().contains("sesame"));
    }
    let gone = "mongodb://user:sesame@127.0.0.1:1/?tls=true&tlsCAFile=/gone/sesame.pem";
    let error = Server::connect(&options(gone)).await.unwrap_err();
    assert_eq!(error, ServerError::BadTls);
    assert!(!error.to_string().contains("sesame") && error.to_string().contains("tlsCAFile"));
    let dead = "mongodb://user:sesame@127.0.0.1:1/?serverSelectionTimeoutMS=300";
    let error = Server::connect(&options(dead)).await.unwrap_err();
    assert!(error.to_string().starts_with("Database connection not ready"), "{error}");
    assert!(!error.to_string().contains("sesame"));
    assert!(!format!("{:?}", options(dead)).contains("sesame"));
}
