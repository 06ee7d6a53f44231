//! `remelt serve`.

use super::args::ServeArgs;
use super::failure::{Exit, Refusal};
use super::monitor::stopped_by;
use super::monitoring::{install_crypto, open_board};
use super::output::Output;
use super::progress::watched;
use super::run::{now, runtime};
use remelt::api::{ApiOptions, ApiToken, ServeError, Tls};
use remelt::server::{Server, ServerError};
use std::sync::Arc;
use tokio::sync::watch;

pub(crate) fn run(args: &ServeArgs, output: &Output) -> anyhow::Result<Exit> {
    let options = Arc::new(args.monitor.options()?);
    let api = api_options(args)?;
    api.check()?;
    let (board, history) = open_board(&options)?;
    install_crypto();
    let runtime = runtime()?;
    refuse_what_waiting_does_not_mend(&runtime, &options.server)?;
    let served: Result<(), ServeError> = watched(*output, |progress| {
        runtime.block_on(async {
            let (stop, stopped) = watch::channel(false);
            // In a task of its own: what it does to files must not keep connections waiting.
            let monitor = tokio::spawn(remelt::monitor::monitor(
                Arc::clone(&board),
                Arc::clone(&options),
                history,
                stopped.clone(),
            ));
            let scheme = if api.tls.is_some() { "https" } else { "http" };
            let bound = |address| {
                output.note(&format!("serving on {scheme}://{address}/; Ctrl-C ends"));
            };
            let serve =
                remelt::api::serve(Arc::clone(&board), Arc::clone(&options), api, stopped, bound);
            let stopping = async {
                stopped_by(progress).await;
                let _ = stop.send(true);
            };
            let (served, (), ()) = tokio::join!(
                async {
                    let served = serve.await;
                    let _ = stop.send(true);
                    progress.stop();
                    served
                },
                async {
                    if let Err(died) = monitor.await
                        && let Ok(panic) = died.try_into_panic()
                    {
                        std::panic::resume_unwind(panic);
                    }
                },
                stopping,
            );
            served
        })
    });
    served?;
    Ok(Exit::Done)
}

fn api_options(args: &ServeArgs) -> anyhow::Result<ApiOptions> {
    let token = match (&args.token_file, std::env::var("REMELT_API_TOKEN")) {
        (Some(path), _) => ApiToken::read(path)?,
        (None, Ok(token)) => ApiToken::parse(&token)?,
        (None, Err(_)) => {
            return Err(Refusal::usage(
                "no API token was given, and nothing is served without one; put one into a file \
                 (openssl rand -hex 32 > token; chmod 600 token) and give it with --token-file, or \
                 set REMELT_API_TOKEN",
            )
            .into());
        }
    };
    let tls = match (&args.tls_cert, &args.tls_key) {
        (Some(cert), Some(key)) => Some(Tls { cert: cert.clone(), key: key.clone() }),
        _ => None,
    };
    Ok(ApiOptions {
        listen: args.listen,
        token,
        tls,
        behind_proxy: args.behind_proxy,
        rate_per_second: args.rate_limit,
        now,
    })
}

/// A database that is away may come back; a connection string that is malformed will not mend itself.
fn refuse_what_waiting_does_not_mend(
    runtime: &tokio::runtime::Runtime,
    server: &remelt::server::ServerOptions,
) -> Result<(), ServerError> {
    match runtime.block_on(Server::connect(server)) {
        Err(
            error @ (ServerError::BadUri
            | ServerError::BadDatabaseName
            | ServerError::Authentication),
        ) => Err(error),
        _ => Ok(()),
    }
}
