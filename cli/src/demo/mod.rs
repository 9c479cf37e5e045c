//! `wharf demo`: what Wharf does, shown on a launcher that lives in a directory which goes away.
//!
//! ```text
//! temporary directory ─ launcher in this process ─ the steps, through its API like any client ─ Ctrl-C ─ all is ended
//! ```
//!
//! Nothing is pretended: the steps are requests to a real launcher, and the sessions are real. Must not read the user's
//! configuration or touch the user's own launcher.

mod steps;

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use wharf_protocol::api::{TerminateRequest, TokenRequest};
use wharf_protocol::{Dur, Session};

use crate::args::admin::Demo;
use crate::assemble::{AssembleError, Assembled, Plan, assemble};
use crate::client::Client;
use crate::client::address::Address;
use crate::client::calls::Query;
use crate::commands::Context;
use crate::config::{Config, Log};
use crate::failure::{Failure, Outcome};
use crate::{paths, serve, user};

/// How long what still runs at the end may take.
const GRACE: Duration = Duration::from_secs(1);
/// How long hooks under way may take at the end.
const FINISH: Duration = Duration::from_secs(2);

/// A template whose jobs wait for ever: what a session in a long queue looks like.
const QUEUE: [(&str, &str, u32); 4] = [
    ("template.toml", include_str!("queue/template.toml"), 0o600),
    ("hooks/submit", include_str!("queue/submit"), 0o700),
    ("hooks/status", include_str!("queue/status"), 0o700),
    ("hooks/terminate", include_str!("queue/terminate"), 0o700),
];

/// Runs the command.
pub(crate) async fn run(context: &Context, args: Demo) -> Outcome {
    let mut ending = Ending::new().map_err(|error| Failure::local("signals cannot be watched", &error))?;
    let _level = serve::log_to_stderr(&Log { level: "error".to_owned(), ..Log::default() });
    let dir = tempfile::Builder::new()
        .prefix("wharf-demo-")
        .tempdir()
        .map_err(|error| Failure::local("the demo's directory cannot be made", &error))?;
    let began = Instant::now();
    let templates = dir.path().join("templates");
    write_template(&templates.join("queue"))
        .map_err(|error| Failure::local("the demo's template cannot be written", &error))?;
    let data_dir = dir.path().join("data");
    let plan =
        Plan { template_dirs: vec![templates], ..Plan::configured(Config::default(), data_dir.clone()) };
    let Assembled { launcher, server, ownership, .. } =
        assemble(plan, user::current()).await.map_err(AssembleError::into_problem)?;
    let addresses = server.addresses();
    let stop = CancellationToken::new();
    let serving = tokio::spawn(server.run(launcher.clone(), stop.clone()));
    let client = Client::at(Address::Unix(paths::socket(&data_dir)));
    let outcome = show(context, &args, &client, &addresses, began, &mut ending).await;
    end_all(&client).await;
    stop.cancel();
    launcher.shut_down(FINISH).await;
    let _ = tokio::time::timeout(FINISH, serving).await;
    drop(ownership);
    // What cannot be removed is said: nothing may stay behind unnoticed.
    let path = dir.path().to_owned();
    if let Err(error) = dir.close() {
        context.output.note(&format!("{} cannot be removed: {error}", path.display()));
    }
    outcome
}

/// The steps, and then the address until somebody ends it.
async fn show(
    context: &Context,
    args: &Demo,
    client: &Client,
    addresses: &[String],
    began: Instant,
    ending: &mut Ending,
) -> Outcome {
    let stepped = tokio::select! {
        stepped = steps::all(context, client, began) => stepped,
        code = ending.asked() => return Ok(code),
    };
    stepped?;
    if args.once {
        return Ok(0);
    }
    let token = client.create_token(&TokenRequest::default()).await?;
    let secret = token.value.token.unwrap_or_default();
    let page = client.login().await?;
    let api = addresses.iter().find(|address| address.starts_with("http")).cloned().unwrap_or_default();
    context.output.line(&format!(
        "\nThe launcher goes on until Ctrl-C. Its web page, with an address that works once, for a minute:\n\n  \
         {page}\n\nAnother such address, its API, and a session from here:\n\n  \
         wharf login --server {server}\n  \
         curl -H 'Authorization: Bearer {secret}' {api}/api/v1/sessions?state=ended\n  \
         wharf start shell --attach --server {server}\n",
        page = page.value.url,
        server = client.address,
    ))?;
    ending.asked().await;
    Ok(0)
}

/// Whatever still runs is ended with the launcher that knows of it.
async fn end_all(client: &Client) {
    let Ok(live) = client.all::<Session>("/sessions", Query::default(), None).await else { return };
    let request = TerminateRequest { grace: Some(Dur(GRACE)) };
    let each = live.iter().map(|session| client.terminate(&session.value.id, &request, GRACE * 4));
    futures_util::future::join_all(each).await;
}

fn write_template(dir: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir.join("hooks"))?;
    for (name, content, mode) in QUEUE {
        let path = dir.join(name);
        fs::write(&path, content)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
    }
    Ok(())
}

/// Ctrl-C and its kin.
#[derive(Debug)]
struct Ending {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Ending {
    fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// The exit code that goes with it.
    async fn asked(&mut self) -> u8 {
        tokio::select! {
            _ = self.interrupt.recv() => 130,
            _ = self.terminate.recv() => 143,
            _ = self.hangup.recv() => 129,
        }
    }
}
