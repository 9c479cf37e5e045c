//! `wharf serve`: one launcher, from its ready line to its last word.

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::assemble::{AssembleError, Assembled, Plan, assemble};

/// How long hooks under way may take at the end; fifteen seconds are all there is.
const FINISH: Duration = Duration::from_secs(5);

/// Serves until told to stop.
///
/// # Errors
/// Only before the ready line.
pub(crate) async fn serve(plan: Plan, owner: wharf_core::hook::User) -> Result<(), AssembleError> {
    let failed = |source| AssembleError::Io { path: "signals".into(), source };
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut reload = signal(SignalKind::hangup()).map_err(failed)?;
    let Assembled { launcher, server, node, ownership } = assemble(plan, owner).await?;
    ready(&server.addresses(), &node);
    let stop = CancellationToken::new();
    let serving = tokio::spawn(server.run(launcher.clone(), stop.clone()));
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = reload.recv() => {
                tracing::info!("reading keys and templates again");
                launcher.reload();
            }
        }
    }
    tracing::info!("stopping; no session is touched");
    stop.cancel();
    launcher.shut_down(FINISH).await;
    let _ = tokio::time::timeout(Duration::from_secs(9), serving).await;
    drop(ownership);
    Ok(())
}

/// The one line on standard output.
#[expect(clippy::print_stdout, reason = "the contract's ready line")]
fn ready(listen: &[String], node: &str) {
    use std::io::Write as _;
    println!("{}", serde_json::json!({ "ready": true, "listen": listen, "node": node }));
    let _ = std::io::stdout().flush();
}
